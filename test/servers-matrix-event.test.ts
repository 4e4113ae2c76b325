/** The matrix, first part: Apache with threads and an event loop. */
import { runMatrix } from './servers/matrix.js';

runMatrix('apache-event', ['Apache event']);
