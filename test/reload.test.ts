/** `keyagent reload`: the rules and tokens of the file hold as a whole, or nothing changes; nobody's request is lost. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { connectCaller, type Caller, type Result } from '@keyagent/protocol';
import type { Agent } from './support/agent.js';
import type { AgentSpec } from './support/agent-home.js';
import { auditOf } from './support/audit.js';
import { cleanupAfter } from './support/cleanup.js';
import { deploy, type Deployment } from './support/deployment.js';
import { childrenOf } from './support/proc.js';
import { waitFor } from './support/wait.js';

const keys = [{ label: 'www', type: 'EC:prime256v1' }] as const;
const rules = [{ name: 'root', keys: 'pkcs11:', users: ['root'], operations: ['sign'] }];

/** Two unlocked tokens, `web` and `spare`, that need no hands to be unlocked again. */
function deployTwo(t: TestContext, agent: Partial<AgentSpec> = {}): Promise<Deployment> {
  return deploy(cleanupAfter(t), { keys, spare: true, agent: { rules, credential: true, ...agent } });
}

async function connect(t: TestContext, agent: Agent): Promise<Caller> {
  const caller = await connectCaller(agent.socket);
  t.after(() => {
    caller.close();
  });
  return caller;
}

async function sign(caller: Caller, token: string): Promise<void> {
  const uri = `pkcs11:token=${token};object=www`;
  await caller.call('sign', { uri, alg: 'ecdsa-sha256', message: Buffer.from('message') });
}

/** As the command does, which takes a while to start. */
async function reload(agent: Agent): Promise<Result<'reload'>> {
  const operator = await connectCaller(agent.controlSocket);
  try {
    return await operator.call('reload', {});
  } finally {
    operator.close();
  }
}

function hosts({ daemon }: Agent): number[] {
  return childrenOf(daemon.pid).sort();
}

function hostOf(agent: Agent, token: string): number {
  const isOf = (pid: number): boolean =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').endsWith(`\0${token}\0`);
  const pid = hosts(agent).find(isOf);
  assert.ok(pid !== undefined);
  return pid;
}

/** Calls that fell asleep in the module so far. */
function sleeps({ counting }: Agent, name: string): number {
  return counting?.sleeps().get(name) ?? 0;
}

/** Starts something, and waits until it sleeps in a login. */
async function duringLogin<T>(agent: Agent, start: () => T, ms = 3000): Promise<T> {
  const before = sleeps(agent, 'C_Login');
  agent.counting?.setFaults(`C_Login sleep_ms=${ms}`);
  const started = start();
  await waitFor('C_Login is under way', () => sleeps(agent, 'C_Login') > before);
  return started;
}

function setSessions(agent: Agent, token: string, sessions: number): void {
  agent.configure((tables) => {
    Object.assign(tables.token.find(({ name }) => name === token) ?? {}, { sessions });
  });
}

function hashOf(agent: Agent): string {
  return `sha256:${createHash('sha256').update(readFileSync(agent.configFile)).digest('hex')}`;
}

const nothing = { rules_changed: false, added: [], removed: [], replaced: [], changed: [], settings: [] };

