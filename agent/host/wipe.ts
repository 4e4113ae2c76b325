/** For bytes that are nobody's business once they are done with. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}
