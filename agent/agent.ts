/** The agent as a whole: owns the sockets, and wires tokens, broker, policy and handlers together. */
import type { Socket } from 'node:net';
import { AgentError, type Result } from '@keyagent/protocol';
import { AuditLog } from './audit/audit-log.js';
import { sendToJournal } from './audit/journal.js';
import { blindSpots } from './blind-spots.js';
import type { Config, TokenConfig } from './config/config.js';
import { overflowId } from './config/overflow-id.js';
import { control, type ControlContext } from './control/control.js';
import type { Log } from './log.js';
import { native } from './native/index.js';
import { mayKnow } from './policy/authorise.js';
import type { Peer } from './policy/peer.js';
import { RateLimits } from './policy/rate.js';
import type { Context } from './request/context.js';
import { dispatch } from './request/dispatch.js';
import { serving, type Serving } from './serving.js';
import type { Dispatch, Face } from './socket/connection.js';
import { Connections } from './socket/connections.js';
import { bindSocket, inheritSocket, type Listener } from './socket/listen.js';
import { notifySystemd, type InheritedSockets } from './socket/systemd.js';
import { holdStateDirectory, type StateDirectory } from './state/state-directory.js';
import type { TokenLimits } from './token/token.js';
import { CardReaders } from './unlock/card/card-readers.js';
import { OperatorCards } from './unlock/card/operator-cards.js';
import { Revocation } from './unlock/revocation.js';
import { makeWard, type Ward, type WardParts } from './unlock/ward.js';
import { version } from './version.js';

const agentName = `keyagent ${version}`;
/** A login may wait for somebody at a PIN pad, milliseconds. */
const loginMs = 120_000;
/** After the deadline of a request its host gets this much more before it counts as hung, milliseconds. */
const hangGraceMs = 1000;
/** What is under way at a stop gets this long, milliseconds. */
const drainMs = 2000;

export class Agent {
  readonly stopped: Promise<void>;
  private readonly state: StateDirectory;
  private readonly parts: WardParts;
  private readonly cards: OperatorCards;
  private readonly startedAt = Date.now();
  private readonly listeners: Listener[] = [];
  private readonly connections: Connections;
  private readonly rates = new RateLimits();
  private serving: Serving;
  private stopping = false;
  private resolveStopped: () => void = () => undefined;

  constructor(
    config: Config,
    private readonly readConfig: () => Config,
    private readonly log: Log,
  ) {
    this.stopped = new Promise((resolve) => {
      this.resolveStopped = resolve;
    });
    this.state = holdStateDirectory(config.stateDir);
    this.parts = {
      stateDir: config.stateDir,
      limits: limitsOf(() => this.serving.config),
      revocation: new Revocation(config.stateDir),
      audit: openAudit(config, log),
      log,
    };
    this.connections = new Connections({
      dispatch: { client: this.serveClient, control: this.serveOperator },
      agent: agentName,
      overflowUid: overflowId('user'),
      onRefused: (why, about) => {
        log.warn(`connection refused: ${why}`, about);
      },
      onDefect: (error) => {
        log.error('defect while serving a request', { error });
      },
    });
    const wards = config.tokens.map((token) => this.makeWard(token));
    this.serving = serving(config, wards, this.parts);
    this.cards = new OperatorCards({
      stateDir: config.stateDir,
      audit: this.parts.audit,
      readers: new CardReaders(() => this.serving.config.cardReaders),
      broker: { unlock: (...request) => this.serving.broker.unlock(...request) },
    });
    this.tellBlindSpots();
  }

  /** Opens every socket; what systemd handed over is not bound again. */
  async listen(inherited: InheritedSockets | undefined): Promise<void> {
    const accept = (face: Face) => (socket: Socket) => {
      this.connections.accept(face, socket);
    };
    const { client = [], control: operators = [] } = inherited ?? {};
    for (const fd of client) this.listeners.push(await inheritSocket(fd, accept('client')));
    for (const fd of operators) this.listeners.push(await inheritSocket(fd, accept('control')));
    const { sockets, controlSocket } = this.serving.config;
    const [first, ...more] = sockets;
    const bound = client.length > 0 || first === undefined ? more : [first, ...more];
    for (const address of bound) this.listeners.push(await bindSocket(address, accept('client')));
    if (operators.length === 0) {
      this.listeners.push(await bindSocket(controlSocket, accept('control')));
    }
    // Not before: another agent may have these sockets, and the log with them.
    await this.parts.audit.note({ event: 'start', outcome: 'ok' });
  }

  /** Every token on its own: one that hangs or is absent holds up nobody. */
  async openTokens(): Promise<void> {
    await Promise.all(this.serving.tokens.all.map((token) => token.open()));
  }

