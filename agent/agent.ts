/** The agent as a whole: owns the sockets and connections, and wires tokens, broker, policy and handlers together. */
import { mkdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { AuditLog } from './audit/audit-log.js';
import { sendToJournal } from './audit/journal.js';
import { blindSpots } from './blind-spots.js';
import type { Config, TokenConfig } from './config/config.js';
import { overflowId } from './config/overflow-id.js';
import { control, type ControlContext } from './control/control.js';
import type { Log } from './log.js';
import { native } from './native/index.js';
import type { Peer } from './policy/peer.js';
import { RateLimits } from './policy/rate.js';
import type { Rule } from './policy/rule.js';
import type { Context } from './request/context.js';
import { dispatch } from './request/dispatch.js';
import { Connection, type Dispatch, type Face } from './socket/connection.js';
import { bindSocket, inheritSocket, type Listener } from './socket/listen.js';
import { identify } from './socket/peer.js';
import { notifySystemd, type InheritedSockets } from './socket/systemd.js';
import { KeyCache } from './token/key-cache.js';
import { Token } from './token/token.js';
import { Tokens } from './token/tokens.js';
import { Broker, type Ward } from './unlock/broker.js';
import { KnownSerial } from './unlock/known-serial.js';
import { PinBudget } from './unlock/pin-budget.js';
import { Revocation } from './unlock/revocation.js';
import { SourceAnswers } from './unlock/source-answers.js';
import { pinSource } from './unlock/sources/pin-sources.js';
import { TokenUnlocker } from './unlock/token-unlocker.js';
import { AgentError } from '@keyagent/protocol';
import { version } from './version.js';

const agentName = `keyagent ${version}`;
/** A connection that does not greet or does not read ends after this, milliseconds. */
const stallMs = 10_000;
/** A login may wait for somebody at a PIN pad, milliseconds. */
const loginMs = 120_000;
/** After the deadline of a request its host gets this much more before it counts as hung, milliseconds. */
const hangGraceMs = 1000;
/** Half of what a listener takes (socket/listen.ts). */
const connectionsPerUid = 4096;
/** What is under way at a stop gets this long, milliseconds. */
const drainMs = 2000;

export class Agent {
  readonly stopped: Promise<void>;
  private readonly audit: AuditLog;
  private readonly tokens: Tokens;
  private readonly revocation: Revocation;
  private readonly broker: Broker;
  private readonly startedAt = Date.now();
  private readonly listeners: Listener[] = [];
  private readonly connections = new Set<Connection>();
  private readonly overflowUid = overflowId('user');
  private readonly rates = new RateLimits();
  private rules: readonly Rule[];
  private stopping = false;
  private resolveStopped: () => void = () => undefined;

  constructor(
    private readonly config: Config,
    private readonly readConfig: () => Config,
    private readonly log: Log,
  ) {
    this.stopped = new Promise((resolve) => {
      this.resolveStopped = resolve;
    });
    mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
    this.audit = new AuditLog({
      file: config.auditFile,
      stateDir: config.stateDir,
      onError: config.auditOnError,
      tell: (message, error) => {
        if (error === undefined) log.warn(message, { file: config.auditFile });
        else log.error(message, { file: config.auditFile, error });
      },
      publish: config.auditJournald
        ? sendToJournal((path, message) => {
            native.notify(path, message);
          })
        : undefined,
    });
    this.rules = config.rules;
    this.tellBlindSpots();
    this.revocation = new Revocation(config.stateDir);
    this.tokens = new Tokens(config.tokens.map((token) => this.makeToken(token)));
    const wards = new Map(this.tokens.all.map((token) => [token, this.makeWard(token)]));
    this.broker = new Broker(wards, this.revocation, this.audit);
  }

  /** Opens every socket; what systemd handed over is not bound again. */
  async listen(inherited: InheritedSockets | undefined): Promise<void> {
    const accept = (face: Face) => (socket: Socket) => {
      this.accept(face, socket);
    };
    const { client = [], control: operators = [] } = inherited ?? {};
    for (const fd of client) this.listeners.push(await inheritSocket(fd, accept('client')));
    for (const fd of operators) this.listeners.push(await inheritSocket(fd, accept('control')));
    const [first, ...more] = this.config.sockets;
    const bound = client.length > 0 || first === undefined ? more : [first, ...more];
    for (const address of bound) this.listeners.push(await bindSocket(address, accept('client')));
    if (operators.length === 0) {
      this.listeners.push(await bindSocket(this.config.controlSocket, accept('control')));
    }
    // Not before: another agent may have these sockets, and the log with them.
    await this.audit.note({ event: 'start', outcome: 'ok' });
  }

  /** Every token on its own: one that hangs or is absent holds up nobody. */
  async openTokens(): Promise<void> {
    await Promise.all(this.tokens.all.map((token) => token.open()));
  }

  /** Takes over the rules of the file as it is now, and reads the tokens' objects again. */
  async reload(peer?: Peer): Promise<void> {
    // First, so that a log that was rotated is left whatever the configuration says.
    this.audit.reopen();
    try {
      const next = this.readConfig();
      requireSameFrame(this.config, next);
      this.rules = next.rules;
      this.tellBlindSpots();
    } catch (error) {
      const outcome = error instanceof AgentError ? error.code : 'INTERNAL';
      await this.audit.note({ event: 'reload', peer, outcome });
      throw error;
    }
    await this.audit.note({ event: 'reload', peer, outcome: 'ok' });
    for (const token of this.tokens.all) {
      // The new rules are in force whatever a token that hangs does.
      token.rescan().catch((error: unknown) => {
        this.log.warn('the keys could not be read again', { token: token.name, error });
      });
    }
    this.log.info('configuration reloaded', { count: this.rules.length });
  }

  /** Stops accepting, lets what is under way finish for a moment, ends logins and hosts, and resolves `stopped`. */
  stop(why: string): void {
    if (this.stopping) return;
    this.stopping = true;
    this.log.info(`stopping: ${why}`);
    notifySystemd('STOPPING=1');
    for (const listener of this.listeners) listener.close();
    // From here on no login succeeds: a stop is not undone by one that was under way.
    this.broker.stop();
    const deadline = Date.now() + drainMs;
    const poll = setInterval(() => {
      const busy = [...this.connections].some(({ inFlightCount }) => inFlightCount > 0);
      if (busy && Date.now() < deadline) return;
      clearInterval(poll);
      this.finish();
    }, 20);
  }

  private tellBlindSpots(): void {
    for (const spot of blindSpots(this.rules)) this.log.warn(spot);
  }

  private finish(): void {
    // Those that opened while the stop began, too.
    for (const listener of this.listeners) listener.close();
    for (const token of this.tokens.all) token.stop();
    for (const connection of this.connections) connection.end();
    this.audit.close();
    this.resolveStopped();
  }

  private makeToken(config: TokenConfig): Token {
    const { requestTimeoutMs, holdMs, stateDir } = this.config;
    const token = new Token(
      config,
      { operationMs: requestTimeoutMs + hangGraceMs, loginMs, holdMs },
      new KeyCache(stateDir, config.name),
      this.log,
    );
    token.on('state', (state) => {
      for (const connection of this.connections) {
        connection.tell({ method: 'state', params: { token: config.name, state } });
      }
    });
    return token;
  }

  private makeWard(token: Token): Ward {
    const { audit, log, revocation } = this;
    const answers = new SourceAnswers(token.name, (name) => pinSource(name, token.config), log);
    const budget = new PinBudget(this.config.stateDir, token.name);
    const serial = new KnownSerial(this.config.stateDir, token.name);
    return {
      answers,
      unlocker: new TokenUnlocker({ token, budget, serial, answers, revocation, audit, log }),
    };
  }

  private accept(face: Face, socket: Socket): void {
    let connection: Connection;
    try {
      const peer = identify(socket, this.overflowUid);
      if (!this.hasRoomFor(peer)) {
        this.log.warn('connection refused: this uid has too many', { uid: peer.uid, pid: peer.pid });
        socket.destroy();
        return;
      }
      connection = new Connection(socket, peer, {
        face,
        dispatch: face === 'client' ? this.serveClient : this.serveOperator,
        agent: agentName,
        stallMs,
        onDefect: (error) => {
          this.log.error('defect while serving a request', { error });
        },
      });
    } catch (error) {
      // A peer that cannot be identified has no rights; most often it is gone already.
      this.log.warn('connection refused: peer unknown', { error });
      socket.destroy();
      return;
    }
    this.connections.add(connection);
    socket.once('close', () => this.connections.delete(connection));
  }

  /** One uid cannot take the places of all the others; root takes none of theirs. */
  private hasRoomFor({ uid }: Peer): boolean {
    if (uid === 0) return true;
    let count = 0;
    for (const { peer } of this.connections) if (peer.uid === uid) count++;
    return count < connectionsPerUid;
  }

  private readonly serveClient: Dispatch = (request, peer, signal) => {
    if (this.stopping) throw new AgentError('STOPPING', 'the agent is stopping');
    return dispatch(request, { peer, signal }, this.requestContext());
  };

  private readonly serveOperator: Dispatch = (request, peer) => {
    if (this.stopping && request.method !== 'status')
      throw new AgentError('STOPPING', 'the agent is stopping');
    return control(request, peer, this.controlContext);
  };

  private requestContext(): Context {
    return {
      tokens: this.tokens,
      rules: this.rules,
      rates: this.rates,
      audit: this.audit,
      requestTimeoutMs: this.config.requestTimeoutMs,
      agent: agentName,
      startedAt: this.startedAt,
      isRevoked: () => this.revocation.any,
    };
  }

  private get controlContext(): ControlContext {
    return {
      tokens: this.tokens,
      broker: this.broker,
      revocation: this.revocation,
      audit: this.audit,
      agent: agentName,
      startedAt: this.startedAt,
      rules: () => this.rules,
      connections: () => this.connections,
      reload: (peer) => this.reload(peer),
      stop: () => {
        this.stop('an operator said stop');
      },
    };
  }
}

/** Sockets and tokens are made once; a reload that would change them says so instead of half doing it. */
function requireSameFrame(now: Config, next: Config): void {
  const frame = ({ rules: _rules, tokens, ...rest }: Config): string =>
    JSON.stringify({ ...rest, tokens: tokens.map((token) => ({ ...token, uri: token.uri.text })) });
  if (frame(now) !== frame(next)) {
    throw new AgentError(
      'CONFIGURATION',
      'only rules can be reloaded; restart the agent to change [agent], [[token]] or [audit]',
    );
  }
}
