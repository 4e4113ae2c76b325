/** What the agent tells of its own accord about the state of a token, on a connection that asked to be notified. */
import { AgentError, type Caller, type Notice } from '@keyagent/protocol';

/** Resolves at the next state that is told of the token; rejects when the agent is lost. */
export function nextState(agent: Caller, token: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onNotice = ({ method, params }: Notice): void => {
      if (method !== 'state' || params.token !== token) return;
      release();
      resolve();
    };
    const onClose = (): void => {
      release();
      reject(new AgentError('UNAVAILABLE', 'the agent ended meanwhile; start it and try again'));
    };
    const release = (): void => {
      agent.off('notice', onNotice);
      agent.off('close', onClose);
    };
    agent.on('notice', onNotice);
    agent.on('close', onClose);
  });
}