test('tokens come, go and are replaced; the others keep their login, their host and their connections', async (t) => {
  const { agent } = await deployTwo(t);
  const caller = await connect(t, agent);
  await sign(caller, 'web');
  await sign(caller, 'spare');
  const webHost = hostOf(agent, 'web');
  assert.equal(hosts(agent).length, 2);
  let spare: Record<string, unknown> | undefined;

  agent.configure(({ token }) => (spare = token.pop()));
  assert.deepEqual(await reload(agent), { ...nothing, rules: 1, tokens: 1, removed: ['spare'] });
  await assert.rejects(sign(caller, 'spare'), { code: 'NOT_FOUND' });
  await sign(caller, 'web');
  assert.deepEqual(
    await waitFor('the host of spare is gone', () => hosts(agent).length === 1 && hosts(agent)),
    [webHost],
  );

  agent.configure(({ token }) => {
    token.unshift(spare ?? {});
  });
  assert.deepEqual(await reload(agent), { ...nothing, rules: 1, tokens: 2, added: ['spare'] });
  assert.equal(await agent.settled('spare'), 'unlocked');
  await sign(caller, 'spare');

  agent.configure(({ token }) => {
    Object.assign(token.find(({ name }) => name === 'spare') ?? {}, { sessions: 3 });
    Object.assign(token.find(({ name }) => name === 'web') ?? {}, { lock_after: '9h', retain_pin: false });
  });
  const before = hosts(agent);
  assert.deepEqual(await reload(agent), {
    ...nothing,
    ...{ rules: 1, tokens: 2, replaced: ['spare'], changed: ['web'] },
  });
  assert.equal(await agent.settled('spare'), 'unlocked');
  await Promise.all([sign(caller, 'web'), sign(caller, 'spare')]);
  const after = hosts(agent);
  assert.deepEqual(
    after.filter((pid) => before.includes(pid)),
    [webHost],
  );
  assert.equal(after.length, 2);
  const asBefore = 'configuration read: tokens 2, rules 1 (as before)\n';
  assert.equal(await agent.mustKeyagent(['reload']), asBefore);
  agent.configure((tables) => {
    tables.agent.hold_ms = 9000;
    tables.audit.on_error = 'count';
  });
  const told = 'agent.hold_ms changed\naudit.on_error changed\n';
  assert.equal(await agent.mustKeyagent(['reload']), asBefore + told);
  assert.match(agent.daemon.log, /settings: agent\.hold_ms, audit\.on_error/);
});

test('what needs a restart, and what is wrong, changes nothing and is told and recorded', async (t) => {
  const { agent } = await deployTwo(t);
  const caller = await connect(t, agent);
  const good = readFileSync(agent.configFile, 'utf8');
  const goodHash = hashOf(agent);
  const attempt = async (change: Parameters<Agent['configure']>[0], message: RegExp): Promise<string> => {
    agent.configure((tables) => {
      // Would be seen, if only this were taken over.
      tables.rule.length = 0;
      tables.token.length = 1;
      change(tables);
    });
    const { status, stderr } = await agent.keyagent(['reload']);
    assert.match(stderr, message);
    assert.equal(status, 78);
    const hash = hashOf(agent);
    writeFileSync(agent.configFile, good);
    await sign(caller, 'web');
    await sign(caller, 'spare');
    return hash;
  };
  const fixed = (key: string): RegExp =>
    new RegExp(`keyagent\\.toml: ${key} cannot be reloaded, so nothing is changed; restart the agent`);
  const hashes = [
    await attempt(({ agent: table }) => (table.socket = '/tmp/other.sock'), fixed('agent.socket')),
    await attempt(({ agent: table }) => (table.control_mode = '0660'), fixed('agent.control_mode')),
    await attempt(({ agent: table }) => (table.sockets = [{ path: '/tmp/x' }]), fixed('agent.sockets')),
    await attempt(({ agent: table }) => (table.state_dir = '/tmp/state'), fixed('agent.state_dir')),
    await attempt(({ audit }) => (audit.file = '/tmp/audit.jsonl'), fixed('audit.file')),
    await attempt((tables) => {
      tables.agent.socket_mode = '0600';
      tables.audit.file = '/tmp/audit.jsonl';
    }, fixed('agent.socket_mode, audit.file')),
    await attempt(
      ({ token }) => Object.assign(token[0] ?? {}, { sessions: 0 }),
      /keyagent\.toml:\d+: token\.web\.sessions: /,
    ),
  ];
  const [started, ...reloads] = auditOf(agent).filter(({ event }) => event === 'start' || event === 'reload');
  assert.equal(started?.config, goodHash);
  assert.deepEqual(
    reloads.map(({ outcome, config }) => [outcome, config]),
    hashes.map((hash) => ['CONFIGURATION', hash]),
  );
  assert.equal(new Set(hashes).size, hashes.length);
});

