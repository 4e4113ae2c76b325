/** The matrix, third part: servers with one thread for many connections. */
import { runMatrix } from './servers/matrix.js';

runMatrix('nginx', ['nginx', 'haproxy']);
