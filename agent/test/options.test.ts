import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDaemonOptions, type DaemonExit, type DaemonOptions } from '@keyagent/agent/options.js';

function parse(...argv: string[]): { result: DaemonOptions | DaemonExit; out: string; err: string } {
  let out = '';
  let err = '';
  const result = parseDaemonOptions(argv, '1.2.3', {
    out: (text) => (out += text),
    err: (text) => (err += text),
  });
  return { result, out, err };
}

describe('keyagentd options', () => {
  it('have defaults', () => {
    assert.deepEqual(parse().result, { config: undefined, logFormat: 'json', checkConfig: false });
  });

  it('are read', () => {
    assert.deepEqual(parse('--config', '/a.toml', '--log-format=pretty', '--check-config').result, {
      config: '/a.toml',
      logFormat: 'pretty',
      checkConfig: true,
    });
  });

  it('print version and help and end with 0', () => {
    const version = parse('--version');
    assert.deepEqual([version.result, version.out], [{ exitCode: 0 }, 'keyagentd 1.2.3\n']);
    const help = parse('--help');
    assert.deepEqual(help.result, { exitCode: 0 });
    assert.match(help.out, /--check-config/);
  });

  for (const argv of [['--bogus'], ['--config'], ['--log-format', 'xml'], ['start']]) {
    it(`end with 64 and one line for ${argv.join(' ')}`, () => {
      const { result, out, err } = parse(...argv);
      assert.deepEqual([result, out], [{ exitCode: 64 }, '']);
      assert.match(err, /^keyagentd: [^\n]+; see keyagentd --help\n$/);
    });
  }
});
