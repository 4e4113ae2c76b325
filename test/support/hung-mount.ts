/**
 * Loaded before an agent and its hosts: a look at the path that the file $KEYAGENT_TEST_HUNG_PATH holds takes for ever, as
 * on a network mount whose server is gone. A FIFO beside that file, which nobody writes to, keeps it in the kernel.
 */
import fs, { openSync, readFileSync, readSync, type PathLike, type StatSyncOptions } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { lstatSync } = fs;
const { KEYAGENT_TEST_HUNG_PATH: file = '' } = process.env;

Object.assign(fs, {
  lstatSync: (path: PathLike, options?: StatSyncOptions) => {
    if (path === readFileSync(file, 'utf8')) readSync(openSync(`${file}.fifo`, 'r+'), Buffer.alloc(1));
    return lstatSync(path, options);
  },
});
syncBuiltinESMExports();
