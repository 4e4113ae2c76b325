/**
 * How long a login lasts: until its time is over (`unlock --for`, lock_after), or until nobody has used the token for a
 * while (lock_idle). A login that is only renewed, after a host restart or a removal, lasts no longer for it.
 */
import { uptime } from 'node:os';

/** The longest time between two looks: a timer stands still while the machine sleeps, and is late by that. Milliseconds. */
const longestLookMs = 10_000;
/** Looks for uses are this many in one idle time: it locks at most that part late. */
const looksPerIdle = 10;

export interface LifetimeParts {
  /** lock_idle as it holds now, milliseconds. */
  readonly idleMs: () => number | undefined;
  /** Counts the uses of the token. */
  readonly uses: () => number;
  /** Called when it is over; why, for operators. */
  readonly over: (why: string) => void;
  /** Milliseconds on a clock that nobody sets and that runs on while the machine sleeps. */
  readonly now?: () => number;
}

export class Lifetime {
  /** Between `begin` and its end, also where it has none. */
  running = false;
  private endsAt = Infinity;
  private usedAt = 0;
  private uses = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: LifetimeParts) {}

  /** A login that stands for itself. @param ms undefined: it has no end */
  begin(ms: number | undefined): void {
    const now = this.now();
    this.running = true;
    this.endsAt = now + (ms ?? Infinity);
    this.usedAt = now;
    this.uses = this.parts.uses();
    this.look();
  }

  /** Ends it in `ms` unless that is later than it ends anyway. */
  shorten(ms: number): void {
    if (!this.running) return;
    this.endsAt = Math.min(this.endsAt, this.now() + ms);
    this.look();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.running = false;
  }

  /** Milliseconds, if nobody uses the token meanwhile; undefined: it does not end by itself. */
  get leftMs(): number | undefined {
    const left = this.running ? Math.min(this.endsAt, this.idleEndsAt) - this.now() : Infinity;
    return left === Infinity ? undefined : Math.max(0, left);
  }

  /** After `idleMs` changed. */
  lookNow(): void {
    if (this.running) this.look();
  }

  private look(): void {
    clearTimeout(this.timer);
    const now = this.now();
    const uses = this.parts.uses();
    if (uses !== this.uses) this.usedAt = now;
    this.uses = uses;
    if (now >= this.endsAt) this.end('its time is over');
    else if (now >= this.idleEndsAt) this.end('nobody used it for a while');
    else this.lookAgain(now);
  }

  private lookAgain(now: number): void {
    const idleLookMs = (this.parts.idleMs() ?? Infinity) / looksPerIdle;
    const ms = Math.min(this.endsAt - now, this.idleEndsAt - now, idleLookMs, longestLookMs);
    if (this.leftMs === undefined) return;
    this.timer = setTimeout(() => {
      this.look();
    }, Math.ceil(ms)).unref();
  }

  private end(why: string): void {
    this.stop();
    this.parts.over(why);
  }

  private get idleEndsAt(): number {
    return this.usedAt + (this.parts.idleMs() ?? Infinity);
  }

  private now(): number {
    return this.parts.now?.() ?? uptime() * 1000;
  }
}
