import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mechanisms, operations, purposes, type Mechanism, type Operation } from '@keyagent/protocol';
import {
  authorise,
  isStranger,
  leastPatient,
  mayBeUsed,
  mayKnow,
  mayUse,
} from '@keyagent/agent/policy/authorise.js';
import type { Peer, Program } from '@keyagent/agent/policy/peer.js';
import type { Rule } from '@keyagent/agent/policy/rule.js';
import { rule } from './rules.js';

const www = { token: 'web', object: 'www', id: new Uint8Array([1]), type: 'private' } as const;
const mail = { token: 'web', object: 'mail', id: new Uint8Array([2]), type: 'private' } as const;
const apache = 'apache2.service';
const httpd = '/usr/sbin/apache2';

function peer(uid: number, gid = uid, groups: number[] = []): Peer {
  return { uid, gid, groups, pid: 1 };
}

/** A peer whose program is known, or doubtful. */
function running(uid: number, { exe, ...program }: Partial<Program> & { exe?: string }): Peer {
  const runs = (path: string): boolean => path === exe;
  const known = { runs, unit: undefined, shownExe: undefined, doubt: undefined, ...program };
  return { ...peer(uid), program: () => known };
}

const decisions: [string, Peer, typeof www | typeof mail, Operation, Mechanism, Rule[], boolean][] = [
  ['no rule: denied', peer(33), www, 'sign', 'ecdsa', [], false],
  ['no rule: root is denied too', peer(0), www, 'sign', 'ecdsa', [], false],
  ['named uid', peer(33), www, 'sign', 'ecdsa', [rule({ uids: [33] })], true],
  ['other uid', peer(34), www, 'sign', 'ecdsa', [rule({ uids: [33] })], false],
  ['root is not implied', peer(0), www, 'sign', 'ecdsa', [rule({ uids: [33] })], false],
  ['root when named', peer(0), www, 'sign', 'ecdsa', [rule({ uids: [0] })], true],
  ['primary group', peer(7, 33), www, 'sign', 'ecdsa', [rule({ gids: [33] })], true],
  ['supplementary group', peer(7, 7, [8, 33]), www, 'sign', 'ecdsa', [rule({ gids: [33] })], true],
  ['wrong group', peer(7, 7, [8]), www, 'sign', 'ecdsa', [rule({ gids: [33] })], false],
  [
    'uid and group must both match',
    peer(7, 33),
    www,
    'sign',
    'ecdsa',
    [rule({ uids: [8], gids: [33] })],
    false,
  ],
  ['operation', peer(33), www, 'decrypt', 'rsa-oaep', [rule({ uids: [33], operations: ['sign'] })], false],
  ['mechanism', peer(33), www, 'sign', 'rsa-pkcs1', [rule({ uids: [33], mechanisms: ['rsa-pss'] })], false],
  ['key pattern', peer(33), mail, 'sign', 'ecdsa', [rule({ uids: [33], keys: 'pkcs11:object=ww*' })], false],
  ['a later rule', peer(33), www, 'sign', 'ecdsa', [rule({ uids: [34] }), rule({ uids: [33] })], true],
  ['a rule that names nobody', peer(33), www, 'sign', 'ecdsa', [rule({})], false],
  [
    'the overflow uid, even when named',
    { ...peer(65534), unmapped: true },
    www,
    'sign',
    'ecdsa',
    [rule({ uids: [65534] })],
    false,
  ],
  ['unit', running(33, { unit: apache }), www, 'sign', 'ecdsa', [rule({ units: [apache] })], true],
  [
    'another unit',
    running(33, { unit: 'x.service' }),
    www,
    'sign',
    'ecdsa',
    [rule({ units: [apache] })],
    false,
  ],
  ['no unit', running(33, {}), www, 'sign', 'ecdsa', [rule({ units: [apache] })], false],
  ['an unknown program', peer(33), www, 'sign', 'ecdsa', [rule({ units: [apache] })], false],
  ['executable', running(33, { exe: httpd }), www, 'sign', 'ecdsa', [rule({ exes: [httpd] })], true],
  [
    'another executable',
    running(33, { exe: '/tmp/x' }),
    www,
    'sign',
    'ecdsa',
    [rule({ exes: [httpd] })],
    false,
  ],
  [
    'an executable that is only shown',
    running(33, { shownExe: httpd, doubt: 'gone' }),
    www,
    'sign',
    'ecdsa',
    [rule({ exes: [httpd] })],
    false,
  ],
  [
    'unit and executable must both match',
    running(33, { unit: apache }),
    www,
    'sign',
    'ecdsa',
    [rule({ units: [apache], exes: [httpd] })],
    false,
  ],
  [
    'unit and uid must both match',
    running(34, { unit: apache }),
    www,
    'sign',
    'ecdsa',
    [rule({ units: [apache], uids: [33] })],
    false,
  ],
  [
    'a doubtful program, by a rule for its uid',
    running(33, { doubt: 'gone' }),
    www,
    'sign',
    'ecdsa',
    [rule({ units: [apache] }), rule({ uids: [33] })],
    true,
  ],
  [
    'the overflow uid in a unit',
    { ...running(65534, { unit: apache }), unmapped: true },
    www,
    'sign',
    'ecdsa',
    [rule({ units: [apache] })],
    false,
  ],
];

