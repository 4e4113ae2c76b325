/** The wire protocol of keyagent. PROTOCOL.md is normative; this package is what the agent and the Node client share. */
export * from './algorithms.js';
export * from './caller.js';
export * from './codec.js';
export * from './connect.js';
export * from './errors.js';
export * from './frame.js';
export * from './limits.js';
export * from './pkcs11-match.js';
export * from './pkcs11-uri.js';
export * from './schema.js';
export * from './trust.js';
export * from './wire-error.js';
