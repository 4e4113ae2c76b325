import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  auditFile,
  configFile,
  runtimeDir,
  stateDir,
  type Surroundings,
} from '@keyagent/agent/config/locations.js';

const cases: [
  who: string,
  around: Surroundings,
  places: [config: string, runtime: string, state: string, audit: string],
][] = [
  [
    'root',
    { euid: 0, env: { HOME: '/root', XDG_RUNTIME_DIR: '/run/user/0', XDG_CONFIG_HOME: '/root/c' } },
    ['/etc/keyagent/keyagent.toml', '/run/keyagent', '/var/lib/keyagent', '/var/log/keyagent/audit.jsonl'],
  ],
  [
    'a user',
    { euid: 1000, env: { HOME: '/home/u', XDG_RUNTIME_DIR: '/run/user/1000' } },
    [
      '/home/u/.config/keyagent/keyagent.toml',
      '/run/user/1000/keyagent',
      '/home/u/.local/state/keyagent',
      '/home/u/.local/state/keyagent/audit.jsonl',
    ],
  ],
  [
    'a user with directories of their own',
    { euid: 1000, env: { HOME: '/h', XDG_RUNTIME_DIR: '/r', XDG_CONFIG_HOME: '/c', XDG_STATE_HOME: '/s' } },
    ['/c/keyagent/keyagent.toml', '/r/keyagent', '/s/keyagent', '/s/keyagent/audit.jsonl'],
  ],
  [
    'a user with relative XDG paths, which count as unset',
    { euid: 1000, env: { HOME: '/h', XDG_RUNTIME_DIR: '/r', XDG_CONFIG_HOME: 'c', XDG_STATE_HOME: 's' } },
    [
      '/h/.config/keyagent/keyagent.toml',
      '/r/keyagent',
      '/h/.local/state/keyagent',
      '/h/.local/state/keyagent/audit.jsonl',
    ],
  ],
  [
    'a service of the system manager under its own user',
    { euid: 997, env: { INVOCATION_ID: '0123' } },
    ['/etc/keyagent/keyagent.toml', '/run/keyagent', '/var/lib/keyagent', '/var/log/keyagent/audit.jsonl'],
  ],
  [
    'a service with directories from systemd',
    {
      euid: 997,
      env: {
        INVOCATION_ID: '0123',
        RUNTIME_DIRECTORY: '/run/ka:/run/other',
        STATE_DIRECTORY: '/var/lib/ka',
        LOGS_DIRECTORY: '/var/log/ka',
      },
    },
    ['/etc/keyagent/keyagent.toml', '/run/ka', '/var/lib/ka', '/var/log/ka/audit.jsonl'],
  ],
];

describe('default places', () => {
  for (const [who, around, places] of cases) {
    it(`are known for ${who}`, () => {
      assert.deepEqual(
        [configFile(undefined, around), runtimeDir(around), stateDir(around), auditFile(around)],
        places,
      );
    });
  }

  it('end in an error that says what to set where a user has no runtime directory', () => {
    assert.throws(() => runtimeDir({ euid: 1000, env: { HOME: '/h' } }), {
      code: 'CONFIGURATION',
      message: /XDG_RUNTIME_DIR is not set.*set it, or KEYAGENT_SOCK, or agent\.socket/,
    });
  });

  it('are overruled by the option, then by KEYAGENT_CONFIG', () => {
    const around = { euid: 0, env: { KEYAGENT_CONFIG: '/env.toml' } };
    assert.equal(configFile('/option.toml', around), '/option.toml');
    assert.equal(configFile(undefined, around), '/env.toml');
    assert.equal(
      configFile(undefined, { euid: 0, env: { KEYAGENT_CONFIG: '' } }),
      '/etc/keyagent/keyagent.toml',
    );
  });
});
