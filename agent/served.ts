/**
 * What the agent goes by: one configuration, and the tokens that it names with what unlocks them. A reload makes
 * another one and swaps them as a whole, so no request sees half of each.
 */
import { changesOf, type Changes } from './config/changes.js';
import type { Config, TokenConfig } from './config/config.js';
import { refuseNamesake } from './token/namesake.js';
import { Tokens } from './token/tokens.js';
import { Broker } from './unlock/broker.js';
import { Retirement } from './unlock/retirement.js';
import { makeWard, type Ward, type WardParts } from './unlock/ward.js';

/** Never changed, only replaced. */
export interface Serving {
  readonly config: Config;
  /** Of the tokens that the configuration names, in its order. */
  readonly wards: readonly Ward[];
  readonly tokens: Tokens;
  readonly broker: Broker;
}

export interface ServedParts extends WardParts {
  /** Told of each token before it is opened. */
  readonly onMade: (ward: Ward) => void;
  /** Told of each token that a reload takes out of service. */
  readonly onLeft: (ward: Ward) => void;
}

/** A reload waits this long for the keys to be read, milliseconds: a token that hangs holds up nobody. */
const readKeysMs = 5000;

export class Served {
  private current: Serving;
  private readonly retirement = new Retirement();

  constructor(
    config: Config,
    private readonly parts: ServedParts,
  ) {
    this.current = this.serving(
      config,
      config.tokens.map((token) => this.make(token)),
    );
  }

  get now(): Serving {
    return this.current;
  }

  /** Every token on its own: one that hangs or is absent holds up nobody. */
  async open(): Promise<void> {
    await Promise.all(this.current.wards.map(({ token }) => token.open()));
  }

  /**
   * Goes by another configuration, from the next request on.
   * @returns what changed, and the tokens whose login that ends
   * @throws AgentError CONFIGURATION; nothing is changed then
   */
  swap(next: Config): Changes & { readonly loggedOut: readonly string[] } {
    const { config, wards } = this.current;
    const changes = changesOf(config, next);
    const keeps = (name: string): boolean => ![...changes.added, ...changes.replaced].includes(name);
    const kept = new Map(
      wards.filter(({ token }) => keeps(token.name)).map((ward) => [ward.token.name, ward]),
    );
    for (const token of next.tokens) {
      const { info, beside = [] } = kept.get(token.name)?.token ?? {};
      if (info !== undefined) refuseNamesake(token, info, beside, next.tokens);
    }
    this.current = this.serving(
      next,
      next.tokens.map((token) => kept.get(token.name) ?? this.make(token)),
    );
    const left = wards.filter((ward) => !this.current.wards.includes(ward));
    const loggedOut = left.filter(({ token }) => token.hasLoggedInHost).map(({ token }) => token.name);
    for (const ward of left) {
      this.retirement.begin(ward, config.requestTimeoutMs);
      this.parts.onLeft(ward);
    }
    for (const token of next.tokens) kept.get(token.name)?.unlocker.configure(token);
    for (const ward of this.current.wards)
      if (!wards.includes(ward) || ward.token.state === 'failed') void this.openInTurn(ward);
    return { ...changes, loggedOut };
  }

  /** After objects in the tokens changed. Settles when the keys were read, or at a deadline. */
  async readKeys(): Promise<void> {
    const { log } = this.parts;
    const all = this.current.wards.map(async ({ token }) => {
      await token.rescan().catch((error: unknown) => {
        log.warn('the keys could not be read again', { token: token.name, error });
      });
    });
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise((resolve) => {
      timer = setTimeout(resolve, readKeysMs).unref();
    });
    await Promise.race([Promise.all(all), deadline]);
    clearTimeout(timer);
  }

  stop(): void {
    this.retirement.endNow();
    for (const { token } of this.current.wards) token.stop();
  }

  /** Two of one name would log in to one token twice. */
  private async openInTurn({ token }: Ward): Promise<void> {
    await this.retirement.madeWay(token.name);
    await token.open();
  }

  private make(config: TokenConfig): Ward {
    const ward = makeWard(config, this.parts);
    const { token } = ward;
    token.admit = (info, beside) => {
      refuseNamesake(token.config, info, beside, this.before(token.name));
    };
    this.parts.onMade(ward);
    return ward;
  }

  /** Of several that name one token the first in the configuration serves it, whichever is opened first. */
  private before(name: string): readonly TokenConfig[] {
    const { tokens } = this.current.config;
    const index = tokens.findIndex((token) => token.name === name);
    return index === -1 ? [] : tokens.slice(0, index);
  }

  private serving(config: Config, wards: readonly Ward[]): Serving {
    const { revocation, audit } = this.parts;
    return {
      config,
      wards,
      tokens: new Tokens(wards.map(({ token }) => token)),
      broker: new Broker(wards, { revocation, audit, retirement: this.retirement }),
    };
  }
}
