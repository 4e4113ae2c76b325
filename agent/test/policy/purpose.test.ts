import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { Mechanism } from '@keyagent/protocol';
import { authorise, mayUse } from '@keyagent/agent/policy/authorise.js';
import { refusalOfUse } from '@keyagent/agent/policy/refusal.js';
import { rule } from './rules.js';
import {
  certificateVerify,
  clientContext,
  ecdhParams,
  serverContext,
  serverKeyExchange,
} from './tls-messages.js';

const key = { token: 'web', object: 'www', type: 'private' } as const;
const peer = { uid: 33, gid: 33, groups: [], pid: 1 };

const apache = { name: 'apache', uids: [33] };

const messages = {
  'TLS 1.3 server': certificateVerify(serverContext, 'sha256'),
  'TLS 1.3 client': certificateVerify(clientContext, 'sha384'),
  'TLS 1.2 server': serverKeyExchange(ecdhParams(29, randomBytes(32))),
  'another message': Buffer.from('sign this'),
  'only a digest': undefined,
};
const modern: Mechanism[] = ['rsa-pss', 'ecdsa', 'ed25519'];
const signing: Mechanism[] = ['rsa-pkcs1', ...modern];
/** Everything that is allowed; all other pairs are not. */
const allowed: Record<'tls-server' | 'tls-client', Partial<Record<keyof typeof messages, Mechanism[]>>> = {
  'tls-server': { 'TLS 1.3 server': modern, 'TLS 1.2 server': signing },
  'tls-client': { 'TLS 1.3 client': modern },
};

for (const purpose of ['tls-server', 'tls-client'] as const) {
  for (const [name, message] of Object.entries(messages)) {
    for (const mechanism of signing) {
      const expected = allowed[purpose][name as keyof typeof messages]?.includes(mechanism) === true;
      test(`purpose ${purpose}: ${name} with ${mechanism} is ${expected ? 'allowed' : 'denied'}`, () => {
        const use = { operation: 'sign', mechanism, message } as const;
        assert.equal(authorise(peer, key, use, [rule({ ...apache, purpose })]) !== undefined, expected);
      });
    }
  }
  test(`purpose ${purpose} never lets OAEP decrypt, named or not`, () => {
    const use = { operation: 'decrypt', mechanism: 'rsa-oaep' } as const;
    const rules = [rule({ ...apache, purpose }), rule({ ...apache, purpose, mechanisms: ['rsa-oaep'] })];
    assert.equal(authorise(peer, key, use, rules), undefined);
  });
}

test('purpose tls-server lets the RSA key exchange decrypt only if the rule names it', () => {
  const use = { operation: 'decrypt', mechanism: 'rsa-pkcs1-tls' } as const;
  const named = rule({ ...apache, purpose: 'tls-server', mechanisms: ['rsa-pss', 'rsa-pkcs1-tls'] });
  assert.equal(authorise(peer, key, use, [rule({ ...apache, purpose: 'tls-server' })]), undefined);
  assert.equal(authorise(peer, key, use, [named]), named);
  assert.equal(authorise(peer, key, use, [{ ...named, purpose: 'tls-client' }]), undefined);
});

test('a message that does not fit the purpose of one rule is for the next', () => {
  const rules = [rule({ ...apache, purpose: 'tls-server' }), rule({ ...apache, name: 'any' })];
  const use = { operation: 'sign', mechanism: 'ecdsa' } as const;
  assert.equal(authorise(peer, key, { ...use, message: messages['TLS 1.3 server'] }, rules)?.name, 'apache');
  assert.equal(authorise(peer, key, { ...use, message: messages['another message'] }, rules)?.name, 'any');
});

test('what a peer may do with a key counts the mechanisms of a purpose, and no others', () => {
  const rules = [rule({ ...apache, purpose: 'tls-client' })];
  for (const mechanism of signing) {
    assert.equal(mayUse(peer, key, { operation: 'sign', mechanism }, rules), modern.includes(mechanism));
  }
});

test('a refusal names the purpose to whom it would have let sign, and to nobody else', () => {
  const use = { operation: 'sign', mechanism: 'ecdsa' } as const;
  const rules = [rule({ ...apache, purpose: 'tls-server' })];
  const digest = refusalOfUse(peer, key, use, rules, 'sign');
  assert.equal(digest.code, 'DENIED');
  assert.match(digest.message, /^rule "apache" lets uid 33 sign for tls-server only, and a digest hides/);
  const other = refusalOfUse(peer, key, { ...use, message: Buffer.from('x') }, rules, 'sign');
  assert.match(other.message, /tls-server only, and this is no such message/);
  assert.match(
    refusalOfUse({ ...peer, uid: 34 }, key, use, rules, 'sign').message,
    /^no rule allows uid 34 to sign/,
  );
});
