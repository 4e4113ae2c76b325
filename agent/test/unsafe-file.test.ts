import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, beforeEach, describe, it } from 'node:test';
import { refuseUnsafeFile, refuseUnsafeModule } from '@keyagent/agent/unsafe-file.js';

const isRoot = process.geteuid?.() === 0;

describe('refuseUnsafeFile', () => {
  const base = mkdtempSync(path.join(tmpdir(), 'keyagent-unsafe-'));
  const directory = path.join(base, 'etc');
  const file = path.join(directory, 'keyagent.toml');
  beforeEach(() => {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { mode: 0o755 });
    writeFileSync(file, 'x', { mode: 0o644 });
  });
  after(() => rmSync(base, { recursive: true }));

  it("accepts the owner's own file in the owner's own directory", () => {
    refuseUnsafeFile(file);
  });

  it('refuses a directory that others may write, sticky or not', () => {
    for (const mode of [0o775, 0o757, 0o1777]) {
      chmodSync(directory, mode);
      assert.throws(() => refuseUnsafeFile(file), {
        code: 'CONFIGURATION',
        message: /etc: mode .* lets others write/,
      });
    }
  });

  it(
    'refuses a file of another user, and accepts it for that user',
    { skip: !isRoot && 'only root can give files away' },
    () => {
      chownSync(file, 33, 33);
      assert.throws(() => refuseUnsafeFile(file), { code: 'CONFIGURATION', message: /belongs to uid 33/ });
      refuseUnsafeFile(file, 33);
      assert.throws(() => refuseUnsafeFile(file, 34), { code: 'CONFIGURATION', message: /root or uid 34/ });
    },
  );

  it('refuses the directory of another user', { skip: !isRoot && 'only root can give files away' }, () => {
    chownSync(directory, 33, 33);
    assert.throws(() => refuseUnsafeFile(file), { code: 'CONFIGURATION', message: /etc: belongs to uid 33/ });
  });

  it('refuses a file below a directory that others can swap, and accepts one below a sticky one', () => {
    try {
      chmodSync(base, 0o777);
      assert.throws(() => refuseUnsafeFile(file), {
        code: 'CONFIGURATION',
        message: /: mode 0777 lets others/,
      });
      chmodSync(base, 0o1777);
      if (isRoot) refuseUnsafeFile(file);
    } finally {
      chmodSync(base, 0o700);
    }
  });

  it(
    'refuses one below a directory of another user',
    { skip: !isRoot && 'only root can give files away' },
    () => {
      chownSync(base, 33, 33);
      try {
        assert.throws(() => refuseUnsafeFile(file), {
          code: 'CONFIGURATION',
          message: /: belongs to uid 33/,
        });
      } finally {
        chownSync(base, 0, 0);
      }
    },
  );

  it('looks at both directories of a link', () => {
    const open = path.join(base, 'open');
    mkdirSync(open);
    try {
      chmodSync(open, 0o777);
      writeFileSync(path.join(open, 'target.toml'), 'x', { mode: 0o644 });
      symlinkSync(path.join(open, 'target.toml'), path.join(directory, 'to-open.toml'));
      symlinkSync(file, path.join(open, 'from-open.toml'));
      assert.throws(() => refuseUnsafeFile(path.join(directory, 'to-open.toml')), {
        code: 'CONFIGURATION',
        message: /open: mode/,
      });
      assert.throws(() => refuseUnsafeFile(path.join(open, 'from-open.toml')), {
        code: 'CONFIGURATION',
        message: /open: mode/,
      });
    } finally {
      rmSync(open, { recursive: true });
    }
  });

  it('follows every link of the way: none may be for others to change', () => {
    const between = path.join(base, 'between');
    mkdirSync(between);
    try {
      symlinkSync(directory, path.join(between, 'etc'));
      symlinkSync('between/etc', path.join(base, 'first'));
      const way = `${base}/first/../etc/./keyagent.toml`;
      refuseUnsafeFile(way);
      chmodSync(between, 0o777);
      assert.throws(() => refuseUnsafeFile(way), { code: 'CONFIGURATION', message: /between: mode 0777/ });
      chmodSync(between, 0o1777);
      if (!isRoot) return;
      refuseUnsafeFile(way);
      lchownSync(path.join(between, 'etc'), 33, 33);
      assert.throws(() => refuseUnsafeFile(way), {
        code: 'CONFIGURATION',
        message: /etc: belongs to uid 33/,
      });
    } finally {
      rmSync(between, { recursive: true });
      rmSync(path.join(base, 'first'));
    }
  });

  it('says of a module what is at stake, and nothing of one that is not there', () => {
    refuseUnsafeModule(file);
    refuseUnsafeModule(path.join(directory, 'none'));
    refuseUnsafeModule(path.join(directory, 'none/at-all'));
    refuseUnsafeModule(path.join(file, 'below-a-file'));
    symlinkSync('round', path.join(directory, 'round'));
    refuseUnsafeModule(path.join(directory, 'round'));
    chmodSync(file, 0o775);
    assert.throws(() => refuseUnsafeModule(file), {
      code: 'CONFIGURATION',
      message:
        /keyagent\.toml: mode 0775 lets others write to it; chmod go-w it: whoever can .* gets the PIN$/,
    });
  });

  it('refuses a module that is not there where others could put one', () => {
    const shared = path.join(base, 'shared');
    mkdirSync(shared);
    try {
      chmodSync(shared, 0o777);
      assert.throws(() => refuseUnsafeModule(path.join(shared, 'none.so')), {
        code: 'CONFIGURATION',
        message: /shared: mode 0777 lets others write to it/,
      });
      symlinkSync(path.join(shared, 'none.so'), path.join(base, 'link.so'));
      assert.throws(() => refuseUnsafeModule(path.join(base, 'link.so')), { code: 'CONFIGURATION' });
      if (!isRoot) return;
      chmodSync(shared, 0o1777);
      assert.throws(() => refuseUnsafeModule(path.join(shared, 'none.so')), {
        code: 'CONFIGURATION',
        message: /none\.so: is not there, and anybody can make it/,
      });
    } finally {
      rmSync(shared, { recursive: true });
      rmSync(path.join(base, 'link.so'), { force: true });
    }
  });

  it('refuses what is not a file', () => {
    assert.throws(() => refuseUnsafeFile(directory), {
      code: 'CONFIGURATION',
      message: /not a regular file/,
    });
    assert.throws(() => refuseUnsafeFile(path.join(directory, 'none')), {
      code: 'CONFIGURATION',
      message: /no such file/,
    });
  });
});
