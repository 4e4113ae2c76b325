import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mechanisms, type Mechanism } from '@keyagent/protocol';
import { authorise, mayUse } from '@keyagent/agent/policy/authorise.js';
import { explain } from '@keyagent/agent/policy/explain.js';
import { imaginedPeer } from '@keyagent/agent/policy/peer.js';
import { rule } from './rules.js';

const www = { token: 'web', object: 'www', id: new Uint8Array([1]), type: 'private' } as const;
const described = { uid: 33, gid: 33, groups: [7], unit: 'apache2.service', exe: '/usr/sbin/apache2' };
const peer = imaginedPeer(described, 65534);
const sign = { operation: 'sign', mechanism: 'rsa-pss' } as const;

test('each rule says which field does not match, up to the one that decides', () => {
  const rules = [
    rule({ uids: [1] }),
    rule({ gids: [1] }),
    rule({ units: ['x.service'] }),
    rule({ exes: ['/bin/x'] }),
    rule({ uids: [33], keys: 'pkcs11:object=mail' }),
    rule({ uids: [33], operations: ['decrypt'] }),
    rule({ uids: [33], mechanisms: ['ecdsa'] }),
    rule({ uids: [33], purpose: 'tls-client' }),
    rule({ gids: [7] }),
    rule({ uids: [33] }),
  ];
  assert.deepEqual(
    explain(peer, www, sign, rules).map(({ verdict }) => verdict),
    ['users', 'groups', 'units', 'exe', 'keys', 'operations', 'mechanisms', 'purpose-only', 'allows'],
  );
});

test('the overflow uid is nobody, whatever else would match', () => {
  const rules = [rule({ gids: [7] }), rule({ units: ['apache2.service'] })];
  assert.deepEqual(
    explain(imaginedPeer(described, 33), www, sign, rules).map(({ verdict }) => verdict),
    ['users', 'users'],
  );
});

test('a purpose that has no use for the mechanism is a mismatch', () => {
  const rules = [rule({ uids: [33], purpose: 'tls-client' })];
  const [only] = explain(peer, www, { operation: 'sign', mechanism: 'rsa-pkcs1' }, rules);
  assert.equal(only?.verdict, 'purpose');
});

const anyId = fc.constantFrom(33, 34);
const option = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
const anyRule = fc
  .record({
    uids: option(fc.array(anyId, { maxLength: 2 })),
    units: option(fc.constantFrom(['apache2.service'], ['x.service'])),
    mechanisms: option(fc.subarray([...mechanisms])),
    purpose: option(fc.constantFrom('tls-server' as const, 'tls-client' as const)),
    keys: fc.constantFrom('pkcs11:', 'pkcs11:object=www', 'pkcs11:object=m*'),
  })
  .map(rule);
const anyMechanism: fc.Arbitrary<Mechanism> = fc.constantFrom('rsa-pss', 'rsa-pkcs1', 'ecdsa');

test('the explanation and the decision are always the same', () => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 6 }), anyMechanism, (rules, mechanism) => {
      const use = { operation: 'sign', mechanism } as const;
      const explanations = explain(peer, www, use, rules);
      const allowing = explanations.filter(
        ({ verdict }) => verdict === 'allows' || verdict === 'purpose-only',
      );
      assert.equal(mayUse(peer, www, use, rules), allowing.length > 0);
      const digest = authorise(peer, www, use, rules);
      assert.equal(explanations.find(({ verdict }) => verdict === 'allows')?.rule, digest);
    }),
  );
});
