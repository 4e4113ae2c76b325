/** Gathers what the checks need, in an order in which a cause comes before what it causes, and has it judged. */
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { AgentError, algorithms, connectCaller, type Caller, type KeyAlgorithm } from '@keyagent/protocol';
import { loadConfig } from '../../config/load.js';
import { configFile, systemConfigFile, systemRuntimeDir, variable } from '../../config/locations.js';
import type { Config } from '../../config/config.js';
import { knownKeys } from '../../known-keys.js';
import { version } from '../../version.js';
import { accessOf } from '../access.js';
import { accountOf, type Account } from '../account.js';
import { allKeys } from '../all-keys.js';
import { keyOf } from '../configured-access.js';
import { keyUri } from '../key-uri.js';
import { requestTimeoutMs, type Session } from '../session.js';
import {
  agentCheck,
  configurationCheck,
  tokenChecks,
  type ConfigurationFacts,
  type Status,
} from './agent.js';
import { asUser, isOneself } from './as-user.js';
import { note, problem, type Check } from './check.js';
import { gatherOpenssl, opensslPlaces, pkcs11Engine } from './openssl-facts.js';
import { engineCheck, opensslChecks } from './openssl.js';
import { ruleChecks, signingAlgorithms, unseenCheck, useOf, type KeyUse } from './rules.js';
import { serverEnvironment, type ServerEnvironment } from './server-environment.js';
import { placesOf, socketCheck } from './socket.js';
import { tryKey } from './trial.js';

export interface DoctorOptions {
  user?: string;
  key?: string;
  env: string[];
}

/** Everything that the checks are about. */
interface Subject {
  readonly user: string;
  readonly account: Account;
  /** Of the option, checked. */
  readonly key: string | undefined;
  readonly env: ServerEnvironment;
  readonly session: Session;
  readonly config: Config | undefined;
}

/** @throws AgentError INVALID for a user or URI that is none, DENIED for another user than oneself without root */
export async function examine(
  { user = userInfo().username, key, env }: DoctorOptions,
  session: Session,
): Promise<{ user: string; checks: Check[] }> {
  const account = accountOf(user);
  if (session.around.euid !== 0 && !isOneself(account))
    throw new AgentError('DENIED', `only root can look as ${user}; run doctor as root or as ${user}`);
  const uri = key === undefined ? undefined : keyUri(key).text;
  const configuration = readConfiguration(session);
  const config = configuration.config instanceof Error ? undefined : configuration.config;
  const subject: Subject = { user, account, key: uri, env: serverEnvironment(env), session, config };

  const status = await failureOf(() => askStatus(session));
  const socket = session.sockets.client;
  const reached = await reach(subject);
  const checks = [
    configurationCheck(configuration),
    agentCheck(socket, status, version),
    reached,
    ...(status instanceof Error ? [] : tokenChecks(status.tokens)),
  ];
  const uses = await failureOf(() => usesOf(subject));
  checks.push(...(uses instanceof Error ? [unjudged(uses, subject, reached)] : judged(uses, subject)));
  checks.push(...(await openssl(subject, uses instanceof Error ? undefined : uses[0])));
  return { user, checks };
}

function readConfiguration({ around, options, sockets }: Session): ConfigurationFacts {
  const own = configFile(options().config, around);
  const named = options().config ?? variable(around, 'KEYAGENT_CONFIG');
  // Without an agent of their own a user has to do with the system's, which has its own idea of default places.
  const isOwn = named !== undefined || existsSync(own);
  const file = isOwn ? own : systemConfigFile;
  const socketNamed = sockets.client !== path.join(systemRuntimeDir, 'agent.sock');
  try {
    return { file, socketNamed, config: loadConfig(file, isOwn ? around : { ...around, euid: 0 }) };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { file, socketNamed, config: error };
  }
}

function askStatus(session: Session): Promise<Status> {
  return session.controlOrClient((agent) => agent.call('status', {}, { timeoutMs: requestTimeoutMs }));
}

