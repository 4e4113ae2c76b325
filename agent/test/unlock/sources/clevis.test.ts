/** The file and the child; what depends on Tang servers is in the end-to-end tests. clevis's pin "null" needs no server. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { clevisPolicy } from '@keyagent/agent/unlock/sources/clevis-policy.js';
import { ClevisSource } from '@keyagent/agent/unlock/sources/clevis.js';

function encrypt(pin: string): string {
  return execFileSync('clevis', ['encrypt', 'null', '{}'], { input: pin, encoding: 'latin1' });
}

describe('clevis source', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'keyagent-clevis-'));
  });
  after(() => rm(directory, { recursive: true }));

  async function source(content: string, mode = 0o400): Promise<ClevisSource> {
    const file = path.join(directory, 'web.pin.jwe');
    await rm(file, { recursive: true, force: true });
    await writeFile(file, content);
    await chmod(file, mode);
    return new ClevisSource(file);
  }

  for (const [name, content, pin] of [
    ['the bytes as they are', '12 34', '12 34'],
    ['without one trailing newline', '1234\n', '1234'],
    ['of the longest length', 'x'.repeat(256), 'x'.repeat(256)],
  ] as const) {
    it(`gives the PIN ${name}`, async () => {
      assert.equal((await (await source(encrypt(content))).pin()).toString('latin1'), pin);
    });
  }

  for (const [name, content, message] of [
    ['an empty PIN', '', /opens, but the PIN is empty; encrypt the PIN again/],
    ['two lines', '1234\n5678\n', /opens, but the PIN must be one line/],
    ['a PIN that is too long', 'x'.repeat(257), /opens, but the PIN is longer than 256 bytes/],
    ['what is far too long', 'x'.repeat(100_000), /longer than 65536 bytes, so it holds no PIN/],
  ] as const) {
    it(`refuses ${name}`, async () => {
      await assert.rejects((await source(encrypt(content))).pin(), { code: 'SOURCE_FAILED', message });
    });
  }

  it('takes nothing of a file that was changed, though clevis prints it before it finds out', async () => {
    const jwe = encrypt('1234');
    const [header, key, iv, ciphertext, tag = ''] = jwe.split('.');
    const other = tag.startsWith('A') ? 'B' : 'A';
    const changed = [header, key, iv, ciphertext, `${other}${tag.slice(1)}`].join('.');
    await assert.rejects((await source(changed)).pin(), {
      code: 'SOURCE_FAILED',
      message: /clevis gave no PIN: .*web\.pin\.jwe is damaged, or was made for other servers/,
    });
  });

  for (const [name, content] of [
    ['no JWE', 'garbage'],
    ['a JWE that is cut', encrypt('1234').slice(0, -40)],
    ['an empty file', ''],
  ] as const) {
    it(`says that ${name} gave no PIN`, async () => {
      await assert.rejects((await source(content)).pin(), {
        code: 'SOURCE_FAILED',
        message: /^clevis gave no PIN: ./,
      });
    });
  }

  it('passes on what clevis says', async () => {
    const header = Buffer.from('{"clevis":{"pin":"nobody-wrote-this"}}').toString('base64url');
    await assert.rejects((await source(`${header}.a.b.c.d`)).pin(), {
      code: 'SOURCE_FAILED',
      message: /Unable to locate pin 'nobody-wrote-this'!/,
    });
  });

  for (const mode of [0o444, 0o404, 0o420, 0o660]) {
    it(`refuses mode ${mode.toString(8)}`, async () => {
      await assert.rejects((await source(encrypt('1234'), mode)).pin(), {
        code: 'SOURCE_FAILED',
        message: /chmod 0400/,
      });
    });
  }

  it(
    'refuses a file of another user',
    { skip: process.geteuid?.() !== 0 && 'only root can give files away' },
    async () => {
      const other = await source(encrypt('1234'));
      await chown(other.file, 33, 33);
      await assert.rejects(other.pin(), { code: 'SOURCE_FAILED', message: /belongs to uid 33/ });
    },
  );

  it('follows no link, reads no directory, and says what is missing', async () => {
    const real = await source(encrypt('1234'));
    const link = path.join(directory, 'link.jwe');
    await symlink(real.file, link);
    await mkdir(path.join(directory, 'dir.jwe'));
    const cases: [file: string, message: RegExp][] = [
      [link, /link\.jwe cannot be opened \(ELOOP\)/],
      [path.join(directory, 'dir.jwe'), /not a regular file/],
      [path.join(directory, 'none.jwe'), /there is no .*none\.jwe; write it with "clevis encrypt"/],
    ];
    for (const [file, message] of cases) {
      await assert.rejects(new ClevisSource(file).pin(), { code: 'SOURCE_FAILED', message });
    }
  });

  it('ends at its deadline when a server accepts and says nothing, and leaves no process behind', async (t) => {
    const { url, connected } = await silentServer(t);
    const { file } = await source(tangJwe(await mkdtemp(`${directory}/keys-`), url));
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const pin = new ClevisSource(file, 1500).pin();
    const peer = await connected;
    const hungUp = new Promise<void>((resolve) => peer.once('close', () => resolve()));
    t.mock.timers.tick(1500);
    await assert.rejects(pin, {
      code: 'SOURCE_FAILED',
      message: `clevis gave no PIN: it did not end in time; it needs Tang server ${url}`,
    });
    // Its curl held the connection.
    await hungUp;
  });

  it('stops waiting when the signal says so', async (t) => {
    const { url, connected } = await silentServer(t);
    const { file } = await source(tangJwe(await mkdtemp(`${directory}/keys-`), url));
    const stop = new AbortController();
    const pin = assert.rejects(new ClevisSource(file).pin(stop.signal), { code: 'SOURCE_FAILED' });
    const peer = await connected;
    const hungUp = new Promise<void>((resolve) => peer.once('close', () => resolve()));
    stop.abort();
    await pin;
    await hungUp;
    await assert.rejects(new ClevisSource(file).pin(AbortSignal.abort()), { code: 'SOURCE_FAILED' });
  });
});

describe('what a JWE needs', () => {
  const jwe = (clevis: object): string =>
    `${Buffer.from(JSON.stringify({ alg: 'dir', clevis })).toString('base64url')}.k.i.c.t`;
  const tang = (url: string): string => jwe({ pin: 'tang', tang: { url, adv: {} } });

  it('is told for Tang, TPM and thresholds of them', () => {
    assert.equal(clevisPolicy(tang('http://a')), 'Tang server http://a');
    assert.equal(clevisPolicy(jwe({ pin: 'tpm2', tpm2: {} })), "this machine's TPM");
    const two = jwe({
      pin: 'sss',
      sss: { t: 2, jwe: [tang('http://a'), jwe({ pin: 'tpm2' }), jwe({ pin: 'x' })] },
    });
    assert.equal(clevisPolicy(two), "2 of 3 (Tang server http://a, this machine's TPM, an unknown pin)");
  });

  it('is not told for what is no JWE of clevis', () => {
    for (const text of [
      '',
      '.',
      'garbage',
      '!!!.a.b',
      jwe({ pin: 'null' }),
      jwe({ pin: 'sss', sss: {} }),
      tang('http://a').slice(9),
    ]) {
      assert.equal(clevisPolicy(text), undefined, text);
    }
  });

  it('is not searched deeper than a few levels', () => {
    let nested = tang('http://a');
    for (let level = 0; level < 6; level++) nested = jwe({ pin: 'sss', sss: { t: 1, jwe: [nested] } });
    assert.equal(clevisPolicy(nested), '1 of 1 (1 of 1 (1 of 1 (1 of 1 (an unknown pin))))');
  });
});

/** A server that accepts connections and never says a word. */
async function silentServer(t: TestContext): Promise<{ url: string; connected: Promise<Socket> }> {
  const open = new Set<Socket>();
  let resolve: (socket: Socket) => void;
  const connected = new Promise<Socket>((each) => (resolve = each));
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.resume();
    resolve(socket);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { url: `http://127.0.0.1:${address.port}`, connected };
}

/** A JWE that the keys in `folder` open, behind `url`. tangd talks HTTP on standard input: no server is needed for that. */
function tangJwe(folder: string, url: string): string {
  execFileSync('/usr/libexec/tangd-keygen', [folder], { stdio: 'ignore' });
  const reply = execFileSync('/usr/libexec/tangd', [folder], {
    input: 'GET /adv HTTP/1.1\r\n\r\n',
    stdio: ['pipe', 'pipe', 'ignore'],
    encoding: 'latin1',
  });
  const adv = JSON.parse(reply.slice(reply.indexOf('\r\n\r\n'))) as object;
  const settings = JSON.stringify({ url, adv });
  return execFileSync('clevis', ['encrypt', 'tang', settings], { input: '1234', encoding: 'latin1' });
}
