/**
 * The receiving end of sd_notify(3): a datagram socket that also learns from the kernel which process wrote. Node has
 * no Unix datagrams; Python, which meson needs anyway, has.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Cleanup } from './cleanup.js';

export interface Notification {
  pid: number;
  message: string;
}

const listener = `
import json, socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1])
print(json.dumps({"pid": 0, "message": "listening"}), flush=True)
while True:
    data, extra, _, _ = s.recvmsg(4096, 256)
    pid = struct.unpack("3i", extra[0][2])[0]
    print(json.dumps({"pid": pid, "message": data.decode()}), flush=True)
`;

/** Listens on a path; what arrives comes out of the iterator. */
export async function listenForNotifications(
  cleanup: Cleanup,
  socketPath: string,
): Promise<AsyncIterator<Notification>> {
  const child = spawn('python3', ['-c', listener, socketPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanup.after(() => {
    child.kill();
  });
  const notifications = parseLines(createInterface(child.stdout));
  await notifications.next();
  return notifications;
}

async function* parseLines(lines: AsyncIterable<string>): AsyncGenerator<Notification> {
  for await (const line of lines) yield JSON.parse(line) as Notification;
}
