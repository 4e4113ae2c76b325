/**
 * Bytes for a call into the module: never a NULL pointer, also for no bytes, because modules take NULL for an error
 * (SoftHSM: CKR_ARGUMENTS_BAD).
 */

/**
 * For an asynchronous call, of which pkcs11js keeps a bare pointer: the caller holds the copy until the call settles,
 * which wiping it then does by itself.
 */
export function copyForCall(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length + 1).subarray(0, bytes.length);
  copy.set(bytes);
  return copy;
}

/** The bytes themselves, for a call that is over when it returns. */
export function viewForCall(bytes: Uint8Array): Buffer {
  return bytes.length === 0 ? copyForCall(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}
