/** What the agent's main thread computes for one thing or another: the load of the machine makes none of it longer. */
import type { Crowd } from './crowd.js';
import type { Load } from './load.js';
import { mainThreadNs } from './proc.js';

/** For a signature of `load`, and for a byte that one of `crowd` sends, read alone. Microseconds. */
export async function costs(
  pid: number,
  load: Load,
  crowd: Crowd,
): Promise<{ signatureUs: number; byteUs: number }> {
  const of = async (work: () => Promise<unknown>): Promise<number> => {
    const before = mainThreadNs(pid);
    await work();
    return (mainThreadNs(pid) - before) / 1000;
  };
  const signatureUs = (await of(() => load.sign(200))) / 200;
  const times = 20;
  let bytes = 0;
  const bothUs = await of(async () => {
    for (let i = 0; i < times; i++) {
      bytes += await crowd.drip();
      // Answered behind those bytes, so the next ones are read by themselves.
      await load.sign(1);
    }
  });
  return { signatureUs, byteUs: (bothUs - times * signatureUs) / bytes };
}
