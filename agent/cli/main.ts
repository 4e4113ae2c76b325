/** The keyagent command: argv and environment in, exit status out. */
import { surroundings } from '../config/locations.js';
import { run } from './program.js';

/** As a shell reports SIGPIPE, which Node ignores. */
const brokenPipe = 141;

// `keyagent keys | head -1` closes our output early: there is nobody left to tell. Every other failure of a write is
// reported by whoever wrote.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  if (code === 'EPIPE') process.exit(brokenPipe);
});

process.exitCode = await run(process.argv.slice(2), process, surroundings());
