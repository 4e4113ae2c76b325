/** The keyagent command: argv and environment in, exit status out. */
import { surroundings } from '../config/locations.js';
import { run } from './program.js';

// `keyagent keys | head -1` closes our output early; there is nobody left to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await run(process.argv.slice(2), process, surroundings());
