/** Frames on their way out: all that are given in one turn of the event loop leave in one write. */
import type { Writable } from 'node:stream';

export class Outgoing {
  private frames: Buffer[] = [];
  private bytes = 0;

  constructor(private readonly stream: Writable) {}

  /** Bytes that the peer has not taken, those included that wait for `flush`. */
  get length(): number {
    return this.bytes + this.stream.writableLength;
  }

  /** @returns whether it is the first since the last flush: then whoever gives it has to flush, later in this turn */
  add(frame: Buffer): boolean {
    this.bytes += frame.length;
    return this.frames.push(frame) === 1;
  }

  flush(): void {
    const { frames, stream } = this;
    this.frames = [];
    this.bytes = 0;
    if (frames.length === 0 || stream.destroyed || stream.writableEnded) return;
    // What is corked costs a stream twice as much, and most often there is one.
    if (frames.length > 1) stream.cork();
    for (const frame of frames) stream.write(frame);
    if (frames.length > 1) stream.uncork();
  }
}
