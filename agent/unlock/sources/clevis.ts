/**
 * PIN source "clevis": a JWE file that Debian's clevis opens with the help of its network or its TPM (pins tang, tpm2
 * and sss; clevis(1)). Output: the PIN inside. Clevis runs as a child; nothing of ours talks to a server.
 */
import { AgentError } from '@keyagent/protocol';
import { clevisPolicy } from './clevis-policy.js';
import { pinFromLine } from './pin-line.js';
import type { PinSource } from './pin-source.js';
import { runSecretChild, type ChildEnding } from './secret-child.js';
import { openSecretFile } from './secret-file.js';

/** Its curl has no deadline of its own: a Tang server that accepts and says nothing would hold it for ever. */
const defaultTimeoutMs = 20_000;
/** Bytes; one Tang server takes less than 2 KiB. */
const jweMax = 64 * 1024;

/** No proxy, no configuration of curl, messages in English; programs only from the system's own places. */
const childEnv = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/nonexistent', LC_ALL: 'C' };

export class ClevisSource implements PinSource {
  readonly name = 'clevis';
  readonly mayRecover = true;

  /** @param file absolute path of the JWE */
  constructor(
    readonly file: string,
    readonly timeoutMs = defaultTimeoutMs,
  ) {}

  async pin(signal?: AbortSignal): Promise<Buffer> {
    const jwe = await readJwe(this.file);
    const policy = clevisPolicy(jwe.toString('latin1'));
    const ending = await runSecretChild(
      { command: 'clevis', args: ['decrypt'], env: childEnv, input: jwe, ownGroup: true },
      { signal, timeoutMs: this.timeoutMs },
    );
    if (ending.how === 'ended' && ending.status === 0) return this.#pinOf(ending.output);
    throw failed(whyNot(ending, this.file, policy), 'cause' in ending ? ending.cause : undefined);
  }

  #pinOf(output: Buffer): Buffer {
    try {
      return pinFromLine(output);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw failed(`${this.file} opens, but ${reason}; encrypt the PIN again`, cause);
    }
  }
}

async function readJwe(file: string): Promise<Buffer> {
  const handle = await openSecretFile(file, file).catch((cause: unknown) => {
    if (cause instanceof AgentError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw failed(`there is no ${file}; write it with "clevis encrypt"`, cause);
    }
    throw failed(`${file} cannot be opened (${code ?? String(cause)}); check its owner and mode`, cause);
  });
  try {
    const content = Buffer.alloc(jweMax + 1);
    const { bytesRead } = await handle.read(content, 0, content.length, 0);
    if (bytesRead > jweMax) throw failed(`${file} is longer than ${jweMax} bytes, so it holds no PIN`);
    return content.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

const noAnswer = /^Error communicating with server (\S+)$/;

function whyNot(ending: ChildEnding, file: string, policy: string | undefined): string {
  if (ending.how === 'not-started') {
    return `clevis cannot be run (${ending.cause.message}); install the package clevis`;
  }
  const silent = ending.complaint.flatMap((line) => noAnswer.exec(line)?.[1] ?? []);
  const others = ending.complaint.filter((line) => !noAnswer.test(line));
  const reasons = [...(silent.length > 0 ? [`no good answer from ${silent.join(', ')}`] : []), ...others];
  if (ending.how === 'stopped') reasons.unshift('it did not end in time');
  if (reasons.length === 0)
    reasons.push(`${file} is damaged, or was made for other servers or another machine`);
  return `clevis gave no PIN: ${reasons.join('; ')}${policy === undefined ? '' : `; it needs ${policy}`}`;
}

function failed(message: string, cause?: unknown): AgentError {
  return new AgentError('SOURCE_FAILED', message, { cause });
}
