/**
 * THE table of messages: every method, its parameters and its result, with the limit of each field.
 * The TypeScript types below, the codec, PROTOCOL.md and the C header all follow it.
 */
import { algorithmNames, keyAlgorithms, mechanisms } from './algorithms.js';
import { limits } from './limits.js';

export type Field =
  | { readonly kind: 'uint'; readonly max: number; readonly optional?: true }
  | { readonly kind: 'bool'; readonly optional?: true }
  | { readonly kind: 'str'; readonly max: number; readonly optional?: true }
  | { readonly kind: 'enum'; readonly values: readonly string[]; readonly optional?: true }
  | { readonly kind: 'bin'; readonly max: number; readonly optional?: true }
  | { readonly kind: 'list'; readonly of: Field; readonly max: number; readonly optional?: true }
  | { readonly kind: 'map'; readonly fields: Fields; readonly optional?: true };
export type Fields = { readonly [name: string]: Field };

const uint32 = 0xffffffff;
const uint = { kind: 'uint', max: uint32 } as const;
const bool = { kind: 'bool' } as const;
const str = <const N extends number>(max: N) => ({ kind: 'str', max }) as const;
const bin = <const N extends number>(max: N) => ({ kind: 'bin', max }) as const;
const oneOf = <const V extends readonly string[]>(values: V) => ({ kind: 'enum', values }) as const;
const list = <const F extends Field>(of: F, max: number) => ({ kind: 'list', of, max }) as const;
const map = <const F extends Fields>(fields: F) => ({ kind: 'map', fields }) as const;
const optional = <const F extends Field>(field: F) => ({ ...field, optional: true }) as const;

const uri = str(limits.uri);
const tokenName = str(32);
/** Milliseconds from the moment the agent read the request. */
const deadline = optional(uint);
/** Set on the one repeat after a connection was lost unanswered; the agent never repeats such a request. */
const repeat = optional(bool);

export const tokenStates = ['absent', 'locked', 'unlocking', 'unlocked', 'pin-blocked', 'failed'] as const;
export type TokenState = (typeof tokenStates)[number];
export const keyStates = ['verified', 'unverified', 'mismatch'] as const;
export type KeyState = (typeof keyStates)[number];
export const sourceNames = ['credential', 'clevis', 'keyring', 'card', 'prompt'] as const;
export type SourceName = (typeof sourceNames)[number];

/** What one rule says: it allows, it allows the messages of its purpose, or which of its fields does not match. */
export const ruleVerdicts = [
  'allows',
  'purpose-only',
  'users',
  'groups',
  'units',
  'exe',
  'keys',
  'operations',
  'mechanisms',
  'purpose',
] as const;
export type RuleVerdict = (typeof ruleVerdicts)[number];
export const purposes = ['tls-server', 'tls-client'] as const;
export type Purpose = (typeof purposes)[number];

/** What operators give their cards for. */
export const cardDeeds = ['unlock', 'enrol', 'remove'] as const;
export type CardDeed = (typeof cardDeeds)[number];
/** As PKCS#11 gives them, 32 and 16 bytes; each that is not UTF-8 becomes three. */
const cardLabel = str(96);
const cardSerial = str(48);
const card = { label: cardLabel, serial: cardSerial };
/** Cards given so far, of how many. */
const progress = { given: uint, needed: uint };

const tokenStatus = map({
  name: tokenName,
  state: oneOf(tokenStates),
  /** The rest only on the control socket. */
  label: optional(str(32)),
  serial: optional(str(64)),
  model: optional(str(64)),
  /** CKF_ flags that matter to an operator, space-separated: user-pin-count-low user-pin-final-try user-pin-locked protected-authentication-path */
  flags: optional(str(256)),
  keys: optional(uint),
  /** Why it is in this state, and what to do. */
  detail: optional(str(limits.errorText)),
  source: optional(oneOf(sourceNames)),
  source_result: optional(str(256)),
  /** Seconds since 1970. */
  source_at: optional(uint),
  /** Logins done since the agent started. */
  logins: optional(uint),
  /** When it locks by itself if nobody uses it meanwhile, seconds since 1970; absent: it does not. */
  locks_at: optional(uint),
});

