/** Looks at a socket, and at the name under which it is made, as often as it can; prints which modes it saw. */
import { existsSync, lstatSync } from 'node:fs';

const [socket = '', stop = ''] = process.argv.slice(2);
const names = [socket, `${socket}.new`];
const modes: Record<string, number> = {};
process.stdout.write('watching\n');
while (!existsSync(stop)) {
  for (let i = 0; i < 200; i++) {
    for (const name of names) {
      const stat = lstatSync(name, { throwIfNoEntry: false });
      if (stat === undefined) continue;
      const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
      modes[mode] = (modes[mode] ?? 0) + 1;
    }
  }
}
process.stdout.write(JSON.stringify({ modes }));
