/** What a client says once it has a TLS connection, and what a server's answer looks like; and how TLS begins. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Dialogue {
  /** A connection on which TLS may begin; default: it begins at once. */
  carrier?: (port: number) => Promise<Socket>;
  question: string | Uint8Array;
  /** Whether all is there, for a server that does not close. Bytes are characters (latin1). */
  complete?: (answer: string) => boolean;
  /** undefined: it is not the answer that was asked for. */
  bodyOf: (answer: string) => string | undefined;
}

export const http: Dialogue = {
  question: 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  bodyOf(answer) {
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    return /^HTTP\/1\.[01] 200 /i.test(head) ? body : undefined;
  },
};

/** Message formats of PostgreSQL 15: SSLRequest, StartupMessage, Authentication*. */
const sslRequest = Buffer.from('0000000804d2162f', 'hex');
const startup = Buffer.from('user\0postgres\0database\0postgres\0\0');

export const postgres: Dialogue = {
  async carrier(port) {
    const socket = connect(port, '127.0.0.1');
    socket.write(sslRequest);
    const [answer] = (await Promise.race([once(socket, 'data'), closed(socket)])) as [Buffer];
    if (answer.toString() !== 'S') throw new Error(`no TLS: ${JSON.stringify(answer.toString())}`);
    return socket;
  },
  question: Buffer.concat([Buffer.from([0, 0, 0, 8 + startup.length, 0, 3, 0, 0]), startup]),
  complete: (answer) => answer.length > 9,
  bodyOf: (answer) => (answer.startsWith('R') ? answer : undefined),
};

async function closed(socket: Socket): Promise<never> {
  await once(socket, 'close');
  throw new Error('closed before TLS');
}
