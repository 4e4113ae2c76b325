/** Signs what relay.ts passes on: C_SignInit, C_Sign and the reply, nothing else. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import pkcs11js, { type Handle } from 'pkcs11js';
import { derSignature } from '@keyagent/agent/request/ecdsa-der.js';
import { FrameReader, decodeIncoming, encodeReply, limits } from '@keyagent/protocol';
import type { TokenTask } from './floor.js';

const { module, label, key, pinFile } = JSON.parse(process.argv[2] ?? '') as TokenTask;
const library = new pkcs11js.PKCS11();
library.load(module);
library.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
const slot = library.C_GetSlotList(true).find((each) => library.C_GetTokenInfo(each).label.trim() === label);
if (slot === undefined) throw new Error(`no token ${label}`);
const sessions = Array.from({ length: 8 }, () => library.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION));
const [first] = sessions;
if (first === undefined) throw new Error('no session');
library.C_Login(first, pkcs11js.CKU_USER, readFileSync(pinFile, 'utf8').trim());
library.C_FindObjectsInit(first, [
  { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY },
  { type: pkcs11js.CKA_LABEL, value: key },
]);
const [handle] = library.C_FindObjects(first, 1);
library.C_FindObjectsFinal(first);
if (handle === undefined) throw new Error(`no key ${key}`);
const isRsa = key.startsWith('rsa');
const pss = {
  type: pkcs11js.CK_PARAMS_RSA_PSS,
  hashAlg: pkcs11js.CKM_SHA256,
  mgf: pkcs11js.CKG_MGF1_SHA256,
  saltLen: 32,
};
const mechanism = isRsa
  ? { mechanism: pkcs11js.CKM_RSA_PKCS_PSS, parameter: pss }
  : { mechanism: pkcs11js.CKM_ECDSA };

const channel = new Socket({ fd: 3, readable: true, writable: true });
const requests = new FrameReader(limits.frame + 8);
const waiting: Buffer[] = [];
channel.on('data', (chunk: Buffer) => {
  waiting.push(...requests.push(chunk));
  serve();
});
channel.on('close', () => process.exit(0));

function serve(): void {
  for (let body = waiting.shift(); body !== undefined; body = waiting.shift()) {
    const session = sessions.pop();
    if (session === undefined) {
      waiting.unshift(body);
      return;
    }
    if (isRsa) void signAsync(session, body);
    else {
      sign(session, body);
      // The relay is at work on this one while the next is signed, as the agent is.
      setImmediate(serve);
      return;
    }
  }
}

/** A short operation costs less than the way to another thread and back. */
function sign(session: Handle, body: Buffer): void {
  const { id, digest } = read(body);
  library.C_SignInit(session, mechanism, handle as Handle);
  const signature = derSignature(library.C_Sign(session, digest, Buffer.allocUnsafe(64)));
  sessions.push(session);
  reply(body, id, signature);
}

async function signAsync(session: Handle, body: Buffer): Promise<void> {
  const { id, digest } = read(body);
  library.C_SignInit(session, mechanism, handle as Handle);
  // pkcs11js keeps a bare pointer to each: both are used again below.
  const output = Buffer.alloc(256);
  const { length } = await library.C_SignAsync(session, digest, output);
  digest.fill(0);
  const signature = output.subarray(0, length);
  sessions.push(session);
  reply(body, id, signature);
  serve();
}

function read(body: Buffer): { id: number; digest: Buffer } {
  const incoming = decodeIncoming(body.subarray(4), 'client');
  if (!('id' in incoming) || incoming.method !== 'sign' || incoming.params.message === undefined)
    throw new Error('not a request to sign a message');
  return { id: incoming.id, digest: createHash('sha256').update(incoming.params.message).digest() };
}

function reply(request: Buffer, id: number, signature: Buffer): void {
  const frame = encodeReply('sign', { id, result: { signature } });
  const head = Buffer.allocUnsafe(8);
  head.writeUInt32BE(4 + frame.length, 0);
  request.copy(head, 4, 0, 4);
  channel.write(Buffer.concat([head, frame]));
}
