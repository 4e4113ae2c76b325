/**
 * Generated frames on the sockets of an agent: golden ones as they are, damaged ones, and noise, each on a connection of its
 * own that said hello. A seed makes the same frames again. Output: what became of them.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  AgentError,
  FrameReader,
  decodeIncoming,
  decodeReply,
  encodeRequest,
  errorCode,
  isNotice,
  isRequest,
  limits,
  protocolVersion,
  type Method,
} from '@keyagent/protocol';
import { root } from './paths.js';

type Face = 'client' | 'control';

export interface StormSpec {
  sockets: Record<Face, string>;
  frames: number;
  seed: number;
}

/** Frames by what the agent said to them: "ok", the code of an error, or "nothing", as to half a frame. */
export type Storm = Record<string, number>;

interface Vector {
  readonly face: Face;
  readonly direction: string;
  readonly hex: string;
}

const concurrency = 32;
/** Much longer than anything should take. */
const hangMs = 30_000;
const helloId = 0xffff_ffff;
const hello = encodeRequest({ id: helloId, method: 'hello', params: protocolVersion });

const golden = (['valid', 'malformed'] as const)
  .flatMap(
    (name) => JSON.parse(readFileSync(path.join(root, `protocol/vectors/${name}.json`), 'utf8')) as Vector[],
  )
  .filter(({ direction }) => direction !== 'reply')
  .map(({ face, hex }) => ({ face, bytes: Buffer.from(hex, 'hex') }));

export async function frameStorm({ sockets, frames, seed }: StormSpec): Promise<Storm> {
  const random = randomNumbers(seed);
  const storm: Storm = {};
  let left = frames;
  const blow = async (): Promise<void> => {
    while (left-- > 0) {
      const { face, bytes } = generate(random);
      const answer = await answerTo(sockets[face], face, bytes);
      storm[answer] = (storm[answer] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, blow));
  return storm;
}

/** Numbers from 0 to below `below`. Marsaglia's xorshift, 32 bits. */
function randomNumbers(seed: number): (below: number) => number {
  // Never 0, and another one for each seed.
  let state = (seed * 2 + 1) | 0;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Random = ReturnType<typeof randomNumbers>;

function generate(random: Random): { face: Face; bytes: Buffer } {
  for (;;) {
    const { face, bytes } = pick(golden, random);
    const damage = pick(damages, random);
    const frame = damage(Buffer.from(bytes), random);
    // Half of them with a length that is right again, so that the damage is met behind it.
    if (frame.length > 4 && random(2) === 0) frame.writeUInt32BE(frame.length - 4);
    // What an operator may do, stop for one, is not to be done.
    if (face === 'client' || requestsIn(frame, face).size === 0) return { face, bytes: frame };
  }
}

const damages: readonly ((bytes: Buffer, random: Random) => Buffer)[] = [
  (bytes) => bytes,
  (bytes, random) => changed(bytes, random, 1),
  (bytes, random) => changed(bytes, random, 8),
  (bytes, random) => bytes.subarray(0, random(bytes.length)),
  (bytes, random) => spliced(bytes, noise(random, 1 + random(16)), random),
  (bytes, random) => spliced(bytes, pick(golden, random).bytes, random),
  (bytes, random) => Buffer.concat([bytes, noise(random, 1 + random(4))]),
  (_, random) => Buffer.concat([Buffer.alloc(4), noise(random, random(limits.frame))]),
];

function changed(bytes: Buffer, random: Random, count: number): Buffer {
  for (let i = 0; i < count; i++) bytes[random(bytes.length)] = random(256);
  return bytes;
}

function spliced(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const at = random(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), other, bytes.subarray(at)]);
}

function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random(256)));
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[random(list.length)] as T;
}

/** Requests in these bytes that the agent may accept. */
function requestsIn(bytes: Buffer, face: Face): Map<number, Method> {
  const methodOf = new Map<number, Method>();
  for (const body of refusedAsNone(() => new FrameReader(limits.frame).push(bytes)) ?? []) {
    const incoming = refusedAsNone(() => decodeIncoming(body, face));
    if (incoming !== undefined && isRequest(incoming)) methodOf.set(incoming.id, incoming.method);
  }
  return methodOf;
}

function refusedAsNone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
}

/** @throws when the agent hangs, or says what is no reply */
async function answerTo(socketPath: string, face: Face, bytes: Buffer): Promise<string> {
  const socket = connect(socketPath);
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  const closed = new Promise<void>((resolve) => {
    // An agent that closes may reset what it has not read.
    socket.on('error', () => undefined).once('close', () => resolve());
  });
  socket.end(Buffer.concat([hello, bytes]));
  const timer = new AbortController();
  const hung = delay(hangMs, 'hung', { signal: timer.signal }).catch(() => undefined);
  const first = await Promise.race([closed, hung]);
  timer.abort();
  if (first === 'hung') throw new Error(`no end after ${hangMs} ms: ${bytes.toString('hex')}`);
  return lastWord(Buffer.concat(received), requestsIn(bytes, face).set(helloId, 'hello'));
}

/** hello is answered first; the rest of what is no request can only be answered with an error. */
function lastWord(bytes: Buffer, methodOf: ReadonlyMap<number, Method>): string {
  const bodies = new FrameReader(limits.frame).push(bytes);
  const last = bodies.map((body) => decodeReply(body, (id) => methodOf.get(id) ?? 'status')).at(-1);
  if (last === undefined || isNotice(last)) return 'nothing';
  if ('error' in last) return errorCode(last.error.code) ?? `error ${last.error.code}`;
  return last.id === helloId ? 'nothing' : 'ok';
}