export const methods = {
  hello: {
    faces: ['client', 'control'],
    params: { min: uint, max: uint, name: optional(str(64)), notify: optional(bool) },
    result: {
      version: uint,
      agent: str(64),
      max_frame: uint,
      max_message: uint,
      max_in_flight: uint,
    },
  },
  keys: {
    faces: ['client'],
    /** `after`: the last URI of the page before. */
    params: { after: optional(uri) },
    result: {
      keys: list(
        map({
          uri,
          algorithm: oneOf(keyAlgorithms),
          bits: uint,
          state: oneOf(keyStates),
          /** CKA_ALWAYS_AUTHENTICATE, if it is true. */
          always_authenticate: optional(bool),
        }),
        64,
      ),
      more: bool,
    },
  },
  key: {
    faces: ['client'],
    params: { uri },
    result: {
      uri,
      token: tokenName,
      token_state: oneOf(tokenStates),
      state: oneOf(keyStates),
      algorithm: oneOf(keyAlgorithms),
      bits: uint,
      /** SubjectPublicKeyInfo, DER. */
      spki: bin(2048),
      /** DER; the key's own first, then its issuers as far as the token holds them. */
      certificates: list(bin(8192), 8),
      /** What the asking peer may do with the key. */
      mechanisms: list(oneOf(mechanisms), 8),
      /** What the token host completes because the token lacks the padding. */
      completed: list(oneOf(mechanisms), 8),
      /** Some rule lets somebody use the key. */
      usable: bool,
    },
  },
  sign: {
    faces: ['client'],
    params: {
      uri,
      alg: oneOf(algorithmNames),
      /** Exactly one of message and digest. */
      message: optional(bin(limits.message)),
      digest: optional(bin(64)),
      /** ECDSA only; der if absent. */
      format: optional(oneOf(['der', 'p1363'])),
      deadline_ms: deadline,
      repeat,
    },
    result: { signature: bin(limits.signature) },
  },
  decrypt: {
    faces: ['client'],
    params: {
      uri,
      alg: oneOf(algorithmNames),
      ciphertext: bin(limits.ciphertext),
      /** Both required for rsa-pkcs1-tls, refused otherwise. */
      client_version: optional(uint),
      negotiated_version: optional(uint),
      deadline_ms: deadline,
      repeat,
    },
    result: { plaintext: bin(limits.ciphertext) },
  },
  status: {
    faces: ['client', 'control'],
    params: {},
    result: {
      agent: str(64),
      pid: uint,
      /** Seconds. */
      uptime: uint,
      /** True after `lock` or `stop` until an operator unlocks: no automatic source is asked. */
      revoked: bool,
      tokens: list(tokenStatus, 64),
      /** Operators who are being asked for a PIN; since: seconds since 1970. Only on the control socket. */
      prompts: optional(list(map({ token: tokenName, uid: uint, pid: uint, since: uint }), 32)),
    },
  },
  unlock: {
    faces: ['control'],
    /** Either the PIN or the name of a source that the agent is to ask. Without token: the only one. */
    params: {
      token: optional(tokenName),
      pin: optional(bin(limits.pin)),
      source: optional(oneOf(sourceNames)),
      /** Where the operator's PIN came from: prompt or keyring. */
      via: optional(oneOf(sourceNames)),
      for_ms: optional(uint),
      force: optional(bool),
    },
    result: { token: tokenName, state: oneOf(tokenStates), already: bool },
  },
  /** An operator is being asked for the PIN. Answered once the token is unlocked; until then `status` tells of it. */
  prompt: {
    faces: ['control'],
    params: { token: optional(tokenName) },
    result: { token: tokenName },
  },
  lock: {
    faces: ['control'],
    params: { token: optional(tokenName) },
    result: { tokens: list(tokenName, 64) },
  },
  reload: {
    faces: ['control'],
    params: {},
    result: {
      /** What holds now. */
      rules: uint,
      tokens: uint,
      rules_changed: bool,
      added: list(tokenName, 64),
      removed: list(tokenName, 64),
      /** Started anew: they need another login. */
      replaced: list(tokenName, 64),
      /** Under the same login. */
      changed: list(tokenName, 64),
      /** Keys of [agent] and [audit], and card readers, that are others now. */
      settings: list(str(64), 64),
    },
  },
  stop: { faces: ['control'], params: {}, result: {} },
  sources: {
    faces: ['control'],
    params: { token: optional(tokenName) },
    result: {
      sources: list(
        map({ token: tokenName, source: oneOf(sourceNames), result: str(256), at: optional(uint) }),
        64,
      ),
    },
  },
  sessions: {
    faces: ['control'],
    params: {},
    result: {
      sessions: list(map({ uid: uint, gid: uint, pid: uint, requests: uint, in_flight: uint }), 256),
      more: bool,
    },
  },
  cards: {
    faces: ['control'],
    params: { token: tokenName },
    result: {
      token: tokenName,
      /** Of the token that the sealed PIN is for. */
      serial: str(64),
      quorum: uint,
      /** `given`: it waits in the agent for the others of an unlock. */
      cards: list(map({ ...card, given: bool }), 64),
    },
  },
  'card-begin': {
    faces: ['control'],
    /** `cards` and `quorum`: enrol only. `card`: remove only, label or serial of the one that is to go. */
    params: {
      token: tokenName,
      deed: oneOf(cardDeeds),
      cards: optional(uint),
      quorum: optional(uint),
      card: optional(cardLabel),
      /** unlock only: although the token says that the next wrong PIN is the last. */
      force: optional(bool),
    },
    result: progress,
  },
  'card-find': {
    faces: ['control'],
    /** `card`: label or serial, where a reader shows several. */
    params: { token: tokenName, deed: oneOf(cardDeeds), card: optional(cardLabel) },
    result: { reader: tokenName, ...card, flags: str(256), ...progress },
  },
  'card-give': {
    faces: ['control'],
    params: {
      token: tokenName,
      deed: oneOf(cardDeeds),
      reader: tokenName,
      ...card,
      /** Of the card; without it its own PIN pad is used. */
      pin: optional(bin(limits.pin)),
      force: optional(bool),
      /** unlock only. */
      for_ms: optional(uint),
    },
    /** `done`: it was the last one needed, and the token is unlocked, or the card removed. */
    result: { ...progress, done: bool },
  },
  'card-seal': {
    faces: ['control'],
    /** Ends an enrolment, or does a removal without cards, with the token's own PIN. */
    params: {
      token: tokenName,
      deed: oneOf(cardDeeds),
      card: optional(cardLabel),
      pin: bin(limits.pin),
      force: optional(bool),
    },
    result: { quorum: uint, cards: list(map(card), 64) },
  },
  'check-access': {
    faces: ['control'],
    /** A peer that need not exist, and what it would ask for. */
    params: {
      uri,
      alg: oneOf(algorithmNames),
      uid: uint,
      gid: uint,
      groups: list(uint, 512),
      unit: optional(str(255)),
      exe: optional(str(1024)),
    },
    result: {
      uri,
      /** The last 40 up to the one that decides. */
      rules: list(
        map({ name: str(256), verdict: oneOf(ruleVerdicts), purpose: optional(oneOf(purposes)) }),
        40,
      ),
      /** Rules before those. */
      earlier: uint,
    },
  },
} as const satisfies Record<string, MethodEntry>;

