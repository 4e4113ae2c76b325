/**
 * Unlocks one token without hands: asks its sources in their order, within the PIN budget, and again later those that
 * may recover. Gives way to an operator and to a lock.
 */
import { AgentError, type SourceName } from '@keyagent/protocol';
import { codeOf, refusal, requireAutomaticLogin, type LoginParts, type Logins } from './logins.js';
import { wipe } from './secret-bytes.js';

/** Until sources that may recover are asked again, milliseconds: servers may start later than this machine. */
const askAgainMs = { first: 5000, last: 60_000 };

export class AutomaticUnlock {
  private askTimer: NodeJS.Timeout | undefined;
  private askAgainMs = askAgainMs.first;
  /** While a source is asked: ends that. */
  private asking: AbortController | undefined;
  private ended = false;

  /**
   * @param inTurn       runs one login or lock of this token after another
   * @param onUnlocked   after a login that was not one of a host that restarted
   */
  constructor(
    private readonly parts: LoginParts,
    private readonly logins: Logins,
    private readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>,
    private readonly onUnlocked: () => void,
  ) {}

  /** Only a lock, or the end of its time, forbids to ask. */
  get isAllowed(): boolean {
    return !this.parts.revocation.has(this.parts.token.name) && this.logins.endedBecause === undefined;
  }

  start(sources: readonly SourceName[]): void {
    const { token, log } = this.parts;
    const { locks } = this.logins;
    clearTimeout(this.askTimer);
    this.inTurn(() => this.unlock(sources, locks)).catch((error: unknown) => {
      log.error('automatic unlock failed', { token: token.name, error });
    });
  }

  /** Nobody who is there should wait for a server that is not. */
  giveWay(why: string): void {
    this.asking?.abort(new AgentError('CANCELLED', why));
  }

  /** Asks no more by itself. */
  stop(): void {
    clearTimeout(this.askTimer);
    this.askAgainMs = askAgainMs.first;
  }

  /** The same for good: what is being asked may come to its end, and nobody is asked afterwards. */
  end(): void {
    this.ended = true;
    this.stop();
  }

  awaitOperator(): void {
    const { token, answers } = this.parts;
    if (!token.hasLoggedInHost && token.config.unlock.includes('prompt')) answers.awaitOperator();
  }

  private async unlock(sources: readonly SourceName[], locks: number): Promise<void> {
    const { token, revocation } = this.parts;
    if (!token.hasLoggedOutHost) return;
    if (!this.isAllowed || locks !== this.logins.locks) {
      const lockedBy =
        token.config.onRemoval === 'lock'
          ? 'an operator locked it, or it was removed'
          : 'an operator locked it';
      this.rest(this.logins.endedBecause ?? (revocation.has(token.name) ? lockedBy : 'it was locked'));
    } else {
      const kept = this.logins.retained.copy();
      try {
        await this.trySources(kept === undefined ? sources : [kept.source], kept?.pin, locks);
      } finally {
        wipe(kept?.pin);
      }
    }
    this.awaitOperator();
  }

  private async trySources(
    sources: readonly SourceName[],
    kept: Buffer | undefined,
    locks: number,
  ): Promise<void> {
    const { token, answers } = this.parts;
    const again: SourceName[] = [];
    for (const source of sources) {
      if (source === 'prompt' && kept === undefined) break;
      try {
        await this.login(source, kept, locks);
        return;
      } catch (error) {
        // Only a source that had nothing to give lets the next one try.
        const code = codeOf(error);
        if (code !== 'SOURCE_FAILED' && code !== 'CANCELLED') {
          await this.logins.failed(error);
          return;
        }
        if (answers.mayRecover(source)) again.push(source);
        if (code === 'CANCELLED') break;
      }
    }
    if (!token.hasLoggedInHost) this.rest();
    if (again.length > 0) this.askLater(again);
  }

  /** Locked, unless it has left meanwhile. */
  private rest(why?: string): void {
    const { token } = this.parts;
    const todo = `run "keyagent unlock ${token.name}"`;
    if (token.isThere) token.setState('locked', why === undefined ? todo : `${why}; ${todo}`);
  }

  private askLater(sources: readonly SourceName[]): void {
    if (this.ended) return;
    this.askTimer = setTimeout(() => {
      this.start(sources);
    }, this.askAgainMs).unref();
    this.askAgainMs = Math.min(2 * this.askAgainMs, askAgainMs.last);
  }

  private async login(source: SourceName, kept: Buffer | undefined, locks: number): Promise<void> {
    const { token, budget, serial, answers } = this.parts;
    const { logins } = this;
    const onPinPad = source === 'card' && kept === undefined && token.hasPinPad;
    let pin = kept;
    try {
      budget.requireSource(source);
      if (!onPinPad) pin ??= await this.ask(source);
      const info = await token.refreshInfo();
      requireAutomaticLogin(info.flags);
      serial.require(info.serial);
      logins.requireNotLocked(locks);
      budget.spend(source, info, pin);
      if (onPinPad) logins.awaitPinPad();
      else token.setState('unlocking', `logging in with the PIN from ${source}`);
      await logins.run(source, pin, locks);
    } catch (error) {
      // A source that gave nothing has its answer noted already, and is no attempt to unlock.
      if (pin === undefined && !onPinPad && codeOf(error) !== 'PIN_BLOCKED') throw error;
      if (codeOf(error) === 'PIN_INCORRECT') logins.retained.wipe();
      answers.refused(source, refusal(error));
      await logins.record(source, error);
      throw error;
    } finally {
      wipe(pin);
    }
    this.stop();
    // A login after a host restart does not prolong the first one.
    if (kept === undefined) this.onUnlocked();
    await logins.record(source);
  }

  private async ask(source: SourceName): Promise<Buffer> {
    const { token, answers } = this.parts;
    if (token.state === 'locked' || token.state === 'unlocking') {
      token.setState(token.state, `asking ${source} for its PIN`);
    }
    this.asking = new AbortController();
    try {
      return await answers.ask(source, this.asking.signal);
    } finally {
      this.asking = undefined;
    }
  }
}
