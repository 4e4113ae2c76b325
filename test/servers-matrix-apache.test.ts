/** The matrix, second part: Apache with threads, and with a process for each connection. */
import { runMatrix } from './servers/matrix.js';

runMatrix('apache-others', ['Apache worker', 'Apache prefork']);