for (const [name, who, key, operation, mechanism, rules, allowed] of decisions) {
  test(`authorise: ${name} is ${allowed ? 'allowed' : 'denied'}`, () => {
    assert.equal(authorise(who, key, { operation, mechanism }, rules) !== undefined, allowed);
  });
}

test('public data is for root and for whom a rule names that key', () => {
  const rules = [rule({ uids: [33], keys: 'pkcs11:object=www' })];
  assert.equal(mayKnow(peer(0), mail, rules), true);
  assert.equal(mayKnow(peer(33), www, rules), true);
  assert.equal(mayKnow(peer(33), mail, rules), false);
  assert.equal(mayKnow(peer(34), www, rules), false);
});

test('a stranger is whoever no rule names', () => {
  const rules = [rule({ uids: [33] })];
  assert.equal(isStranger(peer(34), rules), true);
  assert.equal(isStranger(peer(33), rules), false);
  assert.equal(isStranger(peer(0), []), false);
});

test('while the key is not known, the rule of a peer counts under which the fewest wait', () => {
  const [any, few, none] = [
    rule({ uids: [33] }),
    rule({ uids: [33], holdMax: 5 }),
    rule({ uids: [34], holdMax: 0 }),
  ];
  assert.equal(leastPatient(peer(33), [any, few, none]), few);
  assert.equal(leastPatient(peer(33), [any, none]), undefined);
  assert.equal(leastPatient(peer(34), [any, few, none]), none);
  assert.equal(leastPatient(peer(35), [any, few, none]), undefined);
});

const anyId = fc.integer({ min: 0, max: 5 });
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined, freq: 2 });
const anyRule = fc
  .record({
    uids: optional(fc.array(anyId, { maxLength: 3 })),
    gids: optional(fc.array(anyId, { maxLength: 3 })),
    units: optional(fc.subarray([apache, 'nginx.service'])),
    exes: optional(fc.subarray([httpd, '/usr/bin/node'])),
    operations: optional(fc.subarray([...operations])),
    mechanisms: optional(fc.subarray([...mechanisms])),
    purpose: optional(fc.constantFrom(...purposes)),
    keys: fc.constantFrom('pkcs11:', 'pkcs11:object=www', 'pkcs11:object=m*'),
  })
  .map(rule);
