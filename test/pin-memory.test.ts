/**
 * Where a PIN is, and for how long: scans of the whole memory of agent and host, which run as a user of their own, and
 * what that user may do to them.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { AgentError, connectCaller } from '@keyagent/protocol';
import { account, whyNotAs } from './support/account.js';
import type { Agent, AgentSpec } from './support/agent.js';
import { cleanupAfter } from './support/cleanup.js';
import { runCommand } from './support/command.js';
import { deploy } from './support/deployment.js';
import { keyagentCommand } from './support/paths.js';
import { childrenOf, mappingsWith, scanMemory, uidOf } from './support/proc.js';
import { waitFor } from './support/wait.js';

/** A user that every Debian has and that owns nothing. */
const user = account('daemon');
const runs = 10;
const skip = whyNotAs(user);

interface Scene {
  /** Unlocked; runs as `user`. */
  agent: Agent;
  pin: string;
}

async function scene(t: TestContext, retainPin: boolean, spec: Partial<AgentSpec> = {}): Promise<Scene> {
  const pin = randomBytes(9).toString('hex');
  const { agent } = await deploy(cleanupAfter(t), {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    pin,
    agent: { user, tokenSettings: { retain_pin: retainPin }, ...spec },
  });
  assert.equal(uidOf(agent.daemon.pid), user.uid);
  return { agent, pin };
}

function hostOf({ daemon }: Agent): number {
  const [host, ...others] = childrenOf(daemon.pid);
  assert.ok(host !== undefined && others.length === 0, 'the agent has one child, the host');
  return host;
}

/** The scan itself is proven: the host's memory does name the token. */
function assertNoPin({ agent, pin }: Scene): void {
  for (const pid of [agent.daemon.pid, hostOf(agent)]) {
    const name = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    const found = scanMemory(pid, {
      pin: Buffer.from(pin),
      'name of the token': Buffer.from('pkcs11:token=web'),
    });
    assert.deepEqual([...found], ['name of the token'], name);
  }
}

test(
  'without retain_pin no copy is left of a PIN that an operator gave, in ten logins',
  { skip },
  async (t) => {
    const { agent, pin } = await scene(t, false);
    for (let run = 0; run < runs; run++) {
      await agent.mustKeyagent(['lock']);
      await agent.mustKeyagent(['unlock', '--stdin'], { input: `${pin}\n` });
      assertNoPin({ agent, pin });
    }
  },
);

test('without retain_pin no copy is left of a PIN from a credential, in ten starts', { skip }, async (t) => {
  const { agent, pin } = await scene(t, false, { credential: true });
  for (let run = 0; run < runs; run++) {
    await agent.daemon.stop();
    await agent.start();
    assert.equal(await agent.settled('web'), 'unlocked');
    assertNoPin({ agent, pin });
  }
});

test('a PIN that the token refused is not left either', { skip }, async (t) => {
  const { agent } = await scene(t, true);
  await agent.mustKeyagent(['lock']);
  const wrong = randomBytes(9).toString('hex');
  assert.equal((await agent.keyagent(['unlock', '--stdin'], { input: `${wrong}\n` })).status, 77);
  assertNoPin({ agent, pin: wrong });
});

test(
  'with retain_pin the agent has it in locked memory alone, until a lock and through a host restart',
  { skip },
  async (t) => {
    const { agent, pin } = await scene(t, true);
    const kept = (): { file: string; flags: string[] }[] => mappingsWith(agent.daemon.pid, Buffer.from(pin));
    const assertKept = (): void => {
      const [place, ...others] = kept();
      assert.ok(place !== undefined && others.length === 0, JSON.stringify(kept()));
      // Locked, not dumped, wiped in a forked child.
      for (const flag of ['lo', 'dd', 'wf']) assert.ok(place.flags.includes(flag), place.flags.join(' '));
      assert.deepEqual(mappingsWith(hostOf(agent), Buffer.from(pin)), []);
    };
    assertKept();
    const host = hostOf(agent);
    process.kill(host, 'SIGKILL');
    await waitFor('another host is logged in', async () => {
      const [successor] = childrenOf(agent.daemon.pid);
      return successor !== undefined && successor !== host && (await agent.tokenState('web')) === 'unlocked';
    });
    assertKept();
    await agent.mustKeyagent(['lock']);
    assert.deepEqual(kept(), []);
  },
);