test('rules hold from the next request on, on connections made before; what waits was decided when it came', async (t) => {
  const { agent } = await deployTwo(t, { counted: true, tokenSettings: { sessions: 1 } });
  const caller = await connect(t, agent);
  agent.counting?.setFaults('C_Sign sleep_ms=1500');
  const waiting = Array.from({ length: 8 }, () => sign(caller, 'web'));
  await waitFor('the first one is in the token', () => sleeps(agent, 'C_Sign') > 0);
  agent.configure(({ rule }) => {
    rule.splice(0, 1, { name: 'nobody', keys: 'pkcs11:', users: ['games'] });
  });
  assert.deepEqual(await reload(agent), { ...nothing, rules: 1, tokens: 2, rules_changed: true });
  await assert.rejects(sign(caller, 'web'), { code: 'DENIED' });
  agent.counting?.setFaults();
  await Promise.all(waiting);
  const records = auditOf(agent).filter(({ event }) => event === 'sign' || event === 'reload');
  assert.equal(records.filter(({ rule, outcome }) => rule === 'root' && outcome === 'ok').length, 8);
  assert.ok(
    records.findIndex(({ event }) => event === 'reload') <
      records.findLastIndex(({ rule }) => rule === 'root'),
  );
});

for (const how of ['removed', 'replaced'] as const) {
  test(`of 64 requests in flight none is lost when their token is ${how}`, async (t) => {
    const { agent } = await deployTwo(t, { counted: true, tokenSettings: { sessions: 2 } });
    const caller = await connect(t, agent);
    agent.counting?.setFaults('C_Sign sleep_ms=1000');
    let answered = 0;
    const inFlight = Array.from({ length: 64 }, () => sign(caller, 'spare').then(() => answered++));
    await waitFor('some are in the token', () => sleeps(agent, 'C_Sign') > 1);
    if (how === 'removed') agent.configure(({ token }) => token.pop());
    else setSessions(agent, 'spare', 3);
    const settled = Promise.allSettled(inFlight);
    assert.deepEqual((await reload(agent))[how], ['spare']);
    assert.ok(answered < 64, 'some are still in flight');
    agent.counting?.setFaults();
    assert.deepEqual(
      (await settled).filter(({ status }) => status === 'rejected'),
      [],
    );
    if (how === 'replaced') {
      assert.equal(await agent.settled('spare'), 'unlocked');
      await sign(caller, 'spare');
    }
    await waitFor('the old host is gone', () => hosts(agent).length === (how === 'removed' ? 1 : 2));
    const [lock] = auditOf(agent).filter(({ event }) => event === 'lock');
    assert.deepEqual([lock?.token, lock?.outcome, lock?.uid], ['spare', 'ok', process.getuid?.()]);
  });
}

test('a lock ends a token at once that leaves', async (t) => {
  const { agent } = await deployTwo(t, { counted: true, tokenSettings: { sessions: 1 } });
  const caller = await connect(t, agent);
  await sign(caller, 'spare');
  const webHost = hostOf(agent, 'web');
  agent.counting?.setFaults('C_Sign sleep_ms=60000');
  const stuck = assert.rejects(sign(caller, 'spare'), { code: 'TOKEN_ABSENT' });
  const waits = assert.rejects(sign(caller, 'spare'), { code: 'TOKEN_ABSENT' });
  await waitFor('it is in the token', () => sleeps(agent, 'C_Sign') === 1);
  agent.configure(({ token }) => token.pop());
  await reload(agent);
  assert.equal(hosts(agent).length, 2, 'what is under way keeps its host');
  await agent.mustKeyagent(['lock']);
  await Promise.all([stuck, waits]);
  await waitFor('the host is gone', () => hosts(agent).length === 1);
  assert.deepEqual(hosts(agent), [webHost]);
});

