/**
 * Bytes for a call into the module. pkcs11js keeps a bare pointer during an asynchronous call: the caller holds
 * the copy until the call settles, which wiping it then does by itself.
 */

/** Never a NULL pointer, also for no bytes: modules take NULL for an error (SoftHSM: CKR_ARGUMENTS_BAD). */
export function copyForCall(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length + 1).subarray(0, bytes.length);
  copy.set(bytes);
  return copy;
}

export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}
