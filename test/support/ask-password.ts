/** The answering side of systemd-ask-password(1): what an agent of it sees and does (systemd.io/PASSWORD_AGENTS). */
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { mustRun } from './command.js';
import { waitFor } from './wait.js';

const folder = '/run/systemd/ask-password';

export interface Question {
  id: string;
  message: string;
  /** "0": what is typed is not shown. */
  echo: string;
  /** Takes the answer. */
  socket: string;
}

/** What this machine lacks for asking this way. */
export function whyNotAsk(): string | undefined {
  try {
    accessSync(folder, constants.W_OK);
    return undefined;
  } catch {
    return `nobody but root may ask in ${folder}`;
  }
}

/** Those that wait now whose message mentions `about`, such as a serial number. */
export function questions(about: string): Question[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith('ask.'))
    .flatMap((name) => readQuestion(path.join(folder, name)))
    .filter(({ message }) => message.includes(about));
}

export function oneQuestion(about: string): Promise<Question> {
  return waitFor(`a question about ${about}`, () => questions(about)[0]);
}

export async function answerQuestion({ socket }: Question, password: string): Promise<void> {
  await mustRun('/lib/systemd/systemd-reply-password', ['1', socket], { input: password });
}

export async function cancelQuestion({ socket }: Question): Promise<void> {
  await mustRun('/lib/systemd/systemd-reply-password', ['0', socket]);
}

function readQuestion(file: string): Question[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    // Withdrawn meanwhile.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const field = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  return [{ id: field('Id'), message: field('Message'), echo: field('Echo'), socket: field('Socket') }];
}
