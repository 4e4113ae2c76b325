/** A real agent: writes its configuration, starts build/bin/keyagentd, and waits until its sockets answer. */
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { stringify } from 'smol-toml';
import { serverUser } from './account.js';
import type { Cleanup } from './cleanup.js';
import { runCommand, type CommandOptions, type CommandResult } from './command.js';
import { Daemon } from './daemon.js';
import { CountingModule } from './counting-module.js';
import { keyagentCommand, keyagentd, softHsmModule } from './paths.js';
import type { SoftHsm, Token } from './softhsm.js';
import { waitFor } from './wait.js';

type Table = Record<string, unknown>;

export interface AgentSpec {
  /** Holds everything of the agent: configuration, sockets, state, audit log. An existing folder. */
  folder: string;
  hsm: SoftHsm;
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
  /** Puts the counting module in front of SoftHSM; `calls` tells what it saw. */
  counted?: boolean;
}

export class Agent {
  readonly socket: string;
  readonly controlSocket: string;
  readonly stateDir: string;
  readonly auditFile: string;
  readonly configFile: string;
  readonly #cleanup: Cleanup;
  readonly #spec: AgentSpec;
  readonly #env: Record<string, string>;
  readonly #counting: CountingModule | undefined;
  #daemon: Daemon | undefined;

  constructor(cleanup: Cleanup, spec: AgentSpec) {
    const { folder } = spec;
    this.#cleanup = cleanup;
    this.#spec = spec;
    this.#env = { ...spec.env };
    this.#counting = spec.counted === true ? new CountingModule(folder, spec.hsm) : undefined;
    this.socket = path.join(folder, 'run/agent.sock');
    this.controlSocket = path.join(folder, 'run/control.sock');
    this.stateDir = path.join(folder, 'state');
    this.auditFile = path.join(folder, 'audit.jsonl');
    this.configFile = path.join(folder, 'keyagent.toml');
    mkdirSync(path.join(folder, 'run'));
    mkdirSync(this.stateDir, { mode: 0o700 });
    if (spec.credential === true) this.#env.CREDENTIALS_DIRECTORY = writeCredentials(folder, spec.tokens);
    writeFileSync(this.configFile, stringify(this.#configuration()), { mode: 0o644 });
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error('the agent was not started');
    return this.#daemon;
  }

  /** Starts it, after the first time too. */
  async start(): Promise<void> {
    const daemon = this.#run(keyagentd, ['--config', this.configFile]);
    for (const socket of [this.socket, this.controlSocket]) {
      await waitFor(`the agent listens on ${socket}`, () => {
        daemon.mustRun();
        return accepts(socket);
      });
    }
  }

  /** Has systemd-socket-activate listen; the agent starts with the first connection, in the same process. */
  async startActivated(names: readonly string[] = ['client', 'control']): Promise<void> {
    const sockets = [this.socket, this.controlSocket];
    const args = [
      ...sockets.flatMap((socket) => ['--listen', socket]),
      `--fdname=${names.join(':')}`,
      ...Object.entries(this.#env).map(([name, value]) => `--setenv=${name}=${value}`),
      ...[keyagentd, '--config', this.configFile],
    ];
    const daemon = this.#run('systemd-socket-activate', args);
    await waitFor('systemd-socket-activate listens', () => {
      daemon.mustRun();
      return sockets.every((socket) => existsSync(socket));
    });
    // What SocketMode= and SocketGroup= do.
    chownSync(this.socket, -1, serverUser().gid);
    chmodSync(this.socket, 0o660);
    chmodSync(this.controlSocket, 0o600);
  }

  /** Runs the keyagent command against this agent. */
  keyagent(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const env = { KEYAGENT_SOCK: this.socket, KEYAGENT_CONTROL_SOCK: this.controlSocket, ...options.env };
    return runCommand(keyagentCommand, args, { ...options, env });
  }

  /** As keyagent, and fails with what it printed unless it exits with 0. */
  async mustKeyagent(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.keyagent(args, options);
    if (status !== 0) {
      throw new Error(
        `keyagent ${args.join(' ')}: exit ${status}: ${stderr}\nthe agent said:\n${this.daemon.log}`,
      );
    }
    return stdout;
  }

  /** Types each token's PIN into `keyagent unlock --stdin`. */
  async unlock(): Promise<void> {
    for (const { label, pin } of this.#spec.tokens) {
      await this.mustKeyagent(['unlock', label, '--stdin'], { input: `${pin}\n` });
    }
  }

  /** State of a token as `keyagent status` says it. */
  async tokenState(label: string): Promise<string> {
    const status = JSON.parse(await this.mustKeyagent(['status', '--json'])) as Status;
    return status.tokens.find(({ name }) => name === label)?.state ?? 'not configured';
  }

  /** Waits until a token that is opening or logging in has come to rest. */
  async settled(label: string): Promise<string> {
    return waitFor(`token ${label} has come to rest`, async () => {
      const state = await this.tokenState(label);
      return state !== 'unlocking' && state !== 'absent' && state;
    });
  }

  /** How often each PKCS#11 function was called, by all token hosts together. */
  calls(): Record<string, number> {
    if (this.#counting === undefined) throw new Error('this agent has no counting module');
    return this.#counting.calls();
  }

  #run(command: string, args: readonly string[]): Daemon {
    const logFile = path.join(this.#spec.folder, 'keyagentd.log');
    this.#daemon = new Daemon(this.#cleanup, { command, args, env: this.#env, logFile });
    return this.#daemon;
  }

  #configuration(): Table {
    const { hsm, tokens, tokenSettings, agentSettings, rules } = this.#spec;
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
        unlock: this.#spec.credential === true ? ['credential', 'prompt'] : ['prompt'],
        env: hsm.env,
        ...this.#counting?.tokenSettings,
        ...tokenSettings,
      })),
      rule: rules ?? [
        { name: 'server', keys: 'pkcs11:', users: [user.name], operations: ['sign', 'decrypt'] },
      ],
      audit: { file: this.auditFile },
    };
  }
}

/** An agent that listens; its tokens are locked. */
export async function startAgent(cleanup: Cleanup, spec: AgentSpec): Promise<Agent> {
  const agent = new Agent(cleanup, spec);
  await agent.start();
  return agent;
}

interface Status {
  tokens: { name: string; state: string }[];
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

/** Whether somebody accepts connections on a Unix socket. */
export function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
