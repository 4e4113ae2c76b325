/**
 * keyagentd. Builds every layer in the order in which a request meets them: configuration, audit, tokens, unlock broker,
 * request handlers, sockets. This page is where to start reading.
 */
import { AgentError } from '@keyagent/protocol';
import { Agent } from './agent.js';
import { checkConfig } from './check-config.js';
import { configFile } from './config/locations.js';
import { loadAside } from './config/load-aside.js';
import { loadConfig } from './config/load.js';
import { createLog, type Log } from './log.js';
import { native } from './native/index.js';
import { parseDaemonOptions, type DaemonOptions } from './options.js';
import { notifySystemd, takeInheritedSockets } from './socket/systemd.js';
import { secretBytes, wipe } from './unlock/secret-bytes.js';
import { version } from './version.js';

/** sysexits(3). */
const EX_SOFTWARE = 70;
const EX_CONFIG = 78;

async function main(): Promise<void> {
  const options = parseDaemonOptions(process.argv.slice(2), version);
  if ('exitCode' in options) {
    process.exitCode = options.exitCode;
    return;
  }
  native.hardenProcess();
  // Node answers SIGUSR1 by opening its inspector on a TCP port, unless somebody listens for the signal.
  process.on('SIGUSR1', () => undefined);
  if (options.checkConfig) {
    const lines = checkConfig(loadConfig(configFile(options.config)));
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    return;
  }
  await serve(options, createLog(options.logFormat));
}

async function serve(options: DaemonOptions, log: Log): Promise<void> {
  // Better now than when an operator comes with a PIN.
  wipe(secretBytes(1));
  const file = configFile(options.config);
  const agent = new Agent(loadConfig(file), () => loadAside(file), log);
  // Before the sockets answer: who waits for them may end the agent at once.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      void agent.stop(signal);
    });
  }
  process.on('SIGHUP', () => {
    agent.reload().catch((error: unknown) => {
      log.error('the configuration is not changed', { error });
    });
  });
  await agent.listen(takeInheritedSockets(process.env));
  notifySystemd('READY=1');
  log.info(`keyagentd ${version} is ready`, { pid: process.pid });
  void agent.openTokens();
  await agent.stopped;
  // A module that hangs must not keep the process: hosts were killed, nothing of ours waits.
  process.exit(0);
}

function failed(error: unknown): void {
  if (error instanceof AgentError && error.code === 'CONFIGURATION') {
    process.stderr.write(`keyagentd: ${error.message}\n`);
    process.exit(EX_CONFIG);
  }
  process.stderr.write(
    `keyagentd: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  process.exit(EX_SOFTWARE);
}

main().catch(failed);
