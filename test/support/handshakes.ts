/**
 * A TLS client that trusts the test's root only and never resumes a session. A handshake counts when an HTTP 200 came
 * back over it: some tools report success with a server whose key does not answer.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';

export interface Target {
  port: number;
  /** PEM of the root. */
  ca: string;
  tls?: Pick<ConnectionOptions, 'minVersion' | 'maxVersion' | 'ciphers' | 'sigalgs' | 'ecdhCurve'>;
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
  /** Every "protocol cipher fingerprint" that occurred. */
  sessions: Set<string>;
}

const timeoutMs = 15_000;

/** One handshake and one page. Rejects unless the chain verifies, the session is new, and the answer is 200. */
export function fetchPage({ port, ca, tls }: Target): Promise<Fetched> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...tls, host: '127.0.0.1', port, ca, servername: 'localhost' });
    let answer = '';
    let session: Omit<Fetched, 'body'> | undefined;
    socket
      .setEncoding('utf8')
      .setTimeout(timeoutMs, () => socket.destroy(new Error(`silent for ${timeoutMs} ms`)));
    socket.once('secureConnect', () => {
      if (socket.isSessionReused()) return socket.destroy(new Error('the session was resumed'));
      session = describeSession(socket);
      return socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    });
    socket.on('data', (text: string) => (answer += text));
    socket.once('error', reject);
    socket.once('close', () => {
      const [head = '', body = ''] = answer.split('\r\n\r\n');
      if (session === undefined) reject(new Error('closed during the handshake'));
      else if (head.startsWith('HTTP/1.1 200 ')) resolve({ ...session, body });
      else reject(new Error(`no HTTP 200: ${JSON.stringify(answer.slice(0, 80))}`));
    });
  });
}

/** Fetches the page `count` times, `concurrency` at a time. */
export async function handshakes(target: Target & { count: number; concurrency: number }): Promise<Count> {
  const result: Count = { succeeded: 0, failures: [], sessions: new Set() };
  let left = target.count;
  const client = async () => {
    while (left-- > 0) {
      try {
        const { protocol, cipher, fingerprint } = await fetchPage(target);
        result.sessions.add(`${protocol} ${cipher} ${fingerprint}`);
        result.succeeded += 1;
      } catch (error) {
        result.failures.push(String(error));
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