const anyRules = fc.array(anyRule, { maxLength: 5 });
const anyPeer = fc
  .record({
    uid: anyId,
    gid: anyId,
    groups: fc.array(anyId, { maxLength: 3 }),
    unit: optional(fc.constantFrom(apache, 'nginx.service')),
    exe: optional(fc.constantFrom(httpd, '/usr/bin/node')),
  })
  .map(({ unit, exe, ...ids }): Peer => {
    const program = { runs: (path: string) => path === exe, unit, shownExe: exe, doubt: undefined };
    return { ...ids, pid: 1, program: () => program };
  });
const anyKey = fc.constantFrom(www, mail);
const tls13 = Buffer.from(`${' '.repeat(64)}TLS 1.3, server CertificateVerify\0${'h'.repeat(32)}`);
const decrypting: readonly Mechanism[] = ['rsa-oaep', 'rsa-pkcs1-tls'];
const anyUse = fc
  .record({
    mechanism: fc.constantFrom(...mechanisms),
    message: optional(fc.constantFrom(Buffer.from('a message'), tls13)),
  })
  .map((use) => {
    const operation: Operation = decrypting.includes(use.mechanism) ? 'decrypt' : 'sign';
    return { ...use, operation };
  });

test('a rule added after the one that matched never changes the decision', () => {
  let matched = 0;
  fc.assert(
    fc.property(anyPeer, anyKey, anyUse, anyRules, anyRule, fc.nat(5), (who, key, use, rules, more, gap) => {
      const before = authorise(who, key, use, rules);
      if (before === undefined) return;
      matched++;
      const place = rules.indexOf(before) + 1 + gap;
      assert.equal(authorise(who, key, use, rules.toSpliced(place, 0, more)), before);
    }),
    { numRuns: 2000 },
  );
  assert.ok(matched > 50, `only ${matched} matched`);
});

test('removing rules never grants anything', () => {
  fc.assert(
    fc.property(anyPeer, anyKey, anyUse, anyRules, fc.nat(4), (who, key, use, rules, drop) => {
      const fewer = rules.filter((_, i) => i !== drop);
      if (authorise(who, key, use, rules) === undefined)
        assert.equal(authorise(who, key, use, fewer), undefined);
    }),
  );
});

test('no rules grant nothing', () => {
  fc.assert(
    fc.property(anyPeer, anyKey, anyUse, (who, key, use) => {
      assert.equal(authorise(who, key, use, []), undefined);
      assert.equal(mayUse(who, key, use, []), false);
      assert.equal(mayKnow(who, key, []), who.uid === 0);
    }),
  );
});

const uses: [string, Rule, Mechanism[], boolean][] = [
  ['a rule for anybody', rule({ uids: [33] }), ['ecdsa'], true],
  ['a rule by unit', rule({ units: [apache] }), ['ecdsa'], true],
  ['a rule for nobody', rule({}), ['ecdsa'], false],
  ['another key', rule({ uids: [33], keys: 'pkcs11:object=mail' }), ['ecdsa'], false],
  ['another mechanism', rule({ uids: [33], mechanisms: ['ed25519'] }), ['ecdsa'], false],
  ['one of its mechanisms', rule({ uids: [33], mechanisms: ['rsa-pss'] }), ['rsa-pkcs1', 'rsa-pss'], true],
  ['another operation', rule({ uids: [33], operations: ['decrypt'] }), ['ecdsa'], false],
  ['only decryption', rule({ uids: [33], operations: ['decrypt'] }), ['rsa-pss', 'rsa-oaep'], true],
];

for (const [name, only, can, expected] of uses) {
  test(`mayBeUsed: ${name}`, () => {
    assert.equal(mayBeUsed(www, can, [only]), expected);
    assert.equal(mayBeUsed(www, can, []), false);
  });
}

test('whoever is allowed something uses a key that may be used', () => {
  fc.assert(
    fc.property(anyPeer, anyKey, anyUse, anyRules, (who, key, use, rules) => {
      if (authorise(who, key, use, rules) !== undefined) assert.ok(mayBeUsed(key, [use.mechanism], rules));
    }),
  );
});
