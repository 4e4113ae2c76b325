/** Where the tests find what the build made, and what Debian installed. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** This file is compiled to test/dist/support/paths.js. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const keyagentd = path.join(root, 'build/bin/keyagentd');
export const keyagentCommand = path.join(root, 'build/bin/keyagent');
export const providerModule = path.join(root, 'build/lib/ossl-modules/keyagent.so');
export const softHsmModule = '/usr/lib/softhsm/libsofthsm2.so';
export const apacheModules = '/usr/lib/apache2/modules';