test('a login under way does not stand in a token that is replaced, and costs no PIN', async (t) => {
  const { agent, token } = await deployTwo(t, { counted: true });
  await duringLogin(agent, () => process.kill(hostOf(agent, 'web'), 'SIGKILL'));
  setSessions(agent, 'web', 3);
  assert.deepEqual((await reload(agent)).replaced, ['web']);
  agent.counting?.setFaults();
  assert.equal(await agent.settled('web'), 'unlocked', 'its PIN counts as good');

  await agent.mustKeyagent(['lock', 'web']);
  const unlock = await duringLogin(agent, () => [
    agent.keyagent(['unlock', 'web', '--stdin'], { input: `${token.pin}\n` }),
  ]);
  setSessions(agent, 'web', 4);
  await reload(agent);
  agent.counting?.setFaults();
  assert.notEqual((await unlock[0])?.status, 0);
  assert.equal(await agent.settled('web'), 'locked', 'a reload does not undo a lock');
  await agent.mustKeyagent(['unlock', 'web', '--stdin'], { input: `${token.pin}\n` });
});

/** Under the other name it is another [[token]], for the same token and with the same credential. */
function rename(agent: Agent, token: string, name: string): void {
  agent.configure((tables) => {
    const table = tables.token.find((each) => each.name === token) ?? {};
    Object.assign(table, { name, credential: `keyagent.${token}.pin` });
  });
}

test('a token that is renamed during its login waits for the end of that, and needs no hands', async (t) => {
  const { agent } = await deployTwo(t, { counted: true });
  await duringLogin(agent, () => process.kill(hostOf(agent, 'web'), 'SIGKILL'));
  rename(agent, 'web', 'www');
  const { removed, added } = await reload(agent);
  assert.deepEqual([removed, added], [['web'], ['www']]);
  agent.counting?.setFaults();
  assert.equal(await agent.settled('www'), 'unlocked');
});

test('a login that did not end in time counts under the other name too', async (t) => {
  const { agent } = await deployTwo(t, { counted: true });
  await agent.setRequestTimeout(500);
  await duringLogin(agent, () => process.kill(hostOf(agent, 'web'), 'SIGKILL'), 60_000);
  rename(agent, 'web', 'www');
  await reload(agent);
  assert.equal(await agent.settled('www'), 'pin-blocked');
  assert.match(agent.daemon.log, /no automatic login to www: web names the same token/);
  assert.equal(sleeps(agent, 'C_Login'), 1);
});

test('a stop lets a login come to its end in a token that a reload takes out of service', async (t) => {
  const { agent } = await deployTwo(t, { counted: true });
  // Less than the two seconds that a stop waits.
  await duringLogin(agent, () => process.kill(hostOf(agent, 'web'), 'SIGKILL'), 1000);
  setSessions(agent, 'web', 3);
  assert.deepEqual((await reload(agent)).replaced, ['web']);
  await agent.daemon.stop();
  agent.counting?.setFaults();
  await agent.start();
  assert.equal(await agent.settled('web'), 'unlocked', 'its PIN counts as good');
});

test('settings that need no login are taken over: a locked token asks its new source, a limit holds at once', async (t) => {
  const { agent } = await deployTwo(t, { counted: true, tokenSettings: { unlock: ['prompt'] } });
  await agent.unlock();
  const host = hostOf(agent, 'web');
  const caller = await connect(t, agent);
  agent.counting?.setFaults('C_Sign sleep_ms=600');
  agent.configure((tables) => (tables.agent.request_timeout_ms = 200));
  await reload(agent);
  await assert.rejects(sign(caller, 'web'), { code: 'TIMEOUT' });
  agent.counting?.setFaults();
  agent.configure((tables) => (tables.agent.request_timeout_ms = 10_000));
  await agent.daemon.stop();
  await agent.start();
  assert.equal(await agent.settled('web'), 'locked');
  assert.notEqual(hostOf(agent, 'web'), host);
  agent.configure((tables) => {
    for (const token of tables.token) token.unlock = ['credential', 'prompt'];
  });
  assert.deepEqual((await reload(agent)).changed, ['web', 'spare']);
  assert.equal(await agent.settled('web'), 'unlocked');
  await agent.mustKeyagent(['lock', 'web']);
  agent.configure((tables) => {
    for (const token of tables.token) token.unlock = ['credential'];
  });
  await reload(agent);
  assert.equal(await agent.settled('web'), 'locked', 'what an operator locked stays locked');
});

