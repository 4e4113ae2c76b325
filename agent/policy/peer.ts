/** Who asks, as the kernel tells it: the input of every decision. */
export interface Peer {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /** Who connected; may have ended since. For the audit log only: rules ask `program`. */
  readonly pid: number;
  /** The uid is the kernel's overflow uid: somebody whom the agent's user namespace cannot name. No rule is for them. */
  readonly unmapped?: boolean;
  /**
   * What runs in the process that connected, read anew at each call; costs system calls, so rules ask it last. Absent:
   * it cannot be known, and no rule with units or exe matches.
   */
  readonly program?: () => Program;
  /** For the audit log, as last looked at: the executable as the kernel prints it, the unit, and whether both are sure. */
  readonly exe?: string | undefined;
  readonly unit?: string | undefined;
  /** true, or why not. */
  readonly sure?: true | string;
}

export interface Program {
  /**
   * Whether the file that this path leads to is the executable that runs. False for one that was replaced or deleted,
   * and for another file that a mount namespace shows under the path.
   */
  readonly runs: (path: string) => boolean;
  /** Service of the system manager that the process belongs to. */
  readonly unit: string | undefined;
  /** Path of the executable as the kernel prints it, "(deleted)" included: to be told, not to be trusted. */
  readonly shownExe: string | undefined;
  /** Why it runs nothing and belongs to no unit, when the process cannot be trusted or looked at. */
  readonly doubt: string | undefined;
}

/** A peer as somebody describes it, to ask what it would be allowed. */
export function imaginedPeer(
  description: {
    readonly uid: number;
    readonly gid: number;
    readonly groups: readonly number[];
    readonly unit?: string;
    readonly exe?: string;
  },
  overflowUid: number,
): Peer {
  const { uid, gid, groups, unit, exe } = description;
  const program: Program = { runs: (path) => path === exe, unit, shownExe: exe, doubt: undefined };
  return { uid, gid, groups, pid: 0, unmapped: uid === overflowUid, program: () => program };
}
