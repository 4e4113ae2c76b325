/**
 * A token host for one login: it starts, finds its token, logs in once, does some work, logs out and ends. For cards,
 * and for the proof that a PIN is the token's: in a process of its own nobody else's login stands in its place.
 */
import { AgentError } from '@keyagent/protocol';
import type { TokenInfo } from '../../host/host-protocol.js';
import { HostLost, HostProcess } from '../../token/host-process.js';
import { requireLoginPossible, triesLeft } from '../login-possible.js';

/** Which token of which module. */
export interface Place {
  /** In words, for errors: "card ops1", "web". */
  readonly what: string;
  readonly module: string;
  readonly uri: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Credentials {
  /** undefined: its own PIN pad. The caller wipes it. */
  readonly pin: Uint8Array | undefined;
  /** Even when one wrong PIN would lock it. */
  readonly force: boolean;
}

/** Milliseconds. A card takes its time for an RSA operation; somebody may be at a PIN pad. */
const limits = { operationMs: 30_000, loginMs: 120_000 };

/** @throws AgentError PIN_INCORRECT, PIN_BLOCKED, TOKEN_ABSENT, TOKEN_ERROR, CONFIGURATION; what `work` throws */
export async function withLogin<T>(
  place: Place,
  { pin, force }: Credentials,
  work: (host: HostProcess, token: TokenInfo) => Promise<T>,
): Promise<T> {
  const host = startHost(place);
  try {
    const { token } = await host.call('open', { module: place.module, uri: place.uri, sessions: 1 });
    requireLoginPossible(place.what, token.flags, { pin: pin !== undefined, force });
    await login(host, place, pin);
    try {
      return await work(host, token);
    } finally {
      await logout(host);
    }
  } catch (error) {
    throw inContext(error, place);
  } finally {
    host.kill();
  }
}

/** One host, killed by whoever asked for it. */
export function startHost({ what, env }: Pick<Place, 'what' | 'env'>): HostProcess {
  return new HostProcess({ token: what, sessions: 1, env, limits });
}

async function login(host: HostProcess, { what }: Place, pin: Uint8Array | undefined): Promise<void> {
  let already: boolean;
  try {
    ({ already } = await host.login(pin));
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'PIN_INCORRECT') throw error;
    const left = triesLeft((await host.call('token', {})).token.flags);
    throw new AgentError('PIN_INCORRECT', `${what} refused the PIN${left && `; ${left}`}`, { cause: error });
  }
  if (!already) return;
  throw new AgentError(
    'TOKEN_ERROR',
    `somebody else is logged in to ${what}, so this PIN is not proved; log out there and try again`,
  );
}

/** A process that does not log out ends all the same, and its login with it. */
async function logout(host: HostProcess): Promise<void> {
  await host.call('logout', {}).catch(() => undefined);
}

/** The codes stay; the words say which of several tokens it was. */
function inContext(error: unknown, { what }: Place): unknown {
  if (!(error instanceof AgentError) || error.message.includes(what)) return error;
  if (error instanceof HostLost)
    return new AgentError('TOKEN_ERROR', `the module of ${what} crashed or hung; try again`, {
      cause: error,
    });
  if (error.code === 'TOKEN_ABSENT')
    return new AgentError('TOKEN_ABSENT', `${what} is gone; insert it and try again`, { cause: error });
  return new AgentError(error.code, `${what}: ${error.message}`, { cause: error });
}
