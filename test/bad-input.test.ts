/** Everything that a user or a hostile peer gets wrong: an error that says what to do, and an agent that serves on. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FrameReader, decodeReply, encodeRequest, errorCode, limits, type Reply } from '@keyagent/protocol';
import { Cleanup } from './support/cleanup.js';
import { runCommand, type CommandResult } from './support/command.js';
import { deploy, type Deployment } from './support/deployment.js';
import { frameStorm } from './support/frame-storm.js';
import { keyagentd, root, softHsmModule } from './support/paths.js';

const cleanup = new Cleanup();
let deployment: Deployment;

before(async () => {
  const rules = [{ name: 'me', keys: 'pkcs11:', users: [userInfo().username] }];
  deployment = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    spare: true,
    agent: { rules },
  });
});
after(() => cleanup.run());

const sign = (uri: string, ...more: string[]): Promise<CommandResult> =>
  deployment.agent.keyagent(['sign', '--key', uri, '--alg', 'ecdsa-sha256', ...more], { input: 'message' });

async function assertServes(): Promise<void> {
  const { status, stderr } = await sign('pkcs11:token=web;object=www');
  assert.equal(status, 0, stderr);
}

/** One line that names what is wrong. */
function assertRefused(result: CommandResult, status: number, ...texts: (string | RegExp)[]): void {
  assert.equal(result.status, status, result.stderr);
  assert.match(result.stderr, /^[^\n]+\n$/, 'one line');
  for (const text of texts) {
    if (typeof text === 'string') assert.ok(result.stderr.includes(text), result.stderr);
    else assert.match(result.stderr, text);
  }
}

test('an unknown key is named, and where to look', async () => {
  assertRefused(await sign('pkcs11:token=web;object=nobody'), 65, 'object=nobody', 'keyagent keys');
  await assertServes();
});

test('an ambiguous URI lists its candidates', async () => {
  assertRefused(await sign('pkcs11:object=www'), 65, 'token=web', 'token=spare');
  const { status, stderr } = await sign('pkcs11:object=www', '--json');
  assert.equal(status, 65);
  const { error } = JSON.parse(stderr) as { error: { code: string } };
  assert.equal(error.code, 'AMBIGUOUS');
  await assertServes();
});

for (const query of [
  // No hash in the audit log can hold it.
  'pin-value=zq-pin',
  'pin-source=file:/etc/pin',
  'module-path=/tmp/evil.so',
  'module-name=evil',
]) {
  const attribute = query.split('=', 1)[0] ?? '';
  test(`${attribute} in a client's URI is refused by its name and not acted upon`, async () => {
    const result = await sign(`pkcs11:token=web;object=www?${query}`);
    assertRefused(result, 65, attribute);
    const said =
      result.stderr + deployment.agent.daemon.log + readFileSync(deployment.agent.auditFile, 'utf8');
    assert.equal(said.includes('zq-pin'), false, 'a PIN in a URI is not repeated');
    await assertServes();
  });
}

for (const uri of [
  'www',
  'pkcs11:object=%zz',
  'pkcs11:object=a;object=b',
  'pkcs12:object=www',
  `pkcs11:object=${'x'.repeat(2000)}`,
]) {
  test(`the malformed URI ${uri.slice(0, 30)} is refused`, async () => {
    assertRefused(await sign(uri), 65);
    await assertServes();
  });
}

test('an ALG that does not exist is a usage error, one that is not for the key is bad data', async () => {
  const run = (alg: string): Promise<CommandResult> =>
    deployment.agent.keyagent(['sign', '--key', 'pkcs11:token=web;object=www', '--alg', alg], { input: 'm' });
  assertRefused(await run('md5'), 64, 'md5');
  assertRefused(await run('rsa-pss-sha256'), 65, 'rsa-pss');
  await assertServes();
});

test('a wrong PIN is said once, is not retried, and leaves the other token alone', async () => {
  const { agent } = deployment;
  await agent.mustKeyagent(['lock', 'spare']);
  const before = await logins('spare');
  const result = await agent.keyagent(['unlock', 'spare', '--stdin'], { input: 'wrong-pin\n' });
  assertRefused(result, 77, 'PIN');
  assert.equal(result.stderr.includes('wrong-pin'), false);
  assert.equal(await logins('spare'), before);
  await assertServes();
  await agent.mustKeyagent(['unlock', 'spare', '--stdin'], { input: '9508-pin\n' });
});

async function logins(token: string): Promise<number> {
  const { tokens } = JSON.parse(await deployment.agent.mustKeyagent(['status', '--json'])) as {
    tokens: { name: string; logins: number }[];
  };
  return tokens.find(({ name }) => name === token)?.logins ?? -1;
}

interface Malformed {
  readonly name: string;
  readonly face: 'client' | 'control';
  readonly direction: 'request' | 'reply' | 'notice';
  readonly hex: string;
  readonly code: string;
  readonly fatal: boolean;
  readonly id: number;
}

const malformed = (
  JSON.parse(readFileSync(path.join(root, 'protocol/vectors/malformed.json'), 'utf8')) as Malformed[]
).filter(({ direction }) => direction !== 'reply');

test('each vector of malformed frames gets its error, and the agent serves on', async () => {
  assert.ok(malformed.length >= 30, String(malformed.length));
  const { socket, controlSocket } = deployment.agent;
  for (const vector of malformed) {
    const reply = await sendRaw(
      vector.face === 'client' ? socket : controlSocket,
      Buffer.from(vector.hex, 'hex'),
    );
    const code = reply !== undefined && 'error' in reply ? errorCode(reply.error.code) : undefined;
    assert.equal(code, vector.code, vector.name);
  }
  await assertServes();
});

