/** Runs a command to its end and keeps what it printed. */
import { spawn } from 'node:child_process';
import { buffer } from 'node:stream/consumers';

export interface CommandOptions {
  /** Written to standard input, which is then closed; default: empty. */
  input?: string | Uint8Array;
  /** Added to the environment of the test; undefined removes a variable. */
  env?: Record<string, string | undefined>;
  cwd?: string;
  uid?: number;
  gid?: number;
  timeoutMs?: number;
}

export interface CommandResult {
  /** Exit code; a command that a signal ended throws instead. */
  status: number;
  stdout: string;
  /** What `stdout` was before it was read as UTF-8. */
  bytes: Buffer;
  stderr: string;
}

export async function runCommand(
  command: string,
  args: readonly string[],
  { input = '', env, timeoutMs = 60_000, ...options }: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(command, args, {
    ...options,
    env: { ...process.env, ...env },
    stdio: 'pipe',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const status = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code !== null) resolve(code);
      else reject(new Error(`${command} ${args.join(' ')}: ended by ${String(signal)}`));
    });
  });
  // A command that ends without reading its input is judged by its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code, stdout, stderr] = await Promise.all([status, buffer(child.stdout), buffer(child.stderr)]);
  return { status: code, stdout: stdout.toString(), bytes: stdout, stderr: stderr.toString() };
}

/** As runCommand, and fails with what it printed unless it exits with 0. */
export async function mustRun(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const result = await runCommand(command, args, options);
  if (result.status !== 0) {
    const said = `${result.stderr}${result.stdout}`.trim();
    throw new Error(`${command} ${args.join(' ')}: exit ${result.status}\n${said}`);
  }
  return result;
}
