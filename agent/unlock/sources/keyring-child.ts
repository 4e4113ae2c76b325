/**
 * The only importer of keytar: one process per operation, so that libsecret, GLib and a string that holds the
 * PIN never live in the agent. Input: argv get|set|delete SERVICE ACCOUNT, for set the PIN on standard input.
 * Output: for get the PIN on standard output; the exit status says how it went (keyring-exit.ts), standard error why.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import keytar from 'keytar';
import { keyringExit } from './keyring-exit.js';

const [operation = '', service = '', account = ''] = process.argv.slice(2);
try {
  process.exitCode = (await run()) ? keyringExit.done : keyringExit[whyNone()];
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = keyringExit.failed;
}

/** @returns false when there is nothing to get or to delete: missing, or in a locked collection */
async function run(): Promise<boolean> {
  switch (operation) {
    case 'get':
      return writePin(await keytar.getPassword(service, account));
    case 'set':
      await keytar.setPassword(service, account, readFileSync(0, 'utf8'));
      return true;
    case 'delete':
      return keytar.deletePassword(service, account);
    default:
      throw new Error(`unknown operation ${operation}`);
  }
}

function writePin(pin: string | null): boolean {
  if (pin === null) return false;
  const bytes = Buffer.from(pin, 'utf8');
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
    return true;
  } finally {
    bytes.fill(0);
  }
}

/**
 * keytar does not tell an item that is missing from one in a locked collection; the Secret Service does: its method
 * SearchItems answers with two lists of paths, the unlocked and the locked.
 */
function whyNone(): 'none' | 'locked' | 'hidden' {
  const object = ['org.freedesktop.secrets', '/org/freedesktop/secrets', 'org.freedesktop.Secret.Service'];
  const attributes = ['a{ss}', '2', 'service', service, 'account', account];
  try {
    const args = ['--user', 'call', '--', ...object, 'SearchItems', ...attributes];
    const answer = execFileSync('/usr/bin/busctl', args, { encoding: 'utf8', stdio: 'pipe', timeout: 5000 });
    const [, unlocked, locked] = /^aoao (\d+) (?:"[^"]*" )*(\d+)/.exec(answer) ?? [];
    if (unlocked !== '0') return 'hidden';
    return locked === '0' ? 'none' : 'locked';
  } catch {
    // No systemd here, or the service has gone meanwhile: then it stays untold.
    return 'hidden';
  }
}
