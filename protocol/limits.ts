/** Limits of the protocol, in bytes unless named otherwise. PROTOCOL.md lists the same numbers. */
export const limits = {
  /** Body of a frame on a client or control socket. */
  frame: 16384,
  /** Containers inside one another, the message array included. */
  depth: 4,
  /** Pairs in one map, count; no message has as many. */
  mapPairs: 32,
  /** Whole message in a sign request; longer ones are hashed by the client. */
  message: 8192,
  uri: 1024,
  /** PIN in an unlock request. */
  pin: 256,
  /** RSA-4096. */
  ciphertext: 512,
  signature: 512,
  /** Text of an error. */
  errorText: 1024,
  /** Requests in flight on one connection, count. */
  inFlight: 64,
} as const;

/** Protocol versions that this package speaks. */
export const protocolVersion = { min: 1, max: 1 } as const;
