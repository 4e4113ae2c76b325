/** The table of client requests: one handler each. */
import { AgentError, type Request, type Result, type Method } from '@keyagent/protocol';
import type { Asker, Context } from './context.js';
import { decrypt } from './decrypt.js';
import { key } from './key.js';
import { keys } from './keys.js';
import { sign } from './sign.js';
import { status } from './status.js';

export function dispatch(request: Request, asker: Asker, context: Context): Promise<Result<Method>> {
  switch (request.method) {
    case 'sign':
      return sign(request.params, asker, context);
    case 'decrypt':
      return decrypt(request.params, asker, context);
    case 'key':
      return key(request.params, asker, context);
    case 'keys':
      return keys(request.params, asker, context);
    case 'status':
      return status(request.params, asker, context);
    case 'hello':
    case 'unlock':
    case 'prompt':
    case 'lock':
    case 'reload':
    case 'stop':
    case 'sources':
    case 'sessions':
    case 'check-access':
    case 'cards':
    case 'card-begin':
    case 'card-find':
    case 'card-give':
    case 'card-seal':
      // The codec lets through only methods of this face, and the connection answers hello itself.
      throw new AgentError('UNSUPPORTED', `${request.method} is not a client request`);
  }
}
