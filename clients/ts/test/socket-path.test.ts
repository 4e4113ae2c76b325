import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Surroundings } from '../socket-path.js';

// Not part of the package's face, so loaded from where it is built.
const { socketPath } = (await import(
  new URL('../../dist/socket-path.js', import.meta.url).href
)) as typeof import('../socket-path.js');

const system = '/run/keyagent/agent.sock';
const named = { KEYAGENT_SOCK: '/named.sock', XDG_RUNTIME_DIR: '/run/user/1000' };
const user = { XDG_RUNTIME_DIR: '/run/user/1000' };

function around(env: NodeJS.ProcessEnv, existing: readonly string[], isSetUid = false): Surroundings {
  return { env, isSetUid, exists: (path) => existing.includes(path) };
}

const choices: readonly [
  name: string,
  given: string | undefined,
  surroundings: Surroundings,
  path: string,
][] = [
  ['what the program says, before all', '/given.sock', around(named, [system]), '/given.sock'],
  ['KEYAGENT_SOCK, before the defaults', undefined, around(named, [system]), '/named.sock'],
  ["the system's agent, if it is there", undefined, around(user, [system]), system],
  ["else the user's", undefined, around(user, []), '/run/user/1000/keyagent/agent.sock'],
  ["the system's, where there is no runtime directory", undefined, around({}, []), system],
  ['an empty variable is none', undefined, around({ KEYAGENT_SOCK: '', XDG_RUNTIME_DIR: '' }, []), system],
  ['a set-user-ID program does not believe its environment', undefined, around(named, [], true), system],
];

test('the socket is', async (t) => {
  for (const [name, given, surroundings, path] of choices) {
    await t.test(name, () => assert.equal(socketPath(given, surroundings), path));
  }
});

test('a relative path, or one that does not fit, is refused', () => {
  const longest = `/${'a'.repeat(106)}`;
  assert.equal(socketPath(longest, around({}, [])), longest);
  for (const path of ['', 'agent.sock', './agent.sock', `${longest}a`, `/${'é'.repeat(54)}`]) {
    assert.throws(() => socketPath(path, around({}, [])), { code: 'INVALID' }, path);
  }
  assert.throws(() => socketPath(undefined, around({ KEYAGENT_SOCK: 'agent.sock' }, [])), {
    code: 'INVALID',
  });
});
