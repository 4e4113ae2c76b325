/** The command line of keyagentd. Input: argv without node and script. Output: options, or how to exit at once. */
import { Command, CommanderError, Option } from 'commander';

export interface DaemonOptions {
  /** undefined: KEYAGENT_CONFIG or the default place. */
  config: string | undefined;
  logFormat: 'json' | 'pretty';
  checkConfig: boolean;
}

/** Help, version or a usage error has been written; the process ends with this status. */
export interface DaemonExit {
  exitCode: 0 | 64;
}

export function parseDaemonOptions(
  argv: readonly string[],
  version: string,
  write: { out: (text: string) => void; err: (text: string) => void } = {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  },
): DaemonOptions | DaemonExit {
  const command = new Command('keyagentd')
    .description('Logs in to PKCS#11 tokens and signs for other processes over a Unix socket.')
    .option('--config <file>', 'configuration (default: KEYAGENT_CONFIG, then /etc/keyagent/keyagent.toml)')
    .addOption(
      new Option('--log-format <format>', 'form of the log').choices(['json', 'pretty']).default('json'),
    )
    .option('--check-config', 'read the configuration, say what is wrong or odd about it, and exit')
    .version(`keyagentd ${version}`)
    .allowExcessArguments(false)
    .configureOutput({ writeOut: write.out, outputError: () => undefined })
    .exitOverride();
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { exitCode: 0 };
    write.err(
      `keyagentd: ${error.message.replace(/^error: /, '').replace(/\.$/, '')}; see keyagentd --help\n`,
    );
    return { exitCode: 64 };
  }
  const { config, logFormat, checkConfig } = command.opts<{
    config?: string;
    logFormat: 'json' | 'pretty';
    checkConfig?: true;
  }>();
  return { config, logFormat, checkConfig: checkConfig ?? false };
}
