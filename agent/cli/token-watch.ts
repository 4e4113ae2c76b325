/** What the agent tells of its own accord about the states of tokens, on a connection that asked to be notified. */
import { AgentError, type Caller, type Notice, type TokenState } from '@keyagent/protocol';

export class TokenWatch {
  readonly #agent: Caller;
  readonly #states = new Map<string, TokenState>();

  /** Before the first request that what is told is compared with. */
  constructor(agent: Caller) {
    this.#agent = agent;
    agent.on('notice', (notice) => {
      if (notice.method === 'state') this.#states.set(notice.params.token, notice.params.state);
    });
  }

  /** Aborts as soon as the token is told to be unlocked, by whomever, and when the agent is lost. */
  unlocked(token: string): AbortSignal {
    const controller = new AbortController();
    const abort = (): void => {
      controller.abort(new AgentError('CANCELLED', `${token} is unlocked already`));
    };
    if (this.#states.get(token) === 'unlocked') abort();
    this.#agent.on('notice', ({ method, params }) => {
      if (method === 'state' && params.token === token && params.state === 'unlocked') abort();
    });
    this.#agent.once('close', () => {
      controller.abort(gone());
    });
    return controller.signal;
  }

  /** Resolves at the next state that is told of the token; rejects when the agent is lost. */
  next(token: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const onNotice = ({ method, params }: Notice): void => {
        if (method !== 'state' || params.token !== token) return;
        release();
        resolve();
      };
      const onClose = (): void => {
        release();
        reject(gone());
      };
      const release = (): void => {
        this.#agent.off('notice', onNotice);
        this.#agent.off('close', onClose);
      };
      this.#agent.on('notice', onNotice);
      this.#agent.on('close', onClose);
    });
  }
}

function gone(): AgentError {
  return new AgentError('UNAVAILABLE', 'the agent ended meanwhile; start it and try again');
}
