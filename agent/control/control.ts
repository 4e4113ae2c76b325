/** The table of operators' requests, on the control socket. */
import { AgentError, type Method, type Params, type Request, type Result } from '@keyagent/protocol';
import type { AuditLog } from '../audit/audit-log.js';
import type { Cancellation } from '../cancellation.js';
import type { Peer } from '../policy/peer.js';
import type { Rule } from '../policy/rule.js';
import type { Connection } from '../socket/connection.js';
import type { Token } from '../token/token.js';
import type { Tokens } from '../token/tokens.js';
import type { Broker } from '../unlock/broker.js';
import type { OperatorCards } from '../unlock/card/operator-cards.js';
import type { Revocation } from '../unlock/revocation.js';
import { wipe } from '../unlock/secret-bytes.js';
import { beginCards, findCard, giveCard, listCards, sealToCards } from './cards.js';
import { checkAccess } from './check-access.js';
import { takePin } from './take-pin.js';

export interface ControlContext {
  readonly tokens: Tokens;
  readonly broker: Broker;
  readonly cards: OperatorCards;
  readonly revocation: Revocation;
  readonly audit: AuditLog;
  readonly agent: string;
  readonly rules: readonly Rule[];
  readonly overflowUid: number;
  readonly connections: Iterable<Connection>;
  /** Reads the configuration again; rejects with CONFIGURATION and changes nothing when it is bad. */
  readonly reload: (peer: Peer) => Promise<Result<'reload'>>;
  /** Begins the orderly end and resolves when it is recorded; the reply still leaves. */
  readonly stop: (peer: Peer) => Promise<void>;
}

export async function control(
  request: Request,
  peer: Peer,
  context: ControlContext,
  cancellation: Cancellation,
): Promise<Result<Method>> {
  switch (request.method) {
    case 'status':
      return status(context);
    case 'unlock':
      return unlock(request.params, peer, context);
    case 'prompt':
      return prompt(request.params, peer, context, cancellation);
    case 'lock':
      return lock(request.params, peer, context);
    case 'reload':
      return context.reload(peer);
    case 'stop':
      return stop(peer, context);
    case 'sources':
      return sources(request.params, context);
    case 'sessions':
      return sessions(context);
    case 'check-access':
      return checkAccess(request.params, context);
    case 'cards':
      return listCards(request.params, context);
    case 'card-begin':
      return beginCards(request.params, context);
    case 'card-find':
      return findCard(request.params, context);
    case 'card-give':
      return giveCard(request.params, peer, context);
    case 'card-seal':
      return sealToCards(request.params, peer, context);
    case 'hello':
    case 'sign':
    case 'decrypt':
    case 'key':
    case 'keys':
      throw new AgentError('UNSUPPORTED', `${request.method} is not an operator's request`);
  }
}

async function unlock(
  params: Params<'unlock'>,
  peer: Peer,
  context: ControlContext,
): Promise<Result<'unlock'>> {
  const pin = takePin(params.pin);
  try {
    const token = context.tokens.named(params.token);
    if (pin !== undefined && params.source !== undefined) {
      throw new AgentError('INVALID', 'give either a PIN or the source to ask');
    }
    const already = await context.broker.unlock(
      token,
      { pin, source: params.source, via: params.via, forMs: params.for_ms, force: params.force },
      peer,
    );
    return { token: token.name, state: token.state, already };
  } finally {
    wipe(pin);
  }
}

async function prompt(
  params: Params<'prompt'>,
  peer: Peer,
  { tokens, broker }: ControlContext,
  cancellation: Cancellation,
): Promise<Result<'prompt'>> {
  const token = tokens.named(params.token);
  await broker.prompts(token).wait(peer, cancellation);
  return { token: token.name };
}

async function lock(params: Params<'lock'>, peer: Peer, context: ControlContext): Promise<Result<'lock'>> {
  const tokens = params.token === undefined ? context.tokens.all : [context.tokens.named(params.token)];
  await context.broker.lock(tokens, peer);
  return { tokens: tokens.map(({ name }) => name) };
}

async function stop(peer: Peer, context: ControlContext): Promise<Result<'stop'>> {
  // Remembered first: if it cannot be, the operator hears that a restart would forget it, and the agent still stops.
  try {
    context.revocation.add(context.tokens.all.map(({ name }) => name));
  } finally {
    await context.stop(peer);
  }
  return {};
}

function status(context: ControlContext): Result<'status'> {
  return {
    agent: context.agent,
    pid: process.pid,
    uptime: Math.floor(process.uptime()),
    revoked: context.revocation.hasAny(context.tokens.all),
    tokens: context.tokens.all.map((token) => tokenStatus(token, context)),
    prompts: context.tokens.all.flatMap((token) => prompts(token, context)).slice(0, promptsMax),
  };
}

const promptsMax = 32;

function prompts(token: Token, { broker }: ControlContext): NonNullable<Result<'status'>['prompts']> {
  return broker
    .prompts(token)
    .list()
    .map(({ peer, since }) => ({ token: token.name, uid: peer.uid, pid: peer.pid, since: seconds(since) }));
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function tokenStatus(token: Token, { broker }: ControlContext): Result<'status'>['tokens'][number] {
  const { info } = token;
  const last = broker.answers(token).last;
  const locksAt = broker.locksAt(token);
  return {
    name: token.name,
    state: token.state,
    detail: token.detail.slice(0, 256),
    keys: token.keys.length,
    logins: token.logins,
    ...(locksAt !== undefined && { locks_at: seconds(locksAt) }),
    ...(info && { label: info.label, serial: info.serial, model: info.model, flags: info.flags.join(' ') }),
    ...(last && {
      source: last.source,
      source_result: last.result.slice(0, 250),
      source_at: seconds(last.at),
    }),
  };
}

function sources(params: Params<'sources'>, context: ControlContext): Result<'sources'> {
  const tokens = params.token === undefined ? context.tokens.all : [context.tokens.named(params.token)];
  const list = tokens.flatMap((token) => {
    const answers = context.broker.answers(token).list();
    return token.config.unlock.map((source) => {
      const answer = answers.find((each) => each.source === source);
      return {
        token: token.name,
        source,
        result: (answer?.result ?? 'not asked').slice(0, 250),
        ...(answer && { at: seconds(answer.at) }),
      };
    });
  });
  return { sources: list.slice(0, 64) };
}

const sessionsMax = 200;

function sessions(context: ControlContext): Result<'sessions'> {
  const all = [...context.connections];
  return {
    sessions: all.slice(0, sessionsMax).map(({ peer, requests, inFlightCount }) => ({
      uid: peer.uid,
      gid: peer.gid,
      pid: peer.pid,
      requests,
      in_flight: inFlightCount,
    })),
    more: all.length > sessionsMax,
  };
}
