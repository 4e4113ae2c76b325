/** Operator cards for one test: SoftHSM tokens with an RSA key each, seen through a card reader of the agent. */
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { parse, stringify } from 'smol-toml';
import { startAgent, type Agent, type AgentSpec } from './agent.js';
import { makeAuthority } from './authority.js';
import type { Cleanup } from './cleanup.js';
import { mustRun, type CommandResult } from './command.js';
import { CountingModule } from './counting-module.js';
import { scratchFolder } from './scratch.js';
import { SoftHsm, type Token } from './softhsm.js';

export interface Card {
  label: string;
  pin: string;
}

export class CardDeployment {
  constructor(
    readonly folder: string,
    readonly agent: Agent,
    readonly token: Token,
    readonly cards: readonly Card[],
    /** In front of the cards' module. */
    readonly counting: CountingModule,
    readonly hsm: SoftHsm,
  ) {}

  get file(): string {
    return path.join(this.agent.stateDir, 'web.cards.json');
  }

  card(number: number): Card {
    const card = this.cards[number - 1];
    if (card === undefined) throw new Error(`there is no card ${number}`);
    return card;
  }

  /** `--card LABEL` for each of these. */
  options(...numbers: number[]): string[] {
    return numbers.flatMap((number) => ['--card', this.card(number).label]);
  }

  /** Their PINs, one a line. */
  pins(...numbers: number[]): string {
    return numbers.map((number) => `${this.card(number).pin}\n`).join('');
  }

  enrol(quorum = 3): Promise<CommandResult> {
    const all = this.cards.map((_, index) => index + 1);
    const args = [
      'card',
      'enrol',
      'web',
      '--cards',
      String(all.length),
      '--quorum',
      String(quorum),
      '--stdin',
    ];
    return this.agent.keyagent([...args, ...this.options(...all)], {
      input: `${this.pins(...all)}${this.token.pin}\n`,
    });
  }

  /** Gives these cards, from one terminal. */
  unlock(numbers: readonly number[], ...more: string[]): Promise<CommandResult> {
    const args = ['unlock', 'web', '--source', 'card', '--stdin', ...this.options(...numbers), ...more];
    return this.agent.keyagent(args, { input: this.pins(...numbers) });
  }

  /** How often a PKCS#11 function was called in the cards' module. */
  calls(name: string): number {
    return this.counting.calls().get(name) ?? 0;
  }

  /** Changes the tables of the readers, and has the agent read them. */
  async setReaders(...readers: Record<string, unknown>[]): Promise<void> {
    const config = parse(readFileSync(this.agent.configFile, 'utf8'));
    writeFileSync(this.agent.configFile, stringify({ ...config, card_reader: readers }));
    if (this.agent.daemon.running) await this.agent.mustKeyagent(['reload']);
  }

  /** One reader that shows all cards and the token itself, as SoftHSM does. */
  get reader(): Record<string, unknown> {
    return { name: 'desk', ...this.counting.tokenSettings };
  }

  /** One reader that shows this card only. */
  readerOf(number: number): Record<string, unknown> {
    const uri = `pkcs11:token=${this.card(number).label}`;
    return { ...this.reader, name: `desk${number}`, uri };
  }
}

/** Of the token: so long that the bookkeeping of a heap does not happen to overwrite what is freed of it. */
const pin = 'the PIN of the token, 7412, of which nothing is to stay';

/** An agent whose token `web` is locked, and cards, not enrolled yet. */
export async function deployCards(
  cleanup: Cleanup,
  count: number,
  spec: Partial<AgentSpec> = {},
): Promise<CardDeployment> {
  const folder = scratchFolder(cleanup);
  const authority = await makeAuthority(folder);
  const hsm = new SoftHsm(folder, authority);
  const token = await hsm.makeToken('web', [{ label: 'www', type: 'EC:prime256v1' }], pin);
  const cards: Card[] = [];
  for (let number = 1; number <= count; number++) cards.push(await makeCard(hsm, number));
  const agent = await startAgent(cleanup, {
    folder,
    hsm,
    tokens: [token],
    tokenSettings: { unlock: ['card', 'prompt'] },
    rules: [{ keys: 'pkcs11:', users: [userInfo().username] }],
    counted: true,
    ...spec,
  });
  const counted = path.join(folder, 'cards');
  await mustRun('mkdir', [counted]);
  const deployment = new CardDeployment(folder, agent, token, cards, new CountingModule(counted, hsm), hsm);
  await deployment.setReaders(deployment.reader);
  return deployment;
}

/** No certificate: a card has a key and nothing else. */
async function makeCard(hsm: SoftHsm, number: number): Promise<Card> {
  const card = { label: `ops${number}`, pin: `card-${number}-pin` };
  await hsm.initToken(card.label, card.pin);
  await hsm.pkcs11Tool(card, '--keypairgen', '--key-type', 'rsa:2048', '--label', 'card', '--id', '01');
  return card;
}
