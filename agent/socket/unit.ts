/**
 * /proc/PID/cgroup -> the service of the system manager that a process belongs to. Pure. By the whole path: below its
 * own cgroup a service, a container or a user's manager can make cgroups of any name.
 */

/**
 * @param cgroup content of the file (cgroups(7)); only the unified hierarchy counts
 * @returns the unit's name; undefined for scopes, users' services and everything in user.slice
 */
export function unitOf(cgroup: string): string | undefined {
  const line = cgroup.split('\n').find((each) => each.startsWith('0::/'));
  const parts = line?.slice('0::/'.length).split('/') ?? [];
  if (parts[0] === 'user.slice') return undefined;
  // Slices hold units; the first part that is no slice is a unit, and what follows is that unit's own business.
  const unit = parts.find((part) => !part.endsWith('.slice'));
  if (unit === undefined || !unit.endsWith('.service') || unit.startsWith('user@')) return undefined;
  // A cgroup without a slice above it was not made by systemd.
  return parts[0] === unit ? undefined : unit;
}
