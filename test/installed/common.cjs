/** A CommonJS program, which shares its classes with import(). */
const assert = require('node:assert/strict');
const { verify } = require('node:crypto');
const { AgentError, connect } = require('@keyagent/client');

async function main() {
  const client = await connect();
  const key = await client.key(process.env.KEY_URI);
  const message = Buffer.from('message');
  assert(verify('sha256', message, key.publicKey, await key.sign('ecdsa-sha256', message)));
  await assert.rejects(key.sign('ed25519', message), (error) => error instanceof AgentError);
  assert.equal((await import('@keyagent/client')).AgentError, AgentError);
  client.close();
  console.log('good');
}

main();
