/** What TypeScript says of programs that use @keyagent/client: compiled, never run. */
import type { KeyObject, X509Certificate } from 'node:crypto';
import {
  AgentError,
  connect,
  isRetryable,
  JwsSigner,
  type AgentStatus,
  type ErrorCode,
  type Key,
  type KeyAlgorithm,
  type TokenState,
} from '@keyagent/client';

/** Compiles only for a value of exactly type T, neither wider nor narrower. */
function exactly<T>() {
  return <Actual extends T>(value: Actual, ..._same: [T] extends [Actual] ? [] : ['not as wide']): Actual =>
    value;
}

export async function good(): Promise<void> {
  const client = await connect({ timeoutMs: 1000, trustedUids: [1], signal: AbortSignal.timeout(5) });
  client.unref().ref();
  for (const entry of await client.keys({ timeoutMs: 1 })) exactly<KeyAlgorithm>()(entry.algorithm);
  const { tokens }: AgentStatus = await client.status();
  for (const { state } of tokens) exactly<TokenState>()(state);

  const key: Key = await client.key('pkcs11:object=www', { signal: new AbortController().signal });
  exactly<KeyObject>()(key.publicKey);
  exactly<X509Certificate | undefined>()(key.certificate);
  exactly<readonly X509Certificate[]>()(key.chain);
  const signature = await key.sign('ecdsa-sha256', new Uint8Array(1), { format: 'p1363' });
  exactly<Buffer>()(signature);
  await key.sign('rsa-pss-sha512', { digest: Buffer.alloc(64) });
  await key.decrypt('rsa-pkcs1-tls', signature, { clientVersion: 0x303, negotiatedVersion: 0 });

  const signer = new JwsSigner(key, { alg: 'ES256', kid: 'k', x5c: true, 'urn:example': 1 });
  exactly<string>()(await signer.sign('{}'));

  client.on('locked', (token) => exactly<string>()(token));
  client.on('unlocked', (token) => exactly<string>()(token));
  client.on('state', (_token, state) => exactly<TokenState>()(state));
  client.on('rotated', (uri) => exactly<string>()(uri));
  client.on('disconnected', (reason) => exactly<ErrorCode>()(reason.code));
  exactly<boolean>()(isRetryable(new Error('of another kind')));
  client.close();
}

export async function bad(key: Key, error: unknown): Promise<void> {
  // @ts-expect-error wider than it is: the expectations above can fail
  exactly<string | undefined>()(key.uri);
  // @ts-expect-error a socket is a path
  await connect({ socket: 7 });
  // @ts-expect-error no such option
  await connect({ pin: '1234' });
  // @ts-expect-error an algorithm that decrypts
  await key.sign('rsa-oaep-sha256', new Uint8Array(1));
  // @ts-expect-error no such algorithm
  await key.sign('rsa-pkcs1-md5', new Uint8Array(1));
  // @ts-expect-error text has no bytes until somebody chooses an encoding
  await key.sign('ecdsa-sha256', 'text');
  // @ts-expect-error a digest is bytes
  await key.sign('ecdsa-sha256', { digest: 'text' });
  // @ts-expect-error no such format
  await key.sign('ecdsa-sha256', new Uint8Array(1), { format: 'raw' });
  // @ts-expect-error an algorithm that signs
  await key.decrypt('ed25519', new Uint8Array(1));
  // @ts-expect-error public data cannot be changed
  key.uri = 'pkcs11:';
  // @ts-expect-error MACs are not signatures
  new JwsSigner(key, { alg: 'HS256' });
  // @ts-expect-error a header names its algorithm
  new JwsSigner(key, { kid: 'k' });
  // @ts-expect-error extensions are not supported
  new JwsSigner(key, { alg: 'ES256', crit: ['b64'] });
  // @ts-expect-error a typing error in a code
  if (error instanceof AgentError && error.code === 'LOKED') return;
  // @ts-expect-error no such event
  (await connect()).on('unlock', () => undefined);
}
