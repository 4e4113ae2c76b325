/** What sign and decrypt hand out: raw bytes, or with --json one document that holds them as base64. */
import { writeOutput } from './files.js';
import type { Session } from './session.js';

export async function writeResult(
  name: 'signature' | 'plaintext',
  bytes: Uint8Array,
  out: string,
  session: Session,
): Promise<void> {
  const isJson = session.options().json === true;
  const content = isJson
    ? Buffer.from(`${JSON.stringify({ [name]: Buffer.from(bytes).toString('base64') })}\n`)
    : bytes;
  // A plaintext is for the operator alone.
  await writeOutput(out, content, session.streams, name === 'plaintext' ? 0o600 : 0o666);
}