async function reach({ user, account, session }: Subject): Promise<Check> {
  const socket = session.sockets.client;
  const outcome = await asUser(account, () =>
    failureOf(async () => {
      (await connectCaller(socket, { name: 'keyagent' })).close();
    }),
  );
  const failure = outcome instanceof Error ? outcome : undefined;
  return socketCheck({ socket, user, account, places: placesOf(socket), failure });
}

/** Of the keys that there are, or of the one that was named. */
async function usesOf(subject: Subject): Promise<KeyUse[]> {
  const { session, account } = subject;
  // Root may see every key and ask about everybody; a user is told by the agent what they may do.
  if (session.around.euid !== 0) return session.client((agent) => ownUses(agent, subject));
  const keys = await keysOf(subject);
  const uses: KeyUse[] = [];
  for (const { uri, algorithm } of keys) {
    const answers = [];
    for (const alg of signingAlgorithms(algorithm))
      answers.push([alg, await accessOf({ ...account, uri, alg }, session)] as const);
    uses.push(useOf(uri, answers));
  }
  return uses;
}

async function ownUses(agent: Caller, { key }: Subject): Promise<KeyUse[]> {
  const uris = key === undefined ? (await allKeys(agent)).map(({ uri }) => uri) : [key];
  const uses: KeyUse[] = [];
  for (const uri of uris) {
    const { mechanisms, usable, ...found } = await agent.call(
      'key',
      { uri },
      { timeoutMs: requestTimeoutMs },
    );
    const signing = signingAlgorithms(found.algorithm).map((alg) => algorithms[alg].mechanism);
    const mechanism = signing.find((each) => mechanisms.includes(each));
    const otherwise = usable ? 'unseen' : 'no';
    uses.push({ uri: found.uri, signs: mechanism === undefined ? otherwise : 'yes', mechanism });
  }
  return uses;
}

async function keysOf({
  key,
  session,
  config,
}: Subject): Promise<{ uri: string; algorithm: KeyAlgorithm }[]> {
  try {
    return await session.client(async (agent) =>
      key === undefined
        ? await allKeys(agent)
        : [await agent.call('key', { uri: key }, { timeoutMs: requestTimeoutMs })],
    );
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'UNAVAILABLE' || config === undefined) throw error;
    const known = knownKeys(config);
    return key === undefined ? known : [keyOf(key, known, error)];
  }
}

function judged(uses: readonly KeyUse[], { user, session }: Subject): Check[] {
  // The agent lists for others than root only the keys for which a rule names them.
  if (uses.length === 0 && session.around.euid !== 0) return [unseenCheck(user, 'any key')];
  return ruleChecks(user, uses);
}

/** Where nobody answered, that has been said. */
function unjudged({ code, message }: AgentError, { user, key }: Subject, reached: Check): Check {
  // The socket let the user in: it is the agent that tells nothing to whom no rule names.
  if (code === 'DENIED' && reached.verdict === 'ok') return unseenCheck(user, key ?? 'any key');
  const told = code === 'UNAVAILABLE' || code === 'DENIED' || code === 'UNTRUSTED';
  if (told) return note('rules', 'not judged: the agent cannot be asked');
  return problem('rules', code, message, 'keyagent keys lists the keys');
}

async function openssl(
  { user, account, key, env, session, config }: Subject,
  use: KeyUse | undefined,
): Promise<Check[]> {
  const { sockets } = session;
  const places = await failureOf(() => opensslPlaces(account, env));
  if (places instanceof Error)
    return [problem('openssl', places.code, places.message, 'apt-get install openssl')];
  const facts = {
    user,
    version,
    ...(await gatherOpenssl(account, places)),
    sockets: [...new Set([sockets.client, ...(config?.sockets ?? []).map((each) => each.path)])],
  };
  const trial = key === undefined ? [] : tryKey({ user, account, uri: key, env: places.env, use });
  return [...opensslChecks(facts), engineCheck(pkcs11Engine(places), places.engines), ...trial];
}

/** What the agent or this command says is a finding here; everything else is a defect. */
async function failureOf<T>(work: () => T | Promise<T>): Promise<T | AgentError> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AgentError) return error;
    throw error;
  }
}
