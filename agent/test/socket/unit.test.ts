import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unitOf } from '@keyagent/agent/socket/unit.js';

const paths: [string, string | undefined][] = [
  ['/system.slice/apache2.service', 'apache2.service'],
  ['/system.slice/apache2.service/workers', 'apache2.service'],
  ['/system.slice/system-postgresql.slice/postgresql@15-main.service', 'postgresql@15-main.service'],
  ['/web.slice/web-front.slice/nginx.service', 'nginx.service'],
  [
    '/machine.slice/systemd-nspawn@x.service/payload/system.slice/apache2.service',
    'systemd-nspawn@x.service',
  ],
  // Names that others may give.
  ['/user.slice/user-5.slice/user@5.service/app.slice/apache2.service', undefined],
  ['/user.slice/apache2.service', undefined],
  ['/system.slice/user@5.service/apache2.service', undefined],
  ['/system.slice/other.service/apache2.service', 'other.service'],
  ['/system.slice/docker-0123.scope/system.slice/apache2.service', undefined],
  ['/docker/0123/system.slice/apache2.service', undefined],
  ['/apache2.service', undefined],
  ['/../apache2.service', undefined],
  ['/../system.slice/apache2.service', undefined],
  ['/user.slice/user-5.slice/session-2.scope', undefined],
  ['/init.scope', undefined],
  ['/system.slice', undefined],
  ['/', undefined],
];
for (const [path, unit] of paths) {
  test(`a process in ${path} belongs to ${unit ?? 'no service'}`, () => {
    assert.equal(unitOf(`0::${path}\n`), unit);
  });
}

test('only the unified hierarchy counts', () => {
  const old = '9:name=systemd:/system.slice/apache2.service\n8:pids:/system.slice/apache2.service\n';
  assert.equal(unitOf(old), undefined);
  assert.equal(unitOf(`${old}0::/\n`), undefined);
  assert.equal(unitOf(`${old}0::/system.slice/nginx.service\n`), 'nginx.service');
  assert.equal(unitOf(''), undefined);
});
