/**
 * The native addon's face: what Node cannot do itself. Peer identity, PINs outside the JavaScript heap,
 * constant-time unpadding, and process hardening. Built by meson from agent/native/*.c into build/native.
 */
import { createRequire } from 'node:module';
import type { HashName } from '@keyagent/protocol';

/** From SO_PEERCRED and SO_PEERGROUPS: fixed when the peer connected. */
export interface PeerCredentials {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

/** Kept by the addon. */
export interface LoadedModule {
  readonly __loadedModule: unique symbol;
}

/** @param mechanism CK_MECHANISM_TYPE and its parameter: words of 8 native-endian bytes, none of them a pointer */
type Begin = (module: LoadedModule, session: Uint8Array, mechanism: Uint8Array, key: Uint8Array) => number;

export type Outcome = readonly [result: Buffer | number | null, microseconds: number];

/**
 * Begins and ends an operation.
 * @param mechanism    as in Begin; null, as the key is then: it is begun already
 * @param input        is copied
 * @param outputLength of the longest result, bytes, at most 2048
 * @returns the result, a CK_RV why there is none, or null for one longer than `outputLength`; and how long the module took,
 * microseconds
 */
type Operate<R> = (
  module: LoadedModule,
  session: Uint8Array,
  mechanism: Uint8Array | null,
  key: Uint8Array | null,
  input: Uint8Array,
  outputLength: number,
) => R;

export interface Native {
  /** @param fd a connected Unix socket. Throws an Error with `code` (ENOTCONN, ...). */
  peerCredentials(fd: number): PeerCredentials;
  /**
   * Whether the process that connected has not ended (SO_PEERPIDFD). True means that its pid is still its own.
   * @param fd a connected Unix socket. Throws an Error with `code` (EMFILE, ...).
   * @returns null on kernels that cannot tell (before 6.5)
   */
  readonly peerIsAlive: (fd: number) => boolean | null;
  /**
   * Device and inode of the file that a path leads to: the same text for the same file, whatever mount namespaces its
   * paths are of. Never waits for a file system that somebody else serves, as far as the path's folders let it.
   * Throws an Error with `code` (ENOENT, EACCES, ...).
   */
  fileIdentity(path: string): string;
  /**
   * Makes the file if there is none and holds it (flock(2)), so that no other process can; a symlink is not followed.
   * Throws an Error with `code`: EAGAIN while another process holds it.
   * @returns a descriptor that children do not inherit; closing it, or any end of the process, gives the file back
   */
  lockFile(path: string): number;
  /**
   * PR_SET_DUMPABLE 0 and RLIMIT_CORE 0: no core dump, no ptrace by the same uid, no reading of /proc/PID/mem.
   * PR_CAP_AMBIENT_CLEAR_ALL: programs that this thread starts get no capability of it.
   */
  hardenProcess(): void;
  /** PR_SET_PDEATHSIG SIGKILL: a host that hangs in a module's call does not outlive the agent. */
  dieWithParent(): void;
  /**
   * Zeroes in locked memory that no core dump holds and no forked child inherits, not moved and not copied by V8.
   * Throws an Error with `code` (ENOMEM, EPERM, EAGAIN) where RLIMIT_MEMLOCK leaves none.
   * @param length at most 512
   */
  secretBytes(length: number): Buffer;
  /** Zeroes these bytes. Memory of secretBytes and readSecret is given back at once: its Buffer is then empty. */
  wipeSecret(secret: Uint8Array): void;
  /**
   * Reads one secret as writeSecret wrote it, into memory as of secretBytes; waits a few seconds at most.
   * Throws an Error with `code` (EPIPE, EMSGSIZE, ETIMEDOUT, ENOMEM, ...).
   */
  readSecret(fd: number): Buffer;
  /** Writes a 2-byte big-endian length and the secret to fd, blocking. The caller wipes `secret`. */
  writeSecret(fd: number, secret: Uint8Array): void;
  /** A module that pkcs11js has loaded, by the same path. Throws an Error when it has not. */
  loadedModule(path: string): LoadedModule;
  /**
   * C_Login, on a thread of its own.
   * @param session 8-byte native-endian handle, as pkcs11js has them; so are all sessions and keys here
   * @param user    CKU_
   * @param pin     unchanged until the promise settles; null: a NULL PIN
   * @returns CK_RV, which may be any error of C_Login
   */
  login(module: LoadedModule, session: Uint8Array, user: number, pin: Uint8Array | null): Promise<number>;
  /** C_SignInit, on this thread. @returns CK_RV */
  readonly signInit: Begin;
  /** C_DecryptInit, on this thread. @returns CK_RV */
  readonly decryptInit: Begin;
  /** C_SignInit and C_Sign, on this thread. */
  readonly sign: Operate<Outcome>;
  /** The same, on a thread of libuv's pool. */
  readonly signAside: Operate<Promise<Outcome>>;
  /** C_DecryptInit and C_Decrypt, on a thread of libuv's pool. The caller wipes the plaintext. */
  readonly decryptAside: Operate<Promise<Outcome>>;
  /**
   * EME-PKCS1-v1_5 unpadding of a TLS premaster in constant time (RFC 5246 7.4.7.1).
   * @param em        encoded message, modulus length, leading zeros kept
   * @param fallback  48 random bytes, returned when padding, length or version is wrong
   * @param clientVersion      what ClientHello offered, and the secret must begin with
   * @param negotiatedVersion  accepted instead; 0: nothing else is
   */
  tlsPremaster(
    em: Uint8Array,
    fallback: Uint8Array,
    clientVersion: number,
    negotiatedVersion: number,
  ): Buffer;
  /**
   * EME-OAEP decoding (RFC 8017 7.1.2 step 3), MGF1 with the same hash, empty label, one outcome in constant time.
   * @returns the message, or null when anything is wrong
   */
  oaepDecode(em: Uint8Array, hash: HashName): Buffer | null;
  /**
   * EMSA-PSS-ENCODE (RFC 8017 9.1.1), MGF1 with the same hash. Throws a RangeError for a salt that does not fit.
   * @param modulusBits of the key
   * @returns as many bytes as the modulus has, for the raw private key operation
   */
  pssEncode(digest: Uint8Array, hash: HashName, salt: Uint8Array, modulusBits: number): Buffer;
  /** EMSA-PSS-VERIFY (RFC 8017 9.1.2) of what the raw public key operation gave; the salt's length must be as said. */
  pssVerify(
    em: Uint8Array,
    digest: Uint8Array,
    hash: HashName,
    saltLength: number,
    modulusBits: number,
  ): boolean;
  /** One datagram to $NOTIFY_SOCKET (path or @abstract), as sd_notify(3) does, from this pid. */
  notify(socketPath: string, message: string): void;
}

const require = createRequire(import.meta.url);

export const native = require('../../../build/native/keyagent_native.node') as Native;
