/**
 * What the agent goes by: one configuration, and the tokens that it names with what unlocks them. A reload makes
 * another one and swaps them as a whole, so no request sees half of each.
 */
import type { Config } from './config/config.js';
import { Tokens } from './token/tokens.js';
import { Broker, type BrokerParts } from './unlock/broker.js';
import type { Ward } from './unlock/ward.js';

export interface Serving {
  readonly config: Config;
  readonly wards: readonly Ward[];
  readonly tokens: Tokens;
  readonly broker: Broker;
}

/** @param wards  of the tokens that the configuration names, in its order */
export function serving(config: Config, wards: readonly Ward[], parts: BrokerParts): Serving {
  return {
    config,
    wards,
    tokens: new Tokens(wards.map(({ token }) => token)),
    broker: new Broker(wards, parts),
  };
}
