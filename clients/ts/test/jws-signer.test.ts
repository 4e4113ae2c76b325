import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, JwsSigner } from '@keyagent/client';
import { startAgent } from './agent-peer.js';
import { answerKey, describe, servedKeys } from './served-keys.js';

const rsa = servedKeys['pkcs11:object=rsa'];
assert(rsa !== undefined);

test('a certificate that the token does not hold is not left out of the header in silence', async (t) => {
  const agent = await startAgent(t, answerKey);
  const client = await connect({ socket: agent.path });
  t.after(() => client.close());
  const key = await client.key('pkcs11:object=ed');
  const refusal = { code: 'INVALID', message: /no certificate of pkcs11:object=ed/ };
  assert.throws(() => new JwsSigner(key, { alg: 'EdDSA', x5c: true }), refusal);
  assert.throws(() => new JwsSigner(key, { alg: 'EdDSA', 'x5t#S256': true }), refusal);
});

test('an RSA key under 2048 bits is refused', async (t) => {
  const agent = await startAgent(t, () => ({ ...describe('pkcs11:object=rsa', rsa), bits: 1024 }));
  const client = await connect({ socket: agent.path });
  t.after(() => client.close());
  const key = await client.key('pkcs11:object=rsa');
  assert.throws(() => new JwsSigner(key, { alg: 'RS256' }), { code: 'MECHANISM', message: /2048/ });
});
