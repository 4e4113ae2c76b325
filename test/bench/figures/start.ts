/** How soon an agent is there: exec to both sockets listening, and unlock to the first signature. */
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { connect } from '@keyagent/client';
import { connectCaller } from '@keyagent/protocol';
import { startAgent, type Agent } from '../../support/agent.js';
import { makeAuthority } from '../../support/authority.js';
import { Cleanup } from '../../support/cleanup.js';
import { scratchFolder } from '../../support/scratch.js';
import { softHsmModule } from '../../support/paths.js';
import { SoftHsm, type Token } from '../../support/softhsm.js';
import { twentyRules } from '../field.js';
import type { Figure } from '../figure.js';
import { runSigner } from '../signer.js';

export async function startFigures(cleanup: Cleanup, { rounds }: { rounds: number }): Promise<Figure[]> {
  const folder = scratchFolder(cleanup);
  const hsm = new SoftHsm(folder, await makeAuthority(folder));
  const token = await hsm.makeToken('bench', [{ label: 'p256', type: 'EC:prime256v1' }]);
  return [
    {
      id: 'agent-start',
      title: 'keyagentd from exec to listening',
      unit: 'ms',
      rounds,
      contenders: [
        { name: 'keyagent', measure: () => withAgent(hsm, token, (_agent, listenedMs) => listenedMs) },
      ],
      targets: [{ of: 'keyagent', atMost: 400 }],
    },
    {
      id: 'unlock-to-signature',
      title: 'Unlock to the first signature, beyond C_Login',
      unit: 'ms',
      rounds,
      contenders: [
        {
          name: 'keyagent',
          measure: () => withAgent(hsm, token, (agent) => unlockToSignature(agent, hsm, token)),
        },
      ],
      targets: [{ of: 'keyagent', atMost: 100 }],
    },
  ];
}

async function withAgent<T>(
  hsm: SoftHsm,
  token: Token,
  work: (agent: Agent, listenedMs: number) => T | Promise<T>,
): Promise<T> {
  const own = new Cleanup();
  try {
    const rules = twentyRules([userInfo().username]);
    const begin = performance.now();
    const agent = await startAgent(own, {
      folder: scratchFolder(own),
      hsm,
      tokens: [token],
      ...(rules && { rules }),
    });
    return await work(agent, performance.now() - begin);
  } finally {
    await own.run();
  }
}

/** The connections are there before, as a server's are. */
async function unlockToSignature(agent: Agent, hsm: SoftHsm, token: Token): Promise<number> {
  await agent.settled(token.label);
  const client = await connect({ socket: agent.socket });
  const operator = await connectCaller(agent.controlSocket);
  const key = await client.key('pkcs11:object=p256');
  const begin = performance.now();
  await operator.call('unlock', { pin: Buffer.from(token.pin) }, { timeoutMs: 30_000 });
  await key.sign('ecdsa-sha256', Buffer.from('first'));
  const tookMs = performance.now() - begin;
  client.close();
  operator.close();
  return tookMs - (await loginMs(agent.spec.folder, hsm, token));
}

/** C_Login of the same token in a process of its own. */
async function loginMs(folder: string, hsm: SoftHsm, token: Token): Promise<number> {
  const pinFile = path.join(folder, 'pin');
  writeFileSync(pinFile, `${token.pin}\n`, { mode: 0o600 });
  const { loginUs } = await runSigner(
    {
      target: 'pkcs11',
      alg: 'ecdsa-sha256',
      spki: token.key('p256').publicKeyFile,
      module: softHsmModule,
      token: token.label,
      key: 'p256',
      pinFile,
      env: hsm.env,
    },
    { processes: 1, threads: 1, ms: 50 },
  );
  return loginUs / 1000;
}
