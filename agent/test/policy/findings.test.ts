import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mechanisms, operations, type Mechanism } from '@keyagent/protocol';
import { authorise } from '@keyagent/agent/policy/authorise.js';
import { findings, type KnownKey } from '@keyagent/agent/policy/findings.js';
import type { Rule } from '@keyagent/agent/policy/rule.js';
import { certificateVerify, serverContext } from './tls-messages.js';
import { rule } from './rules.js';

function key(object: string, algorithm: KnownKey['algorithm'] = 'rsa'): KnownKey {
  const attributes = { token: 'web', serial: '1', object, id: new Uint8Array([1]), type: 'private' } as const;
  return { uri: `pkcs11:object=${object}`, attributes, algorithm };
}

const signer = { uids: [33], operations: ['sign'] } as const;

test('rules that each have something of their own give no finding', () => {
  const rules = [
    rule({ ...signer, name: 'a', keys: 'pkcs11:object=www' }),
    rule({ ...signer, name: 'b', keys: 'pkcs11:object=mail' }),
  ];
  assert.deepEqual(findings(rules, [key('www'), key('mail')]), []);
});

const coverings: [string, Partial<Rule>, Partial<Rule>, boolean][] = [
  ['the same rule', signer, signer, true],
  ['fewer users', { ...signer, uids: [33, 34] }, signer, true],
  ['more users', signer, { ...signer, uids: [33, 34] }, false],
  ['a group besides', signer, { ...signer, gids: [5] }, true],
  ['no group any more', { ...signer, gids: [5] }, signer, false],
  ['a purpose', signer, { ...signer, purpose: 'tls-server' }, true],
  ['no purpose any more', { ...signer, purpose: 'tls-server' }, signer, false],
  ['a unit', signer, { ...signer, units: ['a.service'] }, true],
  ['a rate, which is not part of the match', { ...signer, rate: { count: 1, perMs: 1000 } }, signer, true],
  [
    'the key exchange, which must be named',
    { uids: [33], purpose: 'tls-server' },
    { uids: [33], purpose: 'tls-server', mechanisms: ['rsa-pkcs1-tls'] },
    false,
  ],
];
for (const [name, wide, narrow, covered] of coverings) {
  test(`a later rule with ${name} is ${covered ? 'unreachable' : 'reachable'}`, () => {
    const rules = [
      rule({ ...wide, name: 'first', keys: 'pkcs11:' }),
      rule({ ...narrow, name: 'second', keys: 'pkcs11:' }),
    ];
    const expected = covered
      ? ['rule "second" never decides: "first" before it matches whatever it would match']
      : [];
    assert.deepEqual(
      findings(rules, []).filter((finding) => finding.includes('never decides')),
      expected,
    );
  });
}

const patterns: [string, string, boolean][] = [
  ['pkcs11:', 'pkcs11:object=www', true],
  ['pkcs11:object=www', 'pkcs11:', false],
  ['pkcs11:object=w*', 'pkcs11:object=www', true],
  ['pkcs11:object=w*', 'pkcs11:object=ww*', true],
  ['pkcs11:object=ww*', 'pkcs11:object=w*', false],
  ['pkcs11:object=www', 'pkcs11:object=www*', false],
  ['pkcs11:object=www', 'pkcs11:object=www;token=web', true],
  ['pkcs11:object=www;token=web', 'pkcs11:object=www', false],
];
for (const [wide, narrow, covered] of patterns) {
  test(`${wide} ${covered ? 'covers' : 'does not cover'} ${narrow}`, () => {
    const rules = [rule({ ...signer, keys: wide }), rule({ ...signer, keys: narrow })];
    assert.equal(findings(rules, []).length, covered ? 1 : 0);
  });
}

test('keys that no rule mentions are named, and those that a rule may mean are not', () => {
  const rules = [
    rule({ ...signer, keys: 'pkcs11:object=www' }),
    rule({ ...signer, keys: 'pkcs11:object=far;manufacturer=unknown' }),
  ];
  assert.deepEqual(findings(rules, [key('www'), key('far'), key('mail')]), [
    'key pkcs11:object=mail is mentioned by no rule: nobody can use it',
  ]);
});

test('a key that may both sign and decrypt is named, by one rule or by two', () => {
  const [one] = findings([rule({ uids: [33], name: 'all' })], []);
  assert.match(one ?? '', /^rule "all" lets the same key sign and decrypt/);
  const two = [
    rule({ ...signer, name: 'a' }),
    rule({ uids: [34], operations: ['decrypt'], name: 'b', keys: 'pkcs11:object=www' }),
  ];
  assert.deepEqual(findings(two, [key('www'), key('mail'), key('ec', 'ec-p256')]), [
    'key pkcs11:object=www may sign ("a") and decrypt ("b"); use a key for each',
  ]);
});

const anyRule = fc
  .record({
    uids: fc.option(fc.subarray([33, 34], { minLength: 1 }), { nil: undefined }),
    gids: fc.constantFrom([33], [33, 34]),
    operations: fc.option(fc.subarray([...operations], { minLength: 1 }), { nil: undefined }),
    mechanisms: fc.option(fc.subarray([...mechanisms], { minLength: 1 }), { nil: undefined }),
    purpose: fc.option(fc.constant('tls-server' as const), { nil: undefined }),
    keys: fc.constantFrom('pkcs11:', 'pkcs11:object=www', 'pkcs11:object=w*', 'pkcs11:object=m*'),
  })
  .map(rule);

test('a rule that is said never to decide never does', () => {
  const uses = mechanisms.map((mechanism: Mechanism) => ({
    operation:
      mechanism === 'rsa-oaep' || mechanism === 'rsa-pkcs1-tls' ? ('decrypt' as const) : ('sign' as const),
    mechanism,
    message: certificateVerify(serverContext, 'sha256'),
  }));
  fc.assert(
    fc.property(fc.array(anyRule, { minLength: 2, maxLength: 4 }), (unnamed) => {
      const rules = unnamed.map((each, i) => ({ ...each, name: String(i) }));
      const dead = new Set(findings(rules, []).map((text) => /^rule "(\d)" never/.exec(text)?.[1]));
      for (const uid of [33, 34]) {
        for (const use of uses) {
          for (const object of ['www', 'wx', 'mail']) {
            const decided = authorise(
              { uid, gid: uid, groups: [], pid: 1 },
              key(object).attributes,
              use,
              rules,
            );
            assert.ok(decided === undefined || !dead.has(decided.name), decided?.name);
          }
        }
      }
    }),
  );
});