/** Which socket a request is served on. */
export type Face = 'client' | 'control';

export interface MethodEntry {
  readonly faces: readonly Face[];
  readonly params: Fields;
  readonly result: Fields;
}

export const notifications = {
  /** From the requester: the request with this id is no longer wanted. It still gets a reply (CANCELLED or its result). */
  cancel: { from: 'requester', params: { id: uint } },
  /** To requesters whose hello said notify. */
  state: { from: 'agent', params: { token: tokenName, state: oneOf(tokenStates) } },
  rotated: { from: 'agent', params: { uri } },
} as const satisfies Record<string, { readonly from: 'requester' | 'agent'; readonly params: Fields }>;

export const errorFields = {
  code: uint,
  message: str(limits.errorText),
  candidates: optional(list(uri, 8)),
  retry_after_ms: optional(uint),
} as const satisfies Fields;

type ValueOf<F> = F extends { kind: 'uint' }
  ? number
  : F extends { kind: 'bool' }
    ? boolean
    : F extends { kind: 'str' }
      ? string
      : F extends { kind: 'enum'; values: readonly (infer V)[] }
        ? V
        : F extends { kind: 'bin' }
          ? Uint8Array
          : F extends { kind: 'list'; of: infer O }
            ? readonly ValueOf<O>[]
            : F extends { kind: 'map'; fields: infer M }
              ? RecordOf<M>
              : never;
type OptionalNames<M> = { [K in keyof M]: M[K] extends { optional: true } ? K : never }[keyof M];
export type RecordOf<M> = { [K in Exclude<keyof M, OptionalNames<M>>]: ValueOf<M[K]> } & {
  [K in OptionalNames<M>]?: ValueOf<M[K]>;
};

export type Method = keyof typeof methods;
export type Params<M extends Method> = RecordOf<(typeof methods)[M]['params']>;
export type Result<M extends Method> = RecordOf<(typeof methods)[M]['result']>;
export type Notification = keyof typeof notifications;
export type NotificationParams<N extends Notification> = RecordOf<(typeof notifications)[N]['params']>;
export type WireError = RecordOf<typeof errorFields>;

export type Request = { [M in Method]: { id: number; method: M; params: Params<M> } }[Method];
export type Notice = { [N in Notification]: { method: N; params: NotificationParams<N> } }[Notification];
/** The result of a reply is decoded against the method of the request it answers. */
export type Reply<M extends Method = Method> =
  { id: number; error: WireError } | { id: number; result: Result<M> };

export function isMethod(name: string): name is Method {
  return Object.hasOwn(methods, name);
}
