/**
 * A TLS client that trusts the test's root only and never resumes a session. A handshake counts when the server's answer
 * came back over it (HTTP 200, or what its protocol says first): some tools report success with a server whose key does
 * not answer.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { http, type Dialogue } from './dialogue.js';

export interface Target {
  port: number;
  /** PEM of the root. */
  ca: string;
  tls?: Pick<
    ConnectionOptions,
    'minVersion' | 'maxVersion' | 'ciphers' | 'sigalgs' | 'ecdhCurve' | 'cert' | 'key'
  >;
  /** Default: HTTP. */
  dialogue?: Dialogue;
}

export interface Fetched {
  /** TLSv1.2, TLSv1.3. */
  protocol: string;
  cipher: string;
  body: string;
  /** SHA-256 fingerprint of the server's certificate. */
  fingerprint: string;
}

export interface Count {
  succeeded: number;
  failures: string[];
  /** When each of them began and ended, by performance.now(). */
  failedAt: { from: number; to: number }[];
  /** Every "protocol cipher fingerprint" that occurred. */
  sessions: Set<string>;
}

/** What a client sees of a server that drops its connection, or that does not listen for a moment. */
export const connectionLost =
  /ECONNRESET|ECONNREFUSED|disconnected before secure TLS connection was established/;

const timeoutMs = 60_000;

/** One handshake and one page. Rejects unless the chain verifies, the session is new, and the answer is 200. */
export async function fetchPage({ port, ca, tls, dialogue = http }: Target): Promise<Fetched> {
  const carrier = await dialogue.carrier?.(port);
  const place = carrier === undefined ? { host: '127.0.0.1', port } : { socket: carrier };
  const socket = connect({ ...tls, ...place, ca, servername: 'localhost' });
  return new Promise((resolve, reject) => {
    let answer = '';
    let session: Omit<Fetched, 'body'> | undefined;
    socket
      .setEncoding('latin1')
      .setTimeout(timeoutMs, () => socket.destroy(new Error(`silent for ${timeoutMs} ms`)));
    socket.once('secureConnect', () => {
      if (socket.isSessionReused()) return socket.destroy(new Error('the session was resumed'));
      session = describeSession(socket);
      return socket.write(dialogue.question);
    });
    socket.on('data', (text: string) => {
      answer += text;
      if (dialogue.complete?.(answer) === true) socket.end();
    });
    socket.once('error', reject);
    socket.once('close', () => {
      const body = dialogue.bodyOf(answer);
      if (session === undefined) reject(new Error('closed during the handshake'));
      else if (body === undefined)
        reject(new Error(`not the answer: ${JSON.stringify(answer.slice(0, 80))}`));
      else resolve({ ...session, body });
    });
  });
}

interface Load {
  count: number;
  concurrency: number;
  /** Ends it early. */
  signal?: AbortSignal;
  /** Counts meanwhile. */
  progress?: { succeeded: number };
}

/** Fetches the page `count` times, `concurrency` at a time. */
export async function handshakes(target: Target & Load): Promise<Count> {
  const result: Count = { succeeded: 0, failures: [], failedAt: [], sessions: new Set() };
  let left = target.count;
  const client = async () => {
    while (left-- > 0 && target.signal?.aborted !== true) {
      const from = performance.now();
      try {
        const { protocol, cipher, fingerprint } = await fetchPage(target);
        result.sessions.add(`${protocol} ${cipher} ${fingerprint}`);
        result.succeeded += 1;
        if (target.progress !== undefined) target.progress.succeeded += 1;
      } catch (error) {
        result.failures.push(String(error));
        result.failedAt.push({ from, to: performance.now() });
      }
    }
  };
  await Promise.all(Array.from({ length: target.concurrency }, client));
  return result;
}

/** As `Fetched.fingerprint`, of a PEM file. */
export function fingerprintOf(certificateFile: string): string {
  return new X509Certificate(readFileSync(certificateFile)).fingerprint256;
}

function describeSession(socket: TLSSocket): Omit<Fetched, 'body'> {
  const fingerprint = socket.getPeerCertificate().fingerprint256;
  return { protocol: socket.getProtocol() ?? '', cipher: socket.getCipher().standardName, fingerprint };
}