async function configureToken(agent: Agent, settings: Record<string, unknown>): Promise<void> {
  agent.configure(({ token: [web = {}] }) => Object.assign(web, settings));
  await agent.mustKeyagent(['reload']);
}

const expiries: [name: string, expire: (scene: Scene) => Promise<unknown>][] = [
  ['unlock --for', ({ agent }) => agent.mustKeyagent(['unlock', '--for', '1ms'])],
  ['lock_idle', ({ agent }) => configureToken(agent, { lock_idle: '500ms' })],
  [
    'lock_after',
    async ({ agent, pin }) => {
      await configureToken(agent, { lock_after: '500ms' });
      await agent.mustKeyagent(['lock']);
      await agent.mustKeyagent(['unlock', '--stdin'], { input: pin });
    },
  ],
];
for (const [name, expire] of expiries) {
  test(`the PIN that is kept is wiped when the time of ${name} is over`, { skip }, async (t) => {
    const here = await scene(t, true);
    const { agent, pin } = here;
    assert.equal(mappingsWith(agent.daemon.pid, Buffer.from(pin)).length, 1);
    await expire(here);
    await waitFor('the token locks', async () => (await agent.tokenState('web')) === 'locked');
    assertNoPin(here);
  });
}

test('a reload to retain_pin = false wipes it at once, and the login stays', { skip }, async (t) => {
  const here = await scene(t, true);
  const { agent, pin } = here;
  assert.equal(mappingsWith(agent.daemon.pid, Buffer.from(pin)).length, 1);
  await configureToken(agent, { retain_pin: false });
  assert.equal(await agent.tokenState('web'), 'unlocked');
  assertNoPin(here);
});

for (const how of ['keyagent stop', 'SIGTERM'] as const) {
  test(`${how} wipes it at once, while what is under way still has its time`, { skip }, async (t) => {
    const { agent, pin } = await scene(t, true, { rules: [{ keys: 'pkcs11:', users: ['root'] }] });
    const { pid } = agent.daemon;
    const [client, other, operator] = await Promise.all(
      [agent.socket, agent.socket, agent.controlSocket].map((socket) =>
        connectCaller(socket, { trustedUids: [user.uid] }),
      ),
    );
    assert.ok(client !== undefined && other !== undefined && operator !== undefined);
    t.after(() => {
      for (const caller of [client, other, operator]) caller.close();
    });
    // A signature that does not end keeps the agent.
    process.kill(hostOf(agent), 'SIGSTOP');
    const message = Buffer.from('m');
    const signing = client.call('sign', { uri: 'pkcs11:object=www', alg: 'ecdsa-sha256', message });
    signing.catch(() => undefined);
    assert.equal(mappingsWith(pid, Buffer.from(pin)).length, 1);
    if (how === 'SIGTERM') agent.daemon.signal('SIGTERM');
    else await operator.call('stop', {});
    await waitFor('the agent stops', () =>
      other.call('status', {}).then(
        () => false,
        (error: unknown) => error instanceof AgentError && error.code === 'STOPPING',
      ),
    );
    process.kill(pid, 'SIGSTOP');
    assert.deepEqual(mappingsWith(pid, Buffer.from(pin)), []);
    process.kill(pid, 'SIGCONT');
    assert.equal(await agent.daemon.ended(), 0);
    await assert.rejects(signing);
  });
}

