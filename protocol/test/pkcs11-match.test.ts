import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatPkcs11Uri,
  matchesPkcs11Uri,
  objectTypes,
  parsePkcs11Pattern,
  parsePkcs11Uri,
  type Pkcs11Attributes,
} from '@keyagent/protocol';

const key: Pkcs11Attributes = {
  token: 'web',
  manufacturer: 'SoftHSM project',
  serial: '1a2b3c4d',
  model: 'SoftHSM v2',
  libraryManufacturer: 'SoftHSM',
  libraryDescription: 'Implementation of PKCS11',
  libraryVersion: '2.6',
  slotManufacturer: 'SoftHSM project',
  slotDescription: 'SoftHSM slot ID 0x1',
  slotId: 1,
  object: 'www',
  id: Buffer.from('01a0ff', 'hex'),
  type: 'private',
};

const uris: readonly [uri: string, matches: boolean][] = [
  ['pkcs11:', true],
  ['pkcs11:object=www', true],
  ['keyagent:www', true],
  ['pkcs11:object=WWW', false],
  ['pkcs11:object=ww', false],
  ['pkcs11:object=www%20', false],
  ['pkcs11:object=', false],
  ['pkcs11:object=www*', false],
  ['pkcs11:token=web;object=www;type=private', true],
  ['pkcs11:token=web;object=mail', false],
  ['pkcs11:token=web%20%20', true],
  ['pkcs11:token=%20web', false],
  ['pkcs11:token=', false],
  ['pkcs11:serial=1a2b3c4d', true],
  ['pkcs11:serial=1A2B3C4D', false],
  ['pkcs11:manufacturer=SoftHSM%20project;model=SoftHSM%20v2', true],
  ['pkcs11:library-manufacturer=SoftHSM;library-description=Implementation%20of%20PKCS11', true],
  ['pkcs11:library-version=2.6', true],
  ['pkcs11:library-version=2.06', true],
  ['pkcs11:library-version=2.60', false],
  ['pkcs11:library-version=2', false],
  ['pkcs11:slot-manufacturer=SoftHSM%20project;slot-description=SoftHSM%20slot%20ID%200x1;slot-id=1', true],
  ['pkcs11:slot-id=01', true],
  ['pkcs11:slot-id=18446744073709551617', false],
  ['pkcs11:id=%01%A0%ff', true],
  ['pkcs11:id=%01%A0', false],
  ['pkcs11:id=', false],
  ['pkcs11:type=cert', false],
  ['pkcs11:object=www;x-vendor=1', false],
  ['pkcs11:label=www', false],
  ['pkcs11:toString=www', false],
  ['pkcs11:__proto__=', false],
  ['pkcs11:object=www?pin-value=1', true],
];

test('matchesPkcs11Uri compares every attribute', async (t) => {
  for (const [uri, matches] of uris) {
    await t.test(`${uri} ${matches ? 'matches' : 'does not match'}`, () => {
      assert.equal(matchesPkcs11Uri(parsePkcs11Uri(uri), key), matches);
    });
  }
});

const patterns: readonly [pattern: string, matches: boolean][] = [
  ['pkcs11:object=www*', true],
  ['pkcs11:object=w*', true],
  ['pkcs11:object=*', true],
  ['pkcs11:object=www%2A', false],
  ['pkcs11:object=wwww*', false],
  ['pkcs11:token=we*;object=www', true],
  ['pkcs11:token=web%20*', false],
  ['pkcs11:id=%01*', true],
  ['pkcs11:id=%02*', false],
];

test('matchesPkcs11Uri compares the prefixes of a pattern', () => {
  for (const [pattern, matches] of patterns) {
    assert.equal(matchesPkcs11Uri(parsePkcs11Pattern(pattern), key), matches, pattern);
  }
});

test('an attribute that is not known never matches, an empty or starred one neither', () => {
  for (const name of [
    'token',
    'manufacturer',
    'serial',
    'model',
    'object',
    'id',
    'library-manufacturer',
    'slot-description',
  ]) {
    assert.equal(matchesPkcs11Uri(parsePkcs11Uri(`pkcs11:${name}=`), {}), false, name);
    assert.equal(matchesPkcs11Uri(parsePkcs11Pattern(`pkcs11:${name}=*`), {}), false, name);
  }
  for (const uri of ['pkcs11:type=private', 'pkcs11:slot-id=0', 'pkcs11:library-version=0']) {
    assert.equal(matchesPkcs11Uri(parsePkcs11Uri(uri), {}), false, uri);
  }
});

test('an empty value matches an empty value, and blanks of the token side are padding', () => {
  const blank: Pkcs11Attributes = { token: 'web   ', serial: '', object: '', id: Buffer.alloc(0) };
  assert(matchesPkcs11Uri(parsePkcs11Uri('pkcs11:token=web;serial=;object=;id='), blank));
});

test('library-version 3 is 3.0', () => {
  assert(matchesPkcs11Uri(parsePkcs11Uri('pkcs11:library-version=3'), { libraryVersion: '3.0' }));
  assert(!matchesPkcs11Uri(parsePkcs11Uri('pkcs11:library-version=3'), { libraryVersion: '3.1' }));
});

test('formatPkcs11Uri percent-encodes all but letters, digits and -._~, and the whole id', () => {
  assert.equal(
    formatPkcs11Uri({
      token: 'my token;',
      object: 'ä*+?',
      id: Buffer.from('0141', 'hex'),
      type: 'cert',
      slotId: 7,
    }),
    'pkcs11:token=my%20token%3B;slot-id=7;object=%C3%A4%2A%2B%3F;id=%01%41;type=cert',
  );
  assert.equal(formatPkcs11Uri({}), 'pkcs11:');
});

/** PKCS#11 labels are UTF-8: no lone surrogates. Padded fields lose trailing blanks, so none are generated. */
const text = fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.replace(/ +$/, ''));
const attributes = fc.record(
  {
    token: text,
    manufacturer: text,
    serial: text,
    model: text,
    libraryManufacturer: text,
    libraryDescription: text,
    libraryVersion: fc.tuple(fc.nat(255), fc.nat(255)).map(([major, minor]) => `${major}.${minor}`),
    slotManufacturer: text,
    slotDescription: text,
    slotId: fc.nat(),
    object: text,
    id: fc.uint8Array({ maxLength: 40 }),
    type: fc.constantFrom(...objectTypes),
  },
  { requiredKeys: [] },
);

test('a formatted URI matches what it was formatted from, as a URI and as a pattern', () => {
  fc.assert(
    fc.property(attributes, (known) => {
      const uri = formatPkcs11Uri(known);
      assert(matchesPkcs11Uri(parsePkcs11Uri(uri), known));
      assert(matchesPkcs11Uri(parsePkcs11Pattern(uri), known));
    }),
    { numRuns: 2000 },
  );
});

test('a formatted URI no longer matches once any one attribute is another', () => {
  const names = Object.keys(key) as (keyof Pkcs11Attributes)[];
  fc.assert(
    fc.property(attributes, attributes, fc.constantFrom(...names), (one, other, name) => {
      fc.pre(one[name] !== undefined);
      const changed = { ...one, [name]: other[name] };
      fc.pre(formatPkcs11Uri(changed) !== formatPkcs11Uri(one));
      assert.equal(matchesPkcs11Uri(parsePkcs11Uri(formatPkcs11Uri(one)), changed), false);
    }),
    { numRuns: 2000 },
  );
});