test('ten thousand generated frames end in an error, a reply or nothing, and the agent serves on', async (t) => {
  const { socket, controlSocket, daemon } = deployment.agent;
  const seed = Date.now() % 0x7fff_ffff;
  const sockets = { client: socket, control: controlSocket };
  const storm = await frameStorm({ sockets, frames: 10_000, seed });
  t.diagnostic(`seed ${seed}: ${JSON.stringify(storm)}`);
  assert.ok(daemon.running);
  assert.equal(storm['INTERNAL'], undefined, daemon.log);
  for (const answer of ['MALFORMED', 'TOO_LARGE', 'nothing']) assert.ok((storm[answer] ?? 0) > 100, answer);
  await assertServes();
});

/** Says hello, then these bytes; answers the first reply after that of hello, or undefined at the end. */
async function sendRaw(path: string, bytes: Buffer): Promise<Reply | undefined> {
  const socket = connect(path);
  await once(socket, 'connect');
  socket.write(encodeRequest({ id: 0xffff_ffff, method: 'hello', params: { min: 1, max: 1 } }));
  socket.write(bytes);
  socket.end();
  const reader = new FrameReader(limits.frame);
  const replies: Reply[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    for (const body of reader.push(chunk)) {
      replies.push(decodeReply(body, (id) => (id === 0xffff_ffff ? 'hello' : 'status')) as Reply);
    }
  }
  return replies.find(({ id }) => id !== 0xffff_ffff);
}

/** Starts keyagentd with this configuration and waits for its end. */
function startWith(text: string): Promise<CommandResult> {
  const file = path.join(deployment.folder, 'bad.toml');
  writeFileSync(file, text, { mode: 0o644 });
  return runCommand(keyagentd, ['--config', file], { timeoutMs: 20_000 });
}

const frame = (): string =>
  `[agent]\nsocket = "${deployment.folder}/run2/agent.sock"\ncontrol_socket = "${deployment.folder}/run2/control.sock"\n` +
  `state_dir = "${deployment.folder}/state2"\n`;
const token = `[[token]]\nname = "web"\nmodule = "${softHsmModule}"\nuri = "pkcs11:token=web"\n`;

const configurations: [string, () => string, (string | RegExp)[]][] = [
  ['not TOML', () => 'this is = = not\n', [/bad\.toml:1/]],
  ['an unknown key', () => `${frame()}colour = "red"\n${token}`, [/bad\.toml:5/, 'colour']],
  ['a wrong type', () => `${frame()}${token}sessions = "many"\n`, [/bad\.toml:9/, 'sessions']],
  ['no token', frame, ['token']],
  [
    'an unknown user',
    () => `${frame()}${token}[[rule]]\nkeys = "pkcs11:"\nusers = ["no-such-user"]\n`,
    [/bad\.toml:11/, 'no-such-user'],
  ],
  ['a rule for nobody', () => `${frame()}${token}[[rule]]\nkeys = "pkcs11:"\n`, [/bad\.toml:9/, 'users']],
  [
    'a malformed URI',
    () => `${frame()}${token.replace('pkcs11:token=web', 'pkcs11:tok%zz')}`,
    [/bad\.toml:8/, 'uri'],
  ],
  [
    'a relative module',
    () => `${frame()}${token.replace(softHsmModule, 'softhsm.so')}`,
    [/bad\.toml:7/, 'module'],
  ],
];

for (const [name, text, says] of configurations) {
  test(`a configuration with ${name} ends the start with 78 and says where`, async () => {
    assertRefused(await startWith(text()), 78, ...says);
  });
}

test('a configuration that is missing, or that others may write, ends the start with 78', async () => {
  const missing = path.join(deployment.folder, 'missing.toml');
  assertRefused(await runCommand(keyagentd, ['--config', missing]), 78, missing);
  const loose = path.join(deployment.folder, 'loose.toml');
  writeFileSync(loose, frame() + token);
  chmodSync(loose, 0o666);
  assertRefused(await runCommand(keyagentd, ['--config', loose]), 78, loose);
});

test('a module that is missing or is not PKCS#11 is told in status, and the other token works', async () => {
  const notModule = path.join(deployment.folder, 'not-pkcs11.so');
  copyFileSync('/lib/x86_64-linux-gnu/libz.so.1', notModule);
  const { agent } = deployment;
  const text = readFileSync(agent.configFile, 'utf8');
  for (const [module, word] of [
    [path.join(deployment.folder, 'missing.so'), 'missing.so'],
    [notModule, 'not-pkcs11.so'],
  ] as const) {
    const spare = text.lastIndexOf(`module = "${softHsmModule}"`);
    const broken = text.slice(0, spare) + text.slice(spare).replace(softHsmModule, module);
    await agent.daemon.stop();
    writeFileSync(agent.configFile, broken);
    await agent.start();
    await agent.mustKeyagent(['unlock', 'web', '--stdin'], { input: '7412-pin\n' });
    await assertServes();
    const result = await agent.keyagent(['unlock', 'spare', '--stdin'], { input: '9508-pin\n' });
    assert.notEqual(result.status, 0);
    assert.ok(result.stderr.includes(word), result.stderr);
    const status = await agent.mustKeyagent(['status']);
    assert.match(status, /spare\s+failed/);
  }
});
