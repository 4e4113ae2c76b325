import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { sendToJournal } from '@keyagent/agent/audit/journal.js';
import { auditUri, beginning, lineHash, recordLine, type AuditRecord } from '@keyagent/agent/audit/record.js';
import { signed } from './scratch-log.js';

const time = '2026-01-31T12:00:00.000Z';

describe('a record', () => {
  it('is one line of JSON with the number and the hash of the line before', () => {
    assert.equal(
      recordLine({ seq: 41, hash: 'ab'.repeat(32) }, time, {
        ...signed,
        cause: 'CKR_DEVICE_ERROR',
        outcome: 'TOKEN_ERROR',
      }),
      `{"seq":42,"prev":"${'ab'.repeat(32)}","time":"${time}","event":"sign","uid":33,"gid":33,"pid":4711,` +
        '"key":"pkcs11:token=web;object=www","alg":"ecdsa-sha256","mechanism":"ecdsa","rule":"apache",' +
        '"outcome":"TOKEN_ERROR","cause":"CKR_DEVICE_ERROR","queue_us":12,"token_us":345}',
    );
  });

  it('tells how sure it is of what runs behind a peer', () => {
    const peer = {
      uid: 33,
      gid: 33,
      pid: 4711,
      exe: '/usr/sbin/apache2',
      unit: 'apache2.service',
      sure: 'pidfd',
    };
    const line = recordLine(beginning, time, { event: 'lock', outcome: 'ok', peer });
    assert.match(line, /"exe":"\/usr\/sbin\/apache2","unit":"apache2\.service","sure":"pidfd"/);
  });

  it('stays one line whatever a name holds', () => {
    const line = recordLine(beginning, time, { ...signed, rule: 'a\nb\u2028"c\ud800', token: '\u0000' });
    assert.doesNotMatch(line, /\n/);
    assert.equal((JSON.parse(Buffer.from(line).toString()) as { rule: string }).rule, 'a\nb\u2028"c\ud800');
  });

  it('leaves out what an object has besides', () => {
    const peer = { uid: 33, gid: 33, pid: 4711, groups: [44], pin: '1234' };
    const record = {
      ...signed,
      peer,
      pin: Buffer.from('1234'),
      digest: new Uint8Array(32),
      message: 'secret',
    };
    assert.equal(recordLine(beginning, time, record), recordLine(beginning, time, signed));
  });

  it('has no field for a PIN, a message, a digest or a plaintext', () => {
    // The compiler checks these; each line fails the build if the field takes bytes or exists.
    const secret = new Uint8Array(32);
    const refused: AuditRecord[] = [
      // @ts-expect-error no such field
      { event: 'unlock', outcome: 'ok', pin: '1234' },
      // @ts-expect-error no such field
      { event: 'sign', outcome: 'ok', digest: secret },
      // @ts-expect-error no such field
      { event: 'sign', outcome: 'ok', message: secret },
      // @ts-expect-error no such field
      { event: 'decrypt', outcome: 'ok', plaintext: secret },
      // @ts-expect-error a name is not bytes
      { event: 'sign', outcome: 'ok', rule: secret },
      // @ts-expect-error it takes not any text
      { event: 'sign', outcome: 'TOKEN_ERROR', cause: 'whatever an error said' },
      // @ts-expect-error it takes not any text
      { event: 'sign', outcome: 'ok', key: '1234' },
    ];
    assert.equal(refused.length, 7);
  });

  it('is hashed with SHA-256, as sha256sum does', () => {
    for (const line of ['', 'x', 'ü€', 'x'.repeat(5000)]) {
      assert.equal(lineHash(line), createHash('sha256').update(line).digest('hex'));
      assert.equal(lineHash(Buffer.from(line)), lineHash(line));
    }
  });
});

describe('the URI of a refused request', () => {
  const cases: [uri: string, recorded: string | undefined][] = [
    ['pkcs11:token=web;object=www', 'pkcs11:token=web;object=www'],
    ['PKCS11:token=web;slot-id=3;library-version=1.2', 'pkcs11:token=web;slot-id=3;library-version=1.2'],
    ['pkcs11:object=www?pin-value=1234', 'pkcs11:object=www'],
    ['pkcs11:object=www?module-path=/tmp/x.so', 'pkcs11:object=www'],
    ['pkcs11:object=www;pin-value=1234', 'pkcs11:object=www'],
    ['pkcs11:pin-value=1234', 'pkcs11:'],
    ['pkcs11:1234', 'pkcs11:'],
    ['keyagent:www', 'keyagent:www'],
    ['keyagent:www?pin-value=1234', 'keyagent:www'],
    ['1234', undefined],
    ['http://1234', undefined],
    ['', undefined],
  ];
  for (const [uri, recorded] of cases) {
    it(`is recorded without what is no selector: "${uri}"`, () => assert.equal(auditUri(uri), recorded));
  }
});

describe('the journal', () => {
  it('gets the head as one datagram of fields', () => {
    const sent: [string, string][] = [];
    sendToJournal((...datagram) => sent.push(datagram))({ seq: 42, hash: 'ab'.repeat(32) });
    const head = `42:${'ab'.repeat(32)}`;
    assert.deepEqual(sent, [
      [
        '/run/systemd/journal/socket',
        `MESSAGE=audit head ${head}\nPRIORITY=5\nSYSLOG_IDENTIFIER=keyagentd\nKEYAGENT_AUDIT_HEAD=${head}\n`,
      ],
    ]);
  });
});
