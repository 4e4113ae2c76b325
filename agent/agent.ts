/** The agent as a whole: owns the sockets, and wires tokens, broker, policy and handlers together. */
import type { Socket } from 'node:net';
import { AgentError, type Result } from '@keyagent/protocol';
import { AuditLog } from './audit/audit-log.js';
import { sendToJournal } from './audit/journal.js';
import { blindSpots } from './blind-spots.js';
import type { Config } from './config/config.js';
import type { Loaded } from './config/load.js';
import { overflowId } from './config/overflow-id.js';
import { control, type ControlContext } from './control/control.js';
import type { Log } from './log.js';
import { native } from './native/index.js';
import { mayKnow } from './policy/authorise.js';
import type { Peer } from './policy/peer.js';
import { RateLimits } from './policy/rate.js';
import type { Context } from './request/context.js';
import { dispatch } from './request/dispatch.js';
import { Holds } from './request/holds.js';
import { Served, type Serving } from './served.js';
import type { Dispatch, Face } from './socket/connection.js';
import { Connections } from './socket/connections.js';
import { bindSocket, inheritSocket, type Listener } from './socket/listen.js';
import { notifySystemd, type InheritedSockets } from './socket/systemd.js';
import { holdStateDirectory, type StateDirectory } from './state/state-directory.js';
import type { TokenLimits } from './token/token.js';
import { CardReaders } from './unlock/card/card-readers.js';
import { OperatorCards } from './unlock/card/operator-cards.js';
import { Revocation } from './unlock/revocation.js';
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
  private readonly audit: AuditLog;
  private readonly revocation: Revocation;
  private readonly cards: OperatorCards;
  private readonly overflowUid = overflowId('user');
  private readonly listeners: Listener[] = [];
  private readonly connections: Connections;
  private readonly rates = new RateLimits();
  private readonly holds = new Holds();
  private readonly served: Served;
  /** The last reload; the next one waits for it. */
  private reloads: Promise<unknown> = Promise.resolve();
  private context: Context | undefined;
  private stopping = false;
  private resolveStopped: () => void = () => undefined;

  constructor(
    config: Config,
    private readonly loadConfig: () => Promise<Loaded>,
    private readonly log: Log,
  ) {
    this.stopped = new Promise((resolve) => {
      this.resolveStopped = resolve;
    });
    this.state = holdStateDirectory(config.stateDir);
    this.revocation = new Revocation(config.stateDir);
    this.audit = openAudit(config, () => this.served.now.config, log);
    this.connections = new Connections({
      dispatch: { client: this.serveClient, control: this.serveOperator },
      agent: agentName,
      overflowUid: this.overflowUid,
      onRefused: (why, about) => {
        log.warn(`connection refused: ${why}`, about);
      },
      onDefect: (error) => {
        log.error('defect while serving a request', { error });
      },
    });
    this.served = new Served(config, {
      stateDir: config.stateDir,
      limits: limitsOf(() => this.served.now.config),
      revocation: this.revocation,
      audit: this.audit,
      log,
      onLock: (token) => {
        this.cards.forget([token]);
      },
      onMade: ({ token }) => {
        token.on('state', (state) => {
          // Whoever unlocked it: nobody waits for cards any more.
          if (state === 'unlocked') this.cards.forget([token], 'unlock');
          this.connections.tell({ method: 'state', params: { token: token.name, state } });
        });
        token.on('rotated', ({ uri, attributes }) => {
          const { rules } = this.served.now.config;
          this.connections.tell({ method: 'rotated', params: { uri } }, (peer) =>
            mayKnow(peer, attributes, rules),
          );
        });
      },
      onLeft: ({ token }) => {
        this.cards.leave(token);
      },
    });
    this.cards = new OperatorCards({
      stateDir: config.stateDir,
      audit: this.audit,
      readers: new CardReaders(() => this.served.now.config.cardReaders),
      broker: { unlock: (...request) => this.served.now.broker.unlock(...request) },
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
    const { sockets, controlSocket } = this.served.now.config;
    const [first, ...more] = sockets;
    const bound = client.length > 0 || first === undefined ? more : [first, ...more];
    const all = [...bound, controlSocket];
    for (const address of bound) this.listeners.push(await bindSocket(address, accept('client'), all));
    if (operators.length === 0) {
      this.listeners.push(await bindSocket(controlSocket, accept('control'), all));
    }
    // Not before: another agent may have these sockets, and the log with them.
    await this.audit.note({ event: 'start', outcome: 'ok', config: this.served.now.config.hash });
  }

  openTokens(): Promise<void> {
    return this.served.open();
  }

  /**
   * Goes by the configuration file as it is now, and reads the tokens' keys again; one reload at a time. Rejects, and
   * changes nothing, if the file is wrong, changes what wants a restart, or the agent stops.
   */
  reload(peer?: Peer): Promise<Result<'reload'>> {
    const reload = this.reloads.then(() => this.reloadNow(peer));
    this.reloads = reload.catch(() => undefined);
    return reload;
  }

  private async reloadNow(peer: Peer | undefined): Promise<Result<'reload'>> {
    this.refuseWhileStopping();
    // First, so that a log that was rotated is left whatever the configuration says.
    this.audit.reopen();
    const loaded = await this.loadConfig();
    const record = { event: 'reload', peer, config: loaded.hash } as const;
    let swapped: ReturnType<Served['swap']>;
    try {
      this.refuseWhileStopping();
      if ('refusal' in loaded) throw new AgentError('CONFIGURATION', loaded.refusal);
      swapped = this.served.swap(loaded.config);
    } catch (error) {
      await this.audit.note({ ...record, outcome: error instanceof AgentError ? error.code : 'INTERNAL' });
      throw error;
    }
    const { loggedOut, rules, ...changes } = swapped;
    const ends = loggedOut.map((token) => ({ event: 'lock', peer, token, outcome: 'ok' }) as const);
    const recorded = [{ ...record, outcome: 'ok' } as const, ...ends].map((each) => this.audit.note(each));
    this.tellBlindSpots();
    await Promise.all([...recorded, this.served.readKeys()]);
    const { config } = this.served.now;
    const detail = Object.entries(changes).map(([how, tokens]) => `${how}: ${tokens.join(', ') || 'none'}`);
    this.log.info('configuration reloaded', { count: config.rules.length, detail: detail.join('; ') });
    return { rules: config.rules.length, tokens: config.tokens.length, rules_changed: rules, ...changes };
  }

  /**
   * Stops accepting, lets what is under way finish for a moment, ends logins and hosts, and resolves `stopped`. Resolves
   * itself when the deed is recorded. @param peer undefined: by a signal
   */
  async stop(why: string, peer?: Peer): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.log.info(`stopping: ${why}`);
    const noted = this.audit.note({ event: 'stop', peer, outcome: 'ok' });
    notifySystemd('STOPPING=1');
    for (const listener of this.listeners) listener.close();
    // From here on no login stands: a stop is not undone by one that was under way. It comes to its end all the same:
    // killed inside C_Login, a host would leave a PIN behind that counts as tried.
    let loggingIn = true;
    void this.served.now.broker.stop().then(() => (loggingIn = false));
    this.cards.stop();
    const deadline = performance.now() + drainMs;
    const poll = setInterval(() => {
      if ((this.connections.busy || loggingIn) && performance.now() < deadline) return;
      clearInterval(poll);
      this.finish();
    }, 20);
    await noted;
  }

  private tellBlindSpots(): void {
    for (const spot of blindSpots(this.served.now.config.rules)) this.log.warn(spot);
  }

  private finish(): void {
    // Those that opened while the stop began, too.
    for (const listener of this.listeners) listener.close();
    this.served.stop();
    this.audit.close();
    this.state.release();
    // Last: who waits for the end of its connection may start the next agent at once.
    this.connections.end();
    this.resolveStopped();
  }

  private readonly serveClient: Dispatch = (request, peer, cancellation) => {
    this.refuseWhileStopping();
    return dispatch(request, { peer, cancellation }, this.requestContext());
  };

  private readonly serveOperator: Dispatch = (request, peer, cancellation) => {
    if (request.method !== 'status') this.refuseWhileStopping();
    return control(request, peer, this.controlContext(), cancellation);
  };

  private refuseWhileStopping(): void {
    if (this.stopping) throw new AgentError('STOPPING', 'the agent is stopping');
  }

  /** One for all requests, until a reload. */
  private requestContext(): Context {
    const { now } = this.served;
    if (this.context?.tokens !== now.tokens) this.context = this.contextOf(now);
    return this.context;
  }

  private contextOf({ config, tokens }: Serving): Context {
    return {
      tokens,
      rules: config.rules,
      rates: this.rates,
      holds: this.holds,
      audit: this.audit,
      requestTimeoutMs: config.requestTimeoutMs,
      holdMs: config.holdMs,
      agent: agentName,
      isRevoked: () => this.revocation.hasAny(tokens.all),
    };
  }

  private controlContext(): ControlContext {
    const { config, tokens, broker } = this.served.now;
    return {
      tokens,
      broker,
      cards: this.cards,
      rules: config.rules,
      overflowUid: this.overflowUid,
      revocation: this.revocation,
      audit: this.audit,
      agent: agentName,
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

/** @param now  gives the configuration that holds: file and state directory are those of the start */
function openAudit({ auditFile: file, stateDir }: Config, now: () => Config, log: Log): AuditLog {
  const publish = sendToJournal((path, message) => {
    native.notify(path, message);
  });
  return new AuditLog({
    file,
    stateDir,
    get onError() {
      return now().auditOnError;
    },
    tell: (message, error) => {
      if (error === undefined) log.warn(message, { file });
      else log.error(message, { file, error });
    },
    get publish() {
      return now().auditJournald ? publish : undefined;
    },
  });
}
