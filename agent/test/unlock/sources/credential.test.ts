import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CredentialSource } from '@keyagent/agent/unlock/sources/credential.js';

describe('credential source', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'keyagent-credential-'));
  });
  after(() => rm(directory, { recursive: true }));

  async function source(content: string | Buffer, mode = 0o400): Promise<CredentialSource> {
    const file = path.join(directory, 'keyagent.web.pin');
    await rm(file, { recursive: true, force: true });
    await writeFile(file, content);
    await chmod(file, mode);
    return new CredentialSource('keyagent.web.pin', directory);
  }

  const contents: [name: string, content: string, pin: string][] = [
    ['the bytes as they are', '1234', '1234'],
    ['without one trailing newline', '1234\n', '1234'],
    ['with its blanks', ' 12 34 \n', ' 12 34 '],
    ['with a carriage return', '1234\r\n', '1234\r'],
    ['of the longest length', `${'x'.repeat(256)}\n`, 'x'.repeat(256)],
  ];
  for (const [name, content, pin] of contents) {
    it(`gives ${name}`, async () => {
      assert.equal((await (await source(content)).pin()).toString('latin1'), pin);
    });
  }

  const refused: [name: string, content: string, message: RegExp][] = [
    ['an empty file', '', /the PIN is empty/],
    ['a file that is only a newline', '\n', /the PIN is empty/],
    ['two lines', '1234\n5678\n', /must be one line/],
    ['two trailing newlines', '1234\n\n', /must be one line/],
    ['a PIN that is too long', 'x'.repeat(257), /longer than 256 bytes/],
    ['a file that is far too long', 'x'.repeat(5000), /longer than 256 bytes/],
  ];
  for (const [name, content, message] of refused) {
    it(`refuses ${name}`, async () => {
      await assert.rejects((await source(content)).pin(), { code: 'SOURCE_FAILED', message });
    });
  }

  it('accepts the modes of systemd', async () => {
    assert.equal((await (await source('1234', 0o440)).pin()).toString(), '1234');
  });

  for (const mode of [0o444, 0o404, 0o420, 0o402]) {
    it(`refuses mode ${mode.toString(8)}`, async () => {
      await assert.rejects((await source('1234', mode)).pin(), {
        code: 'SOURCE_FAILED',
        message: /chmod 0400/,
      });
    });
  }

  it(
    'refuses a file of another user',
    { skip: process.geteuid?.() !== 0 && 'only root can give files away' },
    async () => {
      const other = await source('1234');
      await chown(path.join(directory, 'keyagent.web.pin'), 33, 33);
      await assert.rejects(other.pin(), { code: 'SOURCE_FAILED', message: /belongs to uid 33/ });
    },
  );

  it('follows no link', async () => {
    const linked = await source('1234');
    await symlink(path.join(directory, 'keyagent.web.pin'), path.join(directory, 'link'));
    await assert.rejects(new CredentialSource('link', linked.directory).pin(), {
      code: 'SOURCE_FAILED',
      message: /ELOOP/,
    });
  });

  it('refuses a directory', async () => {
    await mkdir(path.join(directory, 'dir'));
    await assert.rejects(new CredentialSource('dir', directory).pin(), {
      code: 'SOURCE_FAILED',
      message: /not a regular file/,
    });
  });

  it('tells no credentials, no directory and no such credential apart', async () => {
    const cases: [directory: string | undefined, message: RegExp][] = [
      ['', /was given no credentials; add LoadCredential=keyagent\.db\.pin:FILE/],
      [path.join(directory, 'missing'), /CREDENTIALS_DIRECTORY=.*missing does not exist/],
      [directory, /there is no credential keyagent\.db\.pin; add LoadCredential=/],
    ];
    for (const [given, message] of cases) {
      await assert.rejects(new CredentialSource('keyagent.db.pin', given).pin(), {
        code: 'SOURCE_FAILED',
        message,
      });
    }
  });

  it('says nothing of the PIN in its errors', async () => {
    await assert.rejects(
      (await source('top-secret\nx')).pin(),
      (error: Error) => !String(error.stack).includes('top-secret'),
    );
  });
});
