import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, test } from 'node:test';
import { decodeDer, encodeDer, tag } from '@keyagent/agent/host/der.js';
import {
  UnusableKeyError,
  ecPublicKey,
  ed25519PublicKey,
  rsaPublicKey,
  spkiPublicKey,
} from '@keyagent/agent/host/public-key.js';

const curves = [
  ['ec-p256', 'prime256v1', '06082a8648ce3d030107', 256],
  ['ec-p384', 'secp384r1', '06052b81040022', 384],
  ['ec-p521', 'secp521r1', '06052b81040023', 521],
] as const;

function spkiOf(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' });
}

function pointOf(key: KeyObject): Buffer {
  const { x, y } = key.export({ format: 'jwk' });
  return Buffer.concat([Buffer.of(4), Buffer.from(x ?? '', 'base64url'), Buffer.from(y ?? '', 'base64url')]);
}

void describe('a public key out of attributes', () => {
  for (const [algorithm, namedCurve, oid, bits] of curves) {
    test(`${algorithm} is the same from a wrapped and from a raw point`, () => {
      const { publicKey } = generateKeyPairSync('ec', { namedCurve });
      const point = pointOf(publicKey);
      for (const encoded of [encodeDer(tag.octetString, point), point]) {
        const key = ecPublicKey(Buffer.from(oid, 'hex'), encoded);
        assert.equal(key.algorithm, algorithm);
        assert.equal(key.bits, bits);
        assert.deepEqual(key.spki, spkiOf(publicKey));
      }
    });
  }

  // P-521's cannot: its second byte is 0 or 1.
  for (const [algorithm, namedCurve, oid] of curves.slice(0, 2)) {
    test(`a raw point of ${algorithm} that looks like a wrapping is taken as it is`, () => {
      let point: Buffer;
      let key: KeyObject;
      do {
        key = generateKeyPairSync('ec', { namedCurve }).publicKey;
        point = pointOf(key);
      } while (decodeDer(point, tag.octetString) === undefined);
      assert.deepEqual(ecPublicKey(Buffer.from(oid, 'hex'), point).spki, spkiOf(key));
    });
  }

  const params = {
    oid: '06032b6570',
    'older oid': '06092b06010401da470f01',
    name: '130c656477617264733235353139',
  };
  for (const [what, hex] of Object.entries(params)) {
    test(`ed25519 is known by its ${what}, its point wrapped in any way`, () => {
      const { publicKey } = generateKeyPairSync('ed25519');
      const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
      const octets = encodeDer(tag.octetString, raw);
      const bits = encodeDer(tag.bitString, Buffer.of(0), raw);
      for (const point of [raw, octets, bits]) {
        const key = ed25519PublicKey(Buffer.from(hex, 'hex'), point);
        assert.equal(key.algorithm, 'ed25519');
        assert.deepEqual(key.spki, spkiOf(publicKey));
      }
    });
  }

  test('a raw Ed25519 point that looks like a wrapping is taken as it is', () => {
    const raw = Buffer.concat([Buffer.of(4, 30), Buffer.alloc(30, 0x11)]);
    const { spki } = ed25519PublicKey(Buffer.from('06032b6570', 'hex'), raw);
    assert.deepEqual(spki.subarray(-32), raw);
  });

  test('rsa carries its modulus without leading zeros', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { n, e } = publicKey.export({ format: 'jwk' });
    const modulus = Buffer.from(n ?? '', 'base64url');
    const key = rsaPublicKey(Buffer.concat([Buffer.of(0), modulus]), Buffer.from(e ?? '', 'base64url'));
    assert.deepEqual(key.modulus, modulus);
    assert.equal(key.bits, 2048);
    assert.deepEqual(key.spki, spkiOf(publicKey));
  });

  const p256 = Buffer.from('06082a8648ce3d030107', 'hex');
  const unusable: [string, () => unknown, RegExp][] = [
    [
      'a curve that is not served',
      () => ecPublicKey(Buffer.from('06052b8104000a', 'hex'), Buffer.alloc(65, 4)),
      /none of/,
    ],
    [
      'parameters that are not a name',
      () => ecPublicKey(Buffer.from('3000', 'hex'), Buffer.alloc(65, 4)),
      /none of/,
    ],
    ['a point off the curve', () => ecPublicKey(p256, Buffer.alloc(65, 4)), /does not parse/],
    ['no point', () => ecPublicKey(p256, Buffer.alloc(0)), /does not parse/],
    ['a point that is too short', () => ecPublicKey(p256, Buffer.of(4, 1, 2)), /does not parse/],
    ['Ed448', () => ed25519PublicKey(Buffer.from('06032b6571', 'hex'), Buffer.alloc(57)), /not edwards25519/],
    [
      'an Ed25519 point of 31 bytes',
      () => ed25519PublicKey(Buffer.from('06032b6570', 'hex'), Buffer.alloc(31)),
      /does not parse/,
    ],
    ['RSA-1024', () => rsaPublicKey(Buffer.alloc(128, 0xff), Buffer.of(1, 0, 1)), /RSA-1024/],
    ['RSA-8192', () => rsaPublicKey(Buffer.alloc(1024, 0xff), Buffer.of(1, 0, 1)), /RSA-8192/],
    ['bytes that are no SubjectPublicKeyInfo', () => spkiPublicKey(Buffer.of(1, 2, 3)), /does not parse/],
    ['X25519', () => spkiPublicKey(spkiOf(generateKeyPairSync('x25519').publicKey)), /type x25519/],
    [
      'secp256k1',
      () => spkiPublicKey(spkiOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey)),
      /none of/,
    ],
  ];
  for (const [what, make, reason] of unusable) {
    test(`is refused for ${what}`, () =>
      assert.throws(make, (error) => error instanceof UnusableKeyError && reason.test(error.message)));
  }
});

void describe('DER', () => {
  test('has the shortest length in each range', () => {
    assert.equal(encodeDer(tag.octetString, Buffer.of(1, 2)).toString('hex'), '04020102');
    assert.equal(encodeDer(tag.octetString, Buffer.alloc(127)).subarray(0, 2).toString('hex'), '047f');
    assert.equal(encodeDer(tag.octetString, Buffer.alloc(128)).subarray(0, 3).toString('hex'), '048180');
    assert.equal(encodeDer(tag.octetString, Buffer.alloc(256)).subarray(0, 4).toString('hex'), '04820100');
    assert.throws(() => encodeDer(tag.octetString, Buffer.alloc(65536)), RangeError);
  });

  test('decodes exactly one element, and nothing else', () => {
    for (const length of [0, 1, 127, 128, 255, 256, 65535]) {
      const content = Buffer.alloc(length, 0x5a);
      assert.deepEqual(decodeDer(encodeDer(tag.octetString, content), tag.octetString), content);
    }
    for (const hex of [
      '',
      '04',
      '0401',
      '040102ff',
      '030101',
      '0480',
      '0481',
      '048201',
      '04830000010a',
      '04ff',
    ]) {
      assert.equal(decodeDer(Buffer.from(hex, 'hex'), tag.octetString), undefined, hex);
    }
  });
});