  /** Takes over the rules of the file as it is now, and reads the tokens' objects again. */
  async reload(peer?: Peer): Promise<Result<'reload'>> {
    const { audit } = this.parts;
    // First, so that a log that was rotated is left whatever the configuration says.
    audit.reopen();
    try {
      const next = this.readConfig();
      requireSameFrame(this.serving.config, next);
      this.serving = serving(next, this.serving.wards, this.parts);
      this.tellBlindSpots();
    } catch (error) {
      const outcome = error instanceof AgentError ? error.code : 'INTERNAL';
      await audit.note({ event: 'reload', peer, outcome });
      throw error;
    }
    await audit.note({ event: 'reload', peer, outcome: 'ok' });
    const { config, tokens } = this.serving;
    for (const token of tokens.all) {
      // The new rules are in force whatever a token that hangs does.
      token.rescan().catch((error: unknown) => {
        this.log.warn('the keys could not be read again', { token: token.name, error });
      });
    }
    this.log.info('configuration reloaded', { count: config.rules.length });
    return { rules: config.rules.length, tokens: config.tokens.length };
  }

  /**
   * Stops accepting, lets what is under way finish for a moment, ends logins and hosts, and resolves `stopped`. Resolves
   * itself when the deed is recorded. @param peer undefined: by a signal
   */
  async stop(why: string, peer?: Peer): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.log.info(`stopping: ${why}`);
    const noted = this.parts.audit.note({ event: 'stop', peer, outcome: 'ok' });
    notifySystemd('STOPPING=1');
    for (const listener of this.listeners) listener.close();
    // From here on no login succeeds: a stop is not undone by one that was under way.
    this.serving.broker.stop();
    this.cards.stop();
    const deadline = Date.now() + drainMs;
    const poll = setInterval(() => {
      if (this.connections.busy && Date.now() < deadline) return;
      clearInterval(poll);
      this.finish();
    }, 20);
    await noted;
  }

  private tellBlindSpots(): void {
    for (const spot of blindSpots(this.serving.config.rules)) this.log.warn(spot);
  }

  private finish(): void {
    // Those that opened while the stop began, too.
    for (const listener of this.listeners) listener.close();
    for (const token of this.serving.tokens.all) token.stop();
    this.parts.audit.close();
    this.state.release();
    // Last: who waits for the end of its connection may start the next agent at once.
    this.connections.end();
    this.resolveStopped();
  }

  private makeWard(config: TokenConfig): Ward {
    const ward = makeWard(config, this.parts);
    ward.token.on('state', (state) => {
      // Whoever unlocked it: nobody waits for cards any more.
      if (state === 'unlocked') this.cards.forget([ward.token], 'unlock');
      this.connections.tell({ method: 'state', params: { token: config.name, state } });
    });
    ward.token.on('rotated', ({ uri, attributes }) => {
      const { rules } = this.serving.config;
      this.connections.tell({ method: 'rotated', params: { uri } }, (peer) =>
        mayKnow(peer, attributes, rules),
      );
    });
    return ward;
  }

  private readonly serveClient: Dispatch = (request, peer, cancellation) => {
    if (this.stopping) throw new AgentError('STOPPING', 'the agent is stopping');
    return dispatch(request, { peer, cancellation }, this.requestContext());
  };

  private readonly serveOperator: Dispatch = (request, peer, cancellation) => {
    if (this.stopping && request.method !== 'status')
      throw new AgentError('STOPPING', 'the agent is stopping');
    return control(request, peer, this.controlContext(), cancellation);
  };

  private requestContext(): Context {
    const { config, tokens } = this.serving;
    return {
      tokens,
      rules: config.rules,
      rates: this.rates,
      audit: this.parts.audit,
      requestTimeoutMs: config.requestTimeoutMs,
      agent: agentName,
      startedAt: this.startedAt,
      isRevoked: () => this.parts.revocation.any,
    };
  }

  private controlContext(): ControlContext {
    const { config, tokens, broker } = this.serving;
    return {
      tokens,
      broker,
      cards: this.cards,
      rules: config.rules,
      revocation: this.parts.revocation,
      audit: this.parts.audit,
      agent: agentName,
      startedAt: this.startedAt,
      connections: this.connections,
      reload: (peer) => this.reload(peer),
      stop: (peer) => this.stop('an operator said stop', peer),
    };
  }
}

/** Of the configuration that holds now. */
function limitsOf(config: () => Config): TokenLimits {
  return {
    get operationMs() {
      return config().requestTimeoutMs + hangGraceMs;
    },
    loginMs,
    get holdMs() {
      return config().holdMs;
    },
  };
}

function openAudit({ auditFile: file, stateDir, auditOnError, auditJournald }: Config, log: Log): AuditLog {
  return new AuditLog({
    file,
    stateDir,
    onError: auditOnError,
    tell: (message, error) => {
      if (error === undefined) log.warn(message, { file });
      else log.error(message, { file, error });
    },
    publish: auditJournald
      ? sendToJournal((path, message) => {
          native.notify(path, message);
        })
      : undefined,
  });
}

/** Sockets and tokens are made once; a reload that would change them says so instead of half doing it. */
function requireSameFrame(now: Config, next: Config): void {
  const frame = ({ rules: _rules, cardReaders: _readers, tokens, ...rest }: Config): string =>
    JSON.stringify({ ...rest, tokens: tokens.map((token) => ({ ...token, uri: token.uri.text })) });
  if (frame(now) !== frame(next)) {
    throw new AgentError(
      'CONFIGURATION',
      'only rules and card readers can be reloaded; restart the agent to change [agent], [[token]] or [audit]',
    );
  }
}