test(
  '64 KiB of locked memory are enough; none at all is an error at start that says what to raise',
  { skip },
  async (t) => {
    const { agent, pin } = await scene(t, true, { memlock: 65_536 });
    const operator = await connectCaller(agent.controlSocket, { trustedUids: [user.uid] });
    // 64 KiB hold 128 PINs: one that is not given back each time would be one too many soon.
    for (let login = 0; login < 150; login++) {
      await operator.call('lock', {});
      await operator.call('unlock', { pin: Buffer.from(pin) });
    }
    operator.close();
    await agent.daemon.stop();
    agent.spec.memlock = 0;
    await assert.rejects(
      agent.start(),
      /ended \(exit 78\)[^]*no locked memory for a PIN .*raise LimitMEMLOCK=/,
    );
  },
);

test("an operator's command that waits for a PIN can be neither dumped nor read", { skip }, async (t) => {
  const cleanup = cleanupAfter(t);
  const { agent } = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    agent: { user },
  });
  await agent.mustKeyagent(['lock']);
  const env = { ...process.env, KEYAGENT_SOCK: agent.socket, KEYAGENT_CONTROL_SOCK: agent.controlSocket };
  for (const args of [['unlock'], ['keyring', 'set', 'web'], ['card', 'remove', 'web', 'ops1', '--pin']]) {
    const command = spawn(keyagentCommand, [...args, '--stdin'], {
      ...{ uid: user.uid, gid: user.gid },
      env,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    const proc = `/proc/${command.pid ?? NaN}`;
    await waitFor(`${args.join(' ')} is undumpable`, () => statSync(`${proc}/environ`).uid === 0);
    assert.match(readFileSync(`${proc}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    command.kill('SIGKILL');
    await once(command, 'exit');
  }
});

/** What a debugger would do first. Prints what each attempt on PID said; "self": on a child of its own. */
const tracer = `
import ctypes, errno, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
child = subprocess.Popen(["sleep", "60"]) if sys.argv[1] == "self" else None
pid = child.pid if child else int(sys.argv[1])
def said(result): return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def opened(name):
    try: return said(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
    except OSError as error: return errno.errorcode[error.errno]
PTRACE_SEIZE = 0x4206
start = int(open(f"/proc/{pid}/maps").read(12), 16) if child else 4096
buffer = ctypes.create_string_buffer(1)
local, remote = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 1), (ctypes.c_void_p * 2)(start, 1)
print("ptrace", said(libc.ptrace(PTRACE_SEIZE, pid, None, None)))
print("process_vm_readv", said(libc.process_vm_readv(pid, local, 1, remote, 1, 0)))
for name in ("mem", "maps", "environ", "auxv"): print(name, opened(name))
if child: child.kill()
`;

test(
  'its own user can neither trace agent or host nor read their memory, and no core is dumped',
  { skip },
  async (t) => {
    const { agent } = await scene(t, true);
    const trace = async (target: string): Promise<string[]> => {
      const { uid, gid } = user;
      const { stdout, stderr } = await runCommand('/usr/bin/python3', ['-c', tracer, target], {
        uid,
        gid,
        cwd: '/',
      });
      assert.equal(stderr, '');
      return stdout.trim().split('\n');
    };
    const attempts = ['ptrace', 'process_vm_readv', 'mem', 'maps', 'environ', 'auxv'];
    assert.deepEqual(
      await trace('self'),
      attempts.map((each) => `${each} done`),
      'what this user may do to its own processes',
    );
    for (const pid of [agent.daemon.pid, hostOf(agent)]) {
      const refusals = ['EPERM', 'EPERM', 'EACCES', 'EACCES', 'EACCES', 'EACCES'];
      assert.deepEqual(
        await trace(String(pid)),
        attempts.map((each, i) => `${each} ${refusals[i] ?? ''}`),
      );
      // Root's own files show that the kernel holds it for undumpable: also what core_pattern pipes to gets nothing.
      assert.equal(statSync(`/proc/${pid}/environ`).uid, 0);
      assert.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    }
  },
);
