/** Several PINs on standard input, in whatever pieces they arrive. */
import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { PinLines } from '@keyagent/agent/cli/pin-lines.js';

function lines(...chunks: string[]): PinLines {
  const output = new Writable();
  const stdin = Readable.from(chunks.map((chunk) => Buffer.from(chunk)));
  return new PinLines({ stdin, stdout: output, stderr: output });
}

describe('PinLines', () => {
  for (const chunks of [
    ['one\ntwo\nthree'],
    ['o', 'ne\ntw', 'o\nth', 'ree\n'],
    ['one\n', 'two\n', 'three\n'],
  ]) {
    it(`reads three PINs out of ${JSON.stringify(chunks)}, and says when there are no more`, async () => {
      const pins = lines(...chunks);
      for (const expected of ['one', 'two', 'three']) assert.equal((await pins.next()).toString(), expected);
      await assert.rejects(pins.next(), /standard input holds no further PIN; give it one line for each/);
      await pins.close();
    });
  }

  it('refuses no input, an empty line, and a line that is too long', async () => {
    await assert.rejects(lines().next(), /standard input holds no PIN; give it one line/);
    await assert.rejects(lines('\nrest\n').next(), /the PIN is empty/);
    await assert.rejects(lines('9'.repeat(100), '9'.repeat(158)).next(), /longer than 256 bytes/);
  });
});
