/**
 * Runs a program that gives or takes a PIN, to its end or to a deadline. Bytes go through pipes, never through argv or
 * the environment; what the program printed ends up in a Buffer that the caller wipes. Output: how it ended.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { secretBytes, secretCopy, wipe } from '../secret-bytes.js';
import { pinLineMax } from './pin-line.js';

export interface SecretChild {
  readonly command: string;
  readonly args: readonly string[];
  /** All of it: nothing is inherited. Its PATH is where `command` is looked for. */
  readonly env: NodeJS.ProcessEnv;
  /** Goes to standard input; stays the caller's to wipe. */
  readonly input?: Uint8Array | undefined;
  /** A process group of its own, killed whole: for a program that starts others. Ctrl-C then reaches none of them. */
  readonly ownGroup?: boolean;
  /** How it is told to end before its time. */
  readonly endSignal?: NodeJS.Signals;
}

export interface ChildWait {
  readonly signal?: AbortSignal | undefined;
  /** undefined: until the signal. */
  readonly timeoutMs?: number | undefined;
}

interface Said {
  /** Standard error, as lines without blanks at their ends; empty lines left out. */
  readonly complaint: readonly string[];
}

export type ChildEnding =
  /**
   * `output`: at most `pinLineMax` bytes of standard output, which the caller wipes; nothing unless `status` is 0.
   * `status`: null after a signal.
   */
  | (Said & { readonly how: 'ended'; readonly status: number | null; readonly output: Buffer })
  /** The deadline or the caller's signal ended it. */
  | (Said & { readonly how: 'stopped'; readonly cause: unknown })
  | { readonly how: 'not-started'; readonly cause: Error };

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Bytes of standard error that are kept. */
const complaintMax = 4096;

/** What ends the children of this process with it: an orphan may wait for a server that never answers. */
const ends = new Set<() => void>();
process.on('exit', () => {
  for (const end of ends) end();
});

export async function runSecretChild(program: SecretChild, wait: ChildWait): Promise<ChildEnding> {
  const { command, args, env, input, ownGroup = false } = program;
  if (wait.signal?.aborted) return { how: 'stopped', cause: wait.signal.reason, complaint: [] };
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'], detached: ownGroup });
  const output = keep(child.stdout, secretBytes(pinLineMax));
  const complaint = keep(child.stderr, Buffer.alloc(complaintMax));
  // A child that ends early closes its end; its exit status says why.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  try {
    const ending = await ended(child, program, wait);
    if (ending.how === 'not-started') return ending;
    const said = { complaint: lines(complaint.bytes()) };
    if (ending.how === 'stopped') return { ...ending, ...said };
    return { ...ending, ...said, output: ending.status === 0 ? secretCopy(output.bytes()) : Buffer.alloc(0) };
  } finally {
    output.wipe();
  }
}

type BareEnding =
  | { readonly how: 'ended'; readonly status: number | null }
  | { readonly how: 'stopped'; readonly cause: unknown }
  | { readonly how: 'not-started'; readonly cause: Error };

/** Resolves when the child has ended and its pipes are drained, or were given up. */
function ended(
  child: Child,
  { ownGroup, endSignal = 'SIGKILL' }: SecretChild,
  wait: ChildWait,
): Promise<BareEnding> {
  return new Promise((resolve) => {
    let early: BareEnding | undefined;
    const end = (): void => {
      if (ownGroup === true) killGroup(child);
      else child.kill(endSignal);
    };
    const stop = (cause: unknown): void => {
      early ??= { how: 'stopped', cause };
      end();
      // Whoever left the group may hold the pipes for ever.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const stopped = stopper(wait, stop);
    ends.add(end);
    child.once('error', (cause) => {
      early ??= { how: 'not-started', cause };
    });
    // Those it started and left behind hold the pipes too.
    if (ownGroup === true) child.once('exit', () => killGroup(child));
    child.once('close', (status) => {
      stopped();
      ends.delete(end);
      resolve(early ?? { how: 'ended', status });
    });
  });
}

/** Calls `stop` at the deadline or when the signal says so. @returns what ends that */
function stopper({ signal, timeoutMs }: ChildWait, stop: (cause: unknown) => void): () => void {
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => stop(undefined), timeoutMs);
  const onAbort = (): void => stop(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
}

function killGroup({ pid }: Child): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Nobody is left in it.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Keeps as many bytes as `kept` takes and drains the rest, wiping what it holds when asked to. */
function keep(stream: Readable, kept: Buffer): { bytes(): Buffer; wipe(): void } {
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    length += chunk.copy(kept, length);
    wipe(chunk);
  });
  return { bytes: () => kept.subarray(0, length), wipe: () => wipe(kept) };
}

function lines(bytes: Buffer): string[] {
  return bytes
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
