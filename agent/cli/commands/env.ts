/** `keyagent env`: the sockets as shell lines, for `eval "$(keyagent env)"`. */
import path from 'node:path';
import type { Command } from 'commander';
import type { Session } from '../session.js';

export function addEnv(program: Command, session: Session): void {
  program
    .command('env')
    .description('print shell lines that name the socket')
    .action(async () => {
      const { client, control } = session.sockets;
      const variables: Record<string, string> = { KEYAGENT_SOCK: client };
      if (control !== path.join(path.dirname(client), 'control.sock'))
        variables.KEYAGENT_CONTROL_SOCK = control;
      const lines = Object.entries(variables).map(
        ([name, value]) => `${name}=${shellWord(value)}; export ${name};\n`,
      );
      await session.print(variables, lines.join(''));
    });
}

function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
