/**
 * A million generated frames on the sockets of one agent: npm run report:frames, or that with a number of frames and a seed.
 * Fails if the agent crashes, hangs, or says what is no reply.
 */
import { userInfo } from 'node:os';
import { Cleanup } from '../support/cleanup.js';
import { deploy } from '../support/deployment.js';
import { frameStorm } from '../support/frame-storm.js';
import { residentKiB } from '../support/proc.js';

const frames = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? Date.now() % 0x7fff_ffff);
const steps = 10;

async function main(cleanup: Cleanup): Promise<void> {
  const rules = [{ keys: 'pkcs11:object=www', users: [userInfo().username] }];
  const { agent } = await deploy(cleanup, {
    keys: [{ label: 'www', type: 'EC:prime256v1' }],
    agent: { rules },
  });
  const { pid } = agent.daemon;
  process.stdout.write(`${frames} frames from seed ${seed}; the agent has ${residentKiB(pid)} KiB\n`);
  const sockets = { client: agent.socket, control: agent.controlSocket };
  for (let step = 1; step <= steps; step++) {
    const startedAt = performance.now();
    const storm = await frameStorm({ sockets, frames: frames / steps, seed: seed + step });
    const seconds = (performance.now() - startedAt) / 1000;
    const answers = Object.entries(storm).map(([answer, count]) => `${answer} ${count}`);
    process.stdout.write(
      `${(step * frames) / steps}: ${seconds.toFixed(0)} s, ${residentKiB(pid)} KiB; ${answers.join(', ')}\n`,
    );
    if (storm['INTERNAL'] !== undefined || !agent.daemon.running) throw new Error(agent.daemon.log);
  }
  await agent.mustKeyagent(['sign', '--key', 'pkcs11:object=www', '--alg', 'ecdsa-sha256'], { input: 'm' });
}

const cleanup = new Cleanup();
await main(cleanup).finally(() => cleanup.run());
