import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { derSignature } from '@keyagent/agent/request/ecdsa-der.js';

const table: [string, string, string][] = [
  ['small values lose their zeros', '00000001' + '00000002', '3006020101020102'],
  ['a high bit gets a zero in front', '80000000' + '7fffffff', '300d02050080000000' + '02047fffffff'],
  ['zero stays one byte', '0000' + '0001', '3006020100020101'],
];

for (const [name, rs, der] of table) {
  test(`ECDSA in DER: ${name}`, () => {
    assert.equal(derSignature(Buffer.from(rs, 'hex')).toString('hex'), der);
  });
}

for (const namedCurve of ['P-256', 'P-384', 'P-521']) {
  test(`ECDSA in DER: OpenSSL verifies converted ${namedCurve} signatures`, () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    for (let i = 0; i < 200; i++) {
      const message = Buffer.from(`message ${String(i)}`);
      const rs = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      assert.equal(verify('sha256', message, publicKey, derSignature(rs)), true);
    }
  });
}
