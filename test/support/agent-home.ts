/** What an agent finds when it starts: a folder with its configuration, state, places for sockets, credentials. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'smol-toml';
import { serverUser, type Account } from './account.js';
import { CountingModule } from './counting-module.js';
import { softHsmModule } from './paths.js';
import type { Token } from './softhsm.js';

type Table = Record<string, unknown>;

/** Where tokens are: a folder that the agent's user must be able to use, and what a module needs in its environment. */
export interface TokenStore {
  readonly folder: string;
  readonly env: Record<string, string>;
}

/** A configuration file, read. */
export interface ConfigurationTables {
  agent: Table;
  token: Table[];
  rule: Table[];
  audit: Table;
}

export interface AgentSpec {
  /** Holds everything of the agent: configuration, sockets, state, audit log. An existing folder. */
  folder: string;
  /** With SoftHSM as its module, unless tokenSettings or KEYAGENT_TEST_REAL_MODULE name another. */
  hsm: TokenStore;
  /** The first one is what `unlock` without a name unlocks. Each is called after its label. */
  tokens: readonly Token[];
  /** Added to every [[token]]: module, unlock, env, ... */
  tokenSettings?: Table;
  /** Default: the server's user may sign with every key. */
  rules?: readonly Table[];
  agentSettings?: Table;
  /** Gives every token's PIN as a systemd credential, and asks it before an operator. */
  credential?: boolean;
  env?: Record<string, string>;
  /** Who runs it, with the server's group as its second one; default: whoever runs the test. */
  user?: Account;
  /** RLIMIT_MEMLOCK of agent and hosts, bytes; root's processes may lock more. */
  memlock?: number;
  /** A file that Node loads before the agent's own code. */
  preload?: string;
  /** Puts the counting module in front of SoftHSM, for every token or the one of this label; `calls` tells what it saw. */
  counted?: boolean | string;
}

export class AgentHome {
  readonly socket: string;
  readonly controlSocket: string;
  readonly stateDir: string;
  readonly auditFile: string;
  readonly configFile: string;
  readonly logFile: string;
  /** What systemd would set for the agent. */
  readonly env: Record<string, string>;
  /** Undefined where calls are not counted. */
  readonly counting: CountingModule | undefined;

  constructor(readonly spec: AgentSpec) {
    const { folder, hsm, tokens, user } = spec;
    this.socket = path.join(folder, 'run/agent.sock');
    this.controlSocket = path.join(folder, 'run/control.sock');
    this.stateDir = path.join(folder, 'state');
    this.auditFile = path.join(this.stateDir, 'audit.jsonl');
    this.configFile = path.join(folder, 'keyagent.toml');
    this.logFile = path.join(folder, 'keyagentd.log');
    this.env = { ...spec.env };
    this.counting = (spec.counted ?? false) === false ? undefined : new CountingModule(folder, hsm);
    mkdirSync(path.join(folder, 'run'));
    mkdirSync(this.stateDir, { mode: 0o700 });
    if (spec.credential === true) this.env.CREDENTIALS_DIRECTORY = writeCredentials(folder, tokens);
    writeFileSync(this.configFile, stringify(this.#configuration()));
    if (user !== undefined) {
      const owned = [path.join(folder, 'run'), this.stateDir, hsm.folder];
      if (spec.credential === true) owned.push(path.join(folder, 'credentials'));
      execFileSync('chown', ['-R', `${user.name}:${user.group}`, ...owned]);
    }
  }

  /** Changes the configuration file; an agent that runs has to be told. */
  configure(change: (tables: ConfigurationTables) => void): void {
    const tables = parse(readFileSync(this.configFile, 'utf8')) as unknown as ConfigurationTables;
    change(tables);
    writeFileSync(this.configFile, stringify(tables));
  }

  #configuration(): Table {
    const { hsm, tokens, tokenSettings, agentSettings, rules, credential, counted } = this.spec;
    const user = serverUser();
    return {
      agent: {
        socket: this.socket,
        control_socket: this.controlSocket,
        socket_group: user.group,
        state_dir: this.stateDir,
        ...agentSettings,
      },
      token: tokens.map(({ label }) => ({
        name: label,
        module: softHsmModule,
        uri: `pkcs11:token=${label}`,
        unlock: credential === true ? ['credential', 'prompt'] : ['prompt'],
        env: hsm.env,
        ...(counted === true || counted === label ? this.counting?.tokenSettings : {}),
        ...tokenSettings,
      })),
      rule: rules ?? [
        { name: 'server', keys: 'pkcs11:', users: [user.name], operations: ['sign', 'decrypt'] },
      ],
      audit: { file: this.auditFile },
    };
  }
}

/** @returns the folder, as systemd names it in CREDENTIALS_DIRECTORY */
function writeCredentials(folder: string, tokens: readonly Token[]): string {
  const credentials = path.join(folder, 'credentials');
  mkdirSync(credentials, { mode: 0o700 });
  for (const { label, pin } of tokens) {
    writeFileSync(path.join(credentials, `keyagent.${label}.pin`), pin, { mode: 0o400 });
  }
  return credentials;
}
