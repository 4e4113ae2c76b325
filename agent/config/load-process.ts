/** The process of load-aside.ts. Input: the file's name; output: one message. */
import { native } from '../native/index.js';
import { tryLoad } from './load.js';

native.dieWithParent();
const [, , file = ''] = process.argv;
process.send?.(tryLoad(file));
