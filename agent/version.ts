/** The version of keyagentd and keyagent: that of this package. */
import { createRequire } from 'node:module';

export const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