test('no signature waits for the users of a configuration to be looked up', async (t) => {
  const { agent } = await deployTwo(t);
  const caller = await connect(t, agent);
  const users = ['root', 'daemon', 'bin', 'sys', 'games', 'man', 'lp', 'mail', 'news', 'www-data', 'backup'];
  agent.configure(({ rule }) => {
    for (let i = 0; i < 30; i++) rule.push({ keys: 'pkcs11:object=none', users });
  });
  await sign(caller, 'web');
  const end = new AbortController();
  const loaded = reload(agent).finally(() => {
    end.abort();
  });
  let signed = 0;
  for (; !end.signal.aborted; signed++) await sign(caller, 'web');
  await loaded;
  // One before the agent has begun and one or two that come with the end would be made all the same.
  assert.ok(signed >= 10, `${signed} signatures during the reload`);
});

test('reloads at the same time are done one after another', async (t) => {
  const { agent } = await deployTwo(t);
  agent.configure(({ token }) => token.pop());
  const replies = await Promise.all([reload(agent), reload(agent), reload(agent)]);
  assert.deepEqual(replies.map(({ removed }) => removed.length).sort(), [0, 0, 1]);
});

test('an agent that stops is not reloaded', async (t) => {
  const { agent } = await deployTwo(t, { counted: true });
  const caller = await connect(t, agent);
  const operator = await connectCaller(agent.controlSocket);
  t.after(() => {
    operator.close();
  });
  agent.counting?.setFaults('C_Sign sleep_ms=1000');
  const last = sign(caller, 'web');
  await waitFor('it is in the token', () => sleeps(agent, 'C_Sign') === 1);
  agent.configure(({ token }) => token.pop());
  const stopped = operator.call('stop', {});
  const refused = assert.rejects(operator.call('reload', {}), { code: 'STOPPING' });
  await Promise.all([stopped, refused]);
  agent.daemon.signal('SIGHUP');
  await last;
  assert.equal(await agent.daemon.ended(), 0);
  assert.match(agent.daemon.log, /the agent is stopping.*the configuration is not changed/);
  assert.equal(auditOf(agent).at(-1)?.event, 'sign');
});

test('100 reloads under load lose no request and leave nothing behind', async (t) => {
  const { agent } = await deployTwo(t);
  const caller = await connect(t, agent);
  const descriptors = (): number => readdirSync(`/proc/${agent.daemon.pid}/fd`).length;
  await Promise.all([sign(caller, 'web'), sign(caller, 'spare')]);
  const before = descriptors();
  const end = new AbortController();
  let signed = 0;
  const workers = Array.from({ length: 4 }, async () => {
    for (; !end.signal.aborted; signed++) await sign(caller, 'web');
  });
  const operator = await connectCaller(agent.controlSocket);
  for (let round = 0; round < 100; round++) {
    setSessions(agent, 'spare', 1 + (round % 2));
    const { replaced } = await operator.call('reload', {}, { timeoutMs: 15_000 });
    assert.deepEqual(replaced, ['spare']);
  }
  operator.close();
  end.abort();
  await Promise.all(workers);
  assert.ok(signed >= 100, `${signed} signatures`);
  assert.equal(await agent.settled('spare'), 'unlocked');
  await sign(caller, 'spare');
  await waitFor('no host is left over', () => hosts(agent).length === 2);
  await waitFor('no descriptor is left over', () => descriptors() <= before);
  assert.doesNotMatch(agent.daemon.log, /MaxListenersExceeded|possible .* leak/i);
});
