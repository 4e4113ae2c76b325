/**
 * Whether time tells a good TLS premaster from a bad one: npm run report:timing [-- SAMPLES]. Ten classes of bad padding
 * and a good one take turns, through the agent, and as raw RSA in the token alone, in this process: what differs there is
 * the token's own.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { connectCaller } from '@keyagent/protocol';
import pkcs11js from 'pkcs11js';
import { Cleanup } from '../support/cleanup.js';
import { deploy, type Deployment } from '../support/deployment.js';
import { softHsmModule } from '../support/paths.js';
import { ciphertextOf, classes } from '../support/premasters.js';
import { median, welchT } from './statistics.js';

/** Microseconds by class. */
export type Times = Record<string, number[]>;

type Decrypt = (ciphertext: Buffer) => Promise<void> | void;

/** Ciphertexts of a class that take turns. */
const perClass = 50;

/** @param samples of all classes together */
export async function measure(publicKey: KeyObject, samples: number, decrypt: Decrypt): Promise<Times> {
  const names = Object.keys(classes);
  const pool = names.map((name) => Array.from({ length: perClass }, () => ciphertextOf(name, publicKey)));
  const times: Times = Object.fromEntries(names.map((name) => [name, []]));
  for (let i = 0; i < samples; i++) {
    // Each round begins with another class, so that none always follows the same one.
    const round = Math.floor(i / names.length);
    const which = (i + round * 7) % names.length;
    const ciphertext = pool[which]?.[round % perClass];
    if (ciphertext === undefined) throw new Error('no ciphertext');
    const startedAt = process.hrtime.bigint();
    await decrypt(ciphertext);
    times[names[which] ?? '']?.push(Number(process.hrtime.bigint() - startedAt) / 1000);
  }
  return times;
}

/** One line for each class: its median, how far from the good one's, and Welch's t. */
export function table(times: Times): string {
  const good = times['good'] ?? [];
  const rows = Object.entries(times).map(([name, each]) => {
    const apart = ((median(each) - median(good)) / median(good)) * 100;
    const t =
      name === 'good'
        ? ''
        : `${apart.toFixed(2).padStart(7)} %  t ${welchT(each, good).toFixed(1).padStart(5)}`;
    return `  ${name.padEnd(40)} ${median(each).toFixed(1).padStart(9)} us ${t}`;
  });
  return `${rows.join('\n')}\n`;
}

export async function deployForTiming(cleanup: Cleanup): Promise<Deployment> {
  return deploy(cleanup, {
    keys: [{ label: 'www', type: 'rsa:2048' }],
    agent: { rules: [{ name: 'all', keys: 'pkcs11:', users: [process.getuid?.() ?? 0] }] },
  });
}

export async function throughAgent(deployment: Deployment, samples: number): Promise<Times> {
  const caller = await connectCaller(deployment.agent.socket);
  const versions = { client_version: 0x0303, negotiated_version: 0x0303 };
  const fixed = { uri: deployment.uri('www', 'private'), alg: 'rsa-pkcs1-tls', ...versions } as const;
  try {
    return await measure(publicKeyOf(deployment), samples, async (ciphertext) => {
      await caller.call('decrypt', { ...fixed, ciphertext }, { timeoutMs: 60_000 });
    });
  } finally {
    caller.close();
  }
}

/** The raw private key operation, by the module in this process. */
export async function inToken(deployment: Deployment, samples: number): Promise<Times> {
  const { token, agent } = deployment;
  Object.assign(process.env, agent.spec.hsm.env);
  const module = new pkcs11js.PKCS11();
  module.load(softHsmModule);
  module.C_Initialize();
  const slot = module.C_GetSlotList(true)[0];
  if (slot === undefined) throw new Error('no slot');
  const session = module.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION);
  try {
    module.C_Login(session, pkcs11js.CKU_USER, token.pin);
    module.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY }]);
    const [key] = module.C_FindObjects(session, 1);
    module.C_FindObjectsFinal(session);
    if (key === undefined) throw new Error('no key');
    const output = Buffer.alloc(256);
    return await measure(publicKeyOf(deployment), samples, (ciphertext) => {
      module.C_DecryptInit(session, { mechanism: pkcs11js.CKM_RSA_X_509 }, key);
      module.C_Decrypt(session, ciphertext, output);
    });
  } finally {
    module.C_Finalize();
    module.close();
  }
}

function publicKeyOf({ token }: Deployment): KeyObject {
  return createPublicKey(readFileSync(token.key('www').publicKeyFile));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const samples = Number(process.argv[2] ?? 100_000);
  const cleanup = new Cleanup();
  try {
    const deployment = await deployForTiming(cleanup);
    process.stdout.write(
      `through the agent, ${samples} samples:\n${table(await throughAgent(deployment, samples))}`,
    );
    process.stdout.write(
      `raw RSA in the token, ${samples} samples:\n${table(await inToken(deployment, samples))}`,
    );
  } finally {
    await cleanup.run();
  }
}
