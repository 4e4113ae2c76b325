/** An ES module: signs, decrypts nothing it may not, and shares its classes with require(). */
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { createRequire } from 'node:module';
import { AgentError, connect, errorCodes, isRetryable, JwsSigner } from '@keyagent/client';

const client = await connect();
const key = await client.key(process.env.KEY_URI);
const message = Buffer.from('message');
assert(verify('sha256', message, key.publicKey, await key.sign('ecdsa-sha256', message)));
assert.equal((await new JwsSigner(key, { alg: 'ES256' }).sign('{}')).split('.').length, 3);
await assert.rejects(client.key('pkcs11:object=none'), (error) => {
  assert(error instanceof AgentError && errorCodes.includes(error.code) && !isRetryable(error));
  return true;
});
assert.equal(createRequire(import.meta.url)('@keyagent/client').AgentError, AgentError);
client.close();
console.log('good');
