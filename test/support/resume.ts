/** A TLS client that resumes: one full handshake, then more with its session; and what the server staples. */
import { connect, type TLSSocket } from 'node:tls';
import { http } from './dialogue.js';
import type { Target } from './handshakes.js';

export interface Visit {
  reused: boolean;
  body: string;
  /** The newest session that the server gave, to resume. */
  session: Buffer | undefined;
  /** The stapled OCSP response, DER. */
  ocsp: Buffer | undefined;
}

export function visit({ port, ca, tls }: Target, session?: Buffer): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({
      ...{ ...tls, host: '127.0.0.1', port, ca, servername: 'localhost', requestOCSP: true },
      ...(session === undefined ? {} : { session }),
    });
    const seen: Omit<Visit, 'reused' | 'body'> = { session: undefined, ocsp: undefined };
    let answer = '';
    let reused = false;
    socket.on('session', (given: Buffer) => (seen.session = given));
    socket.on('OCSPResponse', (response: Buffer | null) => (seen.ocsp = response ?? undefined));
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
    socket.once('secureConnect', () => {
      reused = socket.isSessionReused();
      socket.write(http.question);
    });
    socket.once('error', reject);
    socket.once('close', () => {
      const body = http.bodyOf(answer);
      if (body === undefined) reject(new Error(`no HTTP 200: ${JSON.stringify(answer.slice(0, 80))}`));
      else resolve({ ...seen, reused, body });
    });
  });
}
