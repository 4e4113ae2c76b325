/** Who asks, as the kernel tells it: the input of every decision. */
export interface Peer {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /** Who connected; may have ended since. For the audit log only. */
  readonly pid: number;
}
