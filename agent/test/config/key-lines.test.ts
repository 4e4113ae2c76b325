import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeyLines, type KeyPath } from '@keyagent/agent/config/key-lines.js';

const text = `# comment with [table] and key = 1
title = "a # b [[token]]"  # [[token]]
[agent]
socket = '/a'
list = [
  "[x]", # ]
  { sessions = 1 },
]
after.dotted.key = 1

text = """
[fake]
name = "fake"
"quoted" \\""" still
"""
raw = '''
[[token]]
''''
[[token]]
name = "one"
"quoted key" = 1
  [token.env]
  A = "1"
[[token]]
name = "two"
[token.env]
A = "2"
[other."a.b"]
c = 1
`;

describe('KeyLines', () => {
  const lines = new KeyLines(text);
  const cases: [path: KeyPath, line: number][] = [
    [['title'], 2],
    [['agent'], 3],
    [['agent', 'socket'], 4],
    [['agent', 'list'], 5],
    [['agent', 'list', 1, 'sessions'], 5],
    [['agent', 'after', 'dotted', 'key'], 9],
    [['agent', 'after'], 9],
    [['agent', 'text'], 11],
    [['agent', 'raw'], 16],
    [['token'], 19],
    [['token', 0], 19],
    [['token', 0, 'name'], 20],
    [['token', 0, 'quoted key'], 21],
    [['token', 0, 'env', 'A'], 23],
    [['token', 1], 24],
    [['token', 1, 'name'], 25],
    [['token', 1, 'env'], 26],
    [['token', 1, 'env', 'A'], 27],
    [['token', 1, 'missing'], 24],
    [['other', 'a.b', 'c'], 29],
    [['missing'], 1],
    [['fake'], 1],
  ];
  for (const [path, line] of cases) {
    it(`finds ${JSON.stringify(path)} on line ${line}`, () => {
      assert.equal(lines.lineOf(path), line);
    });
  }

  it('counts lines that end in CR LF', () => {
    assert.equal(new KeyLines('a = 1\r\n\r\n[b]\r\nc = 2\r\n').lineOf(['b', 'c']), 4);
  });
});
