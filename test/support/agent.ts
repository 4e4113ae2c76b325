/** A real agent: starts build/bin/keyagentd and waits until its sockets answer; runs the keyagent command against it. */
import { chmodSync, chownSync, existsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { connectCaller, type Method, type Params, type Result } from '@keyagent/protocol';
import { serverUser } from './account.js';
import { AgentHome, type AgentSpec } from './agent-home.js';
import type { Cleanup } from './cleanup.js';
import { runCommand, type CommandOptions, type CommandResult } from './command.js';
import { Daemon } from './daemon.js';
import { keyagentCommand, keyagentd, root } from './paths.js';
import { waitFor } from './wait.js';

export type { AgentSpec };

export class Agent extends AgentHome {
  readonly #cleanup: Cleanup;
  #daemon: Daemon | undefined;

  constructor(cleanup: Cleanup, spec: AgentSpec) {
    super(spec);
    this.#cleanup = cleanup;
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error('the agent was not started');
    return this.#daemon;
  }

  /** Starts it, after the first time too. */
  async start(): Promise<void> {
    const daemon = this.#runAgent(['--config', this.configFile]);
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
      ...Object.entries(this.env).map(([name, value]) => `--setenv=${name}=${value}`),
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
    for (const { label, pin } of this.spec.tokens) {
      await this.mustKeyagent(['unlock', label, '--stdin'], { input: `${pin}\n` });
    }
  }

  /** Asks as an operator's command does, without the time that a process takes to start. */
  async ask<M extends Method>(method: M, params: Params<M>): Promise<Result<M>> {
    const trustedUids = [statSync(this.controlSocket).uid];
    const caller = await connectCaller(this.controlSocket, { trustedUids });
    try {
      return await caller.call(method, params);
    } finally {
      caller.close();
    }
  }

  /** By a reload: a host has to open within it too, and a short one may end that of a fresh agent on a busy machine. */
  async setRequestTimeout(ms: number): Promise<void> {
    this.configure((tables) => (tables.agent.request_timeout_ms = ms));
    await this.ask('reload', {});
  }

  /** State of a token as `keyagent status` says it. */
  async tokenState(label: string): Promise<string> {
    return (await this.#status(label)).state;
  }

  /** Waits until a token has come to rest after the agent's start: what can unlock it without hands has been asked. */
  async settled(label: string): Promise<string> {
    return waitFor(`token ${label} has come to rest`, async () => {
      const { state, revoked, source, source_result: answer } = await this.#status(label);
      const asked = revoked || (source !== undefined && answer !== 'gave a PIN');
      return state !== 'absent' && state !== 'unlocking' && (state !== 'locked' || asked) && state;
    });
  }

  async #status(label: string): Promise<TokenStatus & { revoked: boolean }> {
    const { revoked, tokens } = await this.ask('status', {});
    const token = tokens.find(({ name }) => name === label);
    if (token === undefined) throw new Error(`the agent has no token ${label}`);
    return { ...token, revoked };
  }

  /** How often a PKCS#11 function was called, by all token hosts together. */
  calls(name: string): number {
    if (this.counting === undefined) throw new Error('this agent has no counting module');
    return this.counting.calls().get(name) ?? 0;
  }

  /** As spec.user and within spec.memlock: setpriv(1) and prlimit(1) exec, so the pid is the agent's. */
  #runAgent(args: readonly string[]): Daemon {
    const { user, memlock, preload } = this.spec;
    const program =
      preload === undefined
        ? [keyagentd]
        : [process.execPath, '--import', preload, path.join(root, 'agent/dist/main.js')];
    const line = [...program, ...args];
    if (user !== undefined)
      line.unshift(
        'setpriv',
        `--reuid=${user.name}`,
        `--regid=${user.group}`,
        `--groups=${serverUser().group}`,
      );
    if (memlock !== undefined) line.unshift('prlimit', `--memlock=${memlock}`);
    const [command = keyagentd, ...rest] = line;
    return this.#run(command, rest);
  }

  #run(command: string, args: readonly string[]): Daemon {
    this.#daemon = new Daemon(this.#cleanup, { command, args, env: this.env, logFile: this.logFile });
    return this.#daemon;
  }
}

/** An agent that listens; its tokens are locked. */
export async function startAgent(cleanup: Cleanup, spec: AgentSpec): Promise<Agent> {
  const agent = new Agent(cleanup, spec);
  await agent.start();
  return agent;
}

type TokenStatus = Result<'status'>['tokens'][number];

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
