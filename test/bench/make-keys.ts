/** Fills a SoftHSM token with P-256 keys, as fast as it makes them: pkcs11-tool takes a process and a login for each. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pkcs11js from 'pkcs11js';
import { softHsmModule } from '../support/paths.js';
import type { SoftHsm, Token } from '../support/softhsm.js';

interface Task {
  label: string;
  pin: string;
  keys: number;
}

/** DER of prime256v1. */
const curve = Buffer.from('06082a8648ce3d030107', 'hex');

/** In a child, because the module reads its configuration from the environment. */
export async function makeKeys(hsm: SoftHsm, { label, pin }: Token, keys: number): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), { env: { ...process.env, ...hsm.env } });
  child.send({ label, pin, keys } satisfies Task);
  const [status] = (await once(child, 'exit')) as [number | null];
  if (status !== 0) throw new Error(`the keys were not made: exit ${String(status)}`);
}

function fill({ label, pin, keys }: Task): void {
  const library = new pkcs11js.PKCS11();
  library.load(softHsmModule);
  library.C_Initialize();
  const slot = library
    .C_GetSlotList(true)
    .find((each) => library.C_GetTokenInfo(each).label.trim() === label);
  if (slot === undefined) throw new Error(`no token ${label}`);
  const session = library.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
  library.C_Login(session, pkcs11js.CKU_USER, pin);
  for (let i = 0; i < keys; i++) {
    const name = [
      { type: pkcs11js.CKA_TOKEN, value: true },
      { type: pkcs11js.CKA_LABEL, value: `bulk-${i}` },
      { type: pkcs11js.CKA_ID, value: Buffer.from(`bulk-${i}`) },
    ];
    library.C_GenerateKeyPair(
      session,
      { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN },
      [...name, { type: pkcs11js.CKA_EC_PARAMS, value: curve }, { type: pkcs11js.CKA_VERIFY, value: true }],
      [...name, { type: pkcs11js.CKA_PRIVATE, value: true }, { type: pkcs11js.CKA_SIGN, value: true }],
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', (task: Task) => {
    fill(task);
    process.exit(0);
  });
}
