/** The matrix, last part: the other servers, and a client. */
import { runCurl, runMatrix } from './servers/matrix.js';

runMatrix('others', ['stunnel', 'PostgreSQL', 'openssl s_server']);
runCurl();
