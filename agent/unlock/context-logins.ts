/**
 * Logins for one use of a key that asks for the PIN each time (CKA_ALWAYS_AUTHENTICATE; PKCS#11 v2.40 C_Login,
 * CKU_CONTEXT_SPECIFIC), with the PIN that retain_pin keeps and within the PIN budget. One at a time, so that a PIN
 * which the token refuses costs one try.
 */
import { AgentError } from '@keyagent/protocol';
import type { Cancellation } from '../cancellation.js';
import { HostLost, TokenFault } from '../token/host-process.js';
import type { ServedKey } from '../token/served-key.js';
import type { OneUse } from '../token/host-slot.js';
import { codeOf, refusal, requireAutomaticLogin, type LoginParts, type Logins } from './logins.js';
import type { TokenIdentity } from './pin-budget.js';
import type { Kept } from './retained-pin.js';
import { wipe } from './secret-bytes.js';

export class ContextLogins {
  /** @param inTurn runs one login or lock of this token after another */
  constructor(
    private readonly parts: LoginParts,
    private readonly logins: Logins,
    private readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>,
  ) {}

  /** `use` does the operation with the PIN. Rejects as it does, or with MECHANISM or PIN_BLOCKED where no PIN may be given. */
  run<T>(key: ServedKey, cancellation: Cancellation, use: (oneUse: OneUse) => Promise<T>): Promise<T> {
    return this.inTurn(async () => {
      cancellation.throwIfCancelled();
      const info = await this.parts.token.refreshInfo();
      const kept = this.logins.retained.copy();
      if (kept === undefined) throw this.noPin(key, info.flags);
      try {
        requireAutomaticLogin(info.flags);
        this.spend(kept, info);
        return await this.useOnce(kept, use);
      } finally {
        wipe(kept.pin);
      }
    });
  }

  /** The value was confirmed when the token was unlocked; its slow hash is made once. */
  private spend({ source }: Kept, identity: TokenIdentity): void {
    const { budget } = this.parts;
    const attempt = this.logins.retained.attempt((pin) => budget.attemptOf(pin));
    if (attempt !== undefined) budget.spendAgain(source, identity, attempt);
  }

  private async useOnce<T>(kept: Kept, use: (oneUse: OneUse) => Promise<T>): Promise<T> {
    const login = { confirmed: false };
    const authenticated = (): void => {
      login.confirmed = true;
      this.logins.giveBackBudget();
    };
    try {
      return await use({ pin: kept.pin, authenticated });
    } catch (error) {
      if (isRefusal(error)) await this.refused(kept, error);
      else if (!login.confirmed && wasNotCalled(error)) this.logins.giveBackBudget();
      throw error;
    }
  }

  /** The login to the token stands, and so do its other keys; this PIN is given to nobody any more. */
  private async refused({ source }: Kept, error: unknown): Promise<void> {
    const { token, answers, log } = this.parts;
    this.logins.retained.wipe();
    answers.refused(source, refusal(error));
    log.warn('the token refused the PIN for one use of a key', { token: token.name, error });
    if (token.state === 'unlocked')
      token.setState('unlocked', `but the token refused the PIN that was kept; ${this.advice}`);
    await this.logins.record(source, error);
  }

  private noPin({ uri }: ServedKey, flags: readonly string[]): AgentError {
    const { token } = this.parts;
    const asks = `${uri} asks for the PIN at every use (CKA_ALWAYS_AUTHENTICATE)`;
    // First: no setting would change that.
    if (flags.includes('protected-authentication-path')) {
      return new AgentError('MECHANISM', `${asks}, and one that is entered on the reader cannot be kept`);
    }
    if (!token.config.retainPin)
      return new AgentError('MECHANISM', `${asks}, and retain_pin = false keeps none`);
    return new AgentError(
      'PIN_BLOCKED',
      `${asks}, and none is kept since the token refused it; ${this.advice}`,
    );
  }

  private get advice(): string {
    const { name } = this.parts.token;
    return `run "keyagent lock ${name}", then "keyagent unlock ${name}"`;
  }
}

function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof TokenFault && error.atLogin && (code === 'PIN_INCORRECT' || code === 'PIN_BLOCKED');
}

/** The host answered, and not from C_Login; or nothing was sent. A host that ended may have been in it. */
function wasNotCalled(error: unknown): boolean {
  return error instanceof TokenFault ? !error.atLogin : !(error instanceof HostLost);
}
