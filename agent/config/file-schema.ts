/**
 * The configuration file as operators write it, table by table (zod). Closed: an unknown key is an error.
 * Each check carries one message that says what the value must be; names and paths are resolved later.
 */
import { mechanisms, operations, purposes, sourceNames } from '@keyagent/protocol';
import { z } from 'zod';
import { durationForm, parseDuration } from './duration.js';
import { parseRate, rateForm } from './rate.js';

/** sun_path holds 108 bytes with the final NUL (unix(7)); a socket is first bound with ".new" behind its path. */
const maxSocketPath = 103;

const text = (say: string) => z.string(say).min(1, say);
const integer = (min: number, max: number) => {
  const say = `must be a whole number from ${min} to ${max}`;
  return z.int(say).min(min, say).max(max, say);
};
const absolutePath = text('must be an absolute path').regex(/^\/[^\0]*$/, 'must be an absolute path');
const socketPath = absolutePath.refine(
  (path) => Buffer.byteLength(path) <= maxSocketPath,
  `must be at most ${maxSocketPath} bytes long; choose a shorter path`,
);
const modeForm = 'must be permission bits in octal, as a string such as "0660"';
const mode = z.string(modeForm).regex(/^0?[0-7]{3}$/, modeForm);
const controlMode = mode.regex(
  /0$/,
  'must give no rights to others, as "0600" or "0660" with a control_group',
);
const account = (what: string) => {
  const say = `must be a ${what} name or number`;
  return z.union([text(say), integer(0, 0xffffffff - 1)], say);
};
const listOf = <T extends z.ZodType>(item: T, say: string) =>
  z
    .array(item, say)
    .min(1, `${say}; leave the key out if it is to mean nothing`)
    .refine((items) => new Set(items).size === items.length, 'names something twice; remove one');
const oneOf = <const V extends readonly string[]>(values: V) =>
  z.enum(values, `must be one of ${values.map((value) => `"${value}"`).join(', ')}`);

const duration = z
  .string(`must be ${durationForm}`)
  .refine((value) => parseDuration(value) !== undefined, `must be ${durationForm}`);

const extraSocket = z.strictObject({
  path: socketPath,
  mode: mode.optional(),
  group: account('group').optional(),
});

const agentTable = z.strictObject(
  {
    socket: socketPath.optional(),
    socket_mode: mode.optional(),
    socket_group: account('group').optional(),
    control_socket: socketPath.optional(),
    control_mode: controlMode.optional(),
    control_group: account('group').optional(),
    sockets: z.array(extraSocket, 'must be a list of { path, mode, group }').optional(),
    state_dir: absolutePath.optional(),
    hold_ms: integer(0, 600_000).default(10_000),
    request_timeout_ms: integer(1, 600_000).default(10_000),
  },
  'must be a table: [agent]',
);

const nameForm = 'must be 1 to 32 of a-z, 0-9, _ and -';
/** File names as systemd.exec(5) allows for a credential. */
const credentialForm = 'must be the name of a credential: a file name, not a path';
const rescanForm = 'must be 0 (never) or a whole number from 1000 to 86400000';
/** keyagent sets these for the token host itself. */
const reservedEnv = ['NODE_OPTIONS', 'UV_THREADPOOL_SIZE'];

const name = z.string(nameForm).regex(/^[a-z0-9_-]{1,32}$/, nameForm);
const env = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable')
      .refine((variable) => !reservedEnv.includes(variable), 'is set by keyagent itself; remove it'),
    z.string('must be a string').regex(/^[^\0]*$/, 'must not hold a NUL'),
    'must be a table of strings',
  )
  .default({});

const tokenTable = z.strictObject(
  {
    name,
    module: absolutePath,
    uri: text('must be a PKCS#11 URI that names a token, such as "pkcs11:token=web"'),
    unlock: listOf(oneOf(sourceNames), 'must be a list of PIN sources').default(['credential', 'prompt']),
    sessions: integer(1, 256).default(8),
    hosts: integer(1, 16).default(1),
    env,
    on_removal: oneOf(['hold', 'drain', 'lock']).default('drain'),
    retain_pin: z.boolean('must be true or false').default(true),
    lock_after: duration.optional(),
    lock_idle: duration.optional(),
    rescan_ms: z
      .int(rescanForm)
      .min(0, rescanForm)
      .max(86_400_000, rescanForm)
      .refine((ms) => ms === 0 || ms >= 1000, rescanForm)
      .default(60_000),
    keyring_service: text('must be a string').default('keyagent'),
    keyring_account: text('must be a string').optional(),
    clevis: absolutePath.optional(),
    credential: z
      .string(credentialForm)
      .regex(/^(?!\.{1,2}$)[\x21-\x2e\x30-\x7e]{1,255}$/, credentialForm)
      .optional(),
  },
  'must be a table: [[token]]',
);

const cardReaderTable = z.strictObject(
  {
    name,
    module: absolutePath,
    uri: text('must be a PKCS#11 URI, such as "pkcs11:manufacturer=ACME"').default('pkcs11:'),
    env,
  },
  'must be a table: [[card_reader]]',
);

const unitForm = 'must be the name of a service of the system manager, such as "apache2.service"';
const unit = z
  .string(unitForm)
  .regex(/^[A-Za-z0-9:_.\\@-]{1,247}\.service$/, unitForm)
  .regex(/^(?!user@)/, 'holds whatever its user starts; name a service of the system manager');

const ruleTable = z.strictObject(
  {
    name: text('must be a string').max(64, 'must have at most 64 characters').optional(),
    keys: text('must be a PKCS#11 URI, such as "pkcs11:object=www*"; "pkcs11:" is every key'),
    users: listOf(account('user'), 'must be a list of users').optional(),
    groups: listOf(account('group'), 'must be a list of groups').optional(),
    units: listOf(unit, 'must be a list of services').optional(),
    exe: listOf(absolutePath, 'must be a list of absolute paths').optional(),
    operations: listOf(oneOf(operations), 'must be a list of operations').optional(),
    mechanisms: listOf(oneOf(mechanisms), 'must be a list of mechanisms').optional(),
    purpose: oneOf(purposes).optional(),
    rate: z
      .string(`must be ${rateForm}`)
      .refine((value) => parseRate(value) !== undefined, `must be ${rateForm}`)
      .optional(),
    hold_max: integer(0, 256).optional(),
    /** RSA-4096 and SHA-256 leave room for 478 bytes. */
    pss_salt_length: integer(0, 478).optional(),
  },
  'must be a table: [[rule]]',
);

const auditTable = z.strictObject(
  {
    file: absolutePath.optional(),
    on_error: oneOf(['deny', 'count']).default('deny'),
    journald: z.boolean('must be true or false').default(false),
  },
  'must be a table: [audit]',
);

const oneToken = 'is missing; add one with name, module and uri, and keyagent has a token to serve';
export const fileSchema = z.strictObject({
  agent: agentTable.default(() => agentTable.parse({})),
  token: z
    .array(tokenTable, 'must be an array of tables: write [[token]]')
    .min(1, oneToken)
    .max(64, 'must be at most 64 tokens'),
  card_reader: z
    .array(cardReaderTable, 'must be an array of tables: write [[card_reader]]')
    .max(16, 'has more than 16 tables; remove some')
    .default([]),
  rule: z.array(ruleTable, 'must be an array of tables: write [[rule]]').default([]),
  audit: auditTable.default(() => auditTable.parse({})),
});

export type ConfigFile = z.output<typeof fileSchema>;
export type TokenTable = ConfigFile['token'][number];
export type CardReaderTable = ConfigFile['card_reader'][number];
export type RuleTable = ConfigFile['rule'][number];

/** The keys of each table, for the error that meets an unknown one. */
export const knownKeys: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(fileSchema.shape),
  agent: Object.keys(agentTable.shape),
  sockets: Object.keys(extraSocket.shape),
  token: Object.keys(tokenTable.shape),
  card_reader: Object.keys(cardReaderTable.shape),
  rule: Object.keys(ruleTable.shape),
  audit: Object.keys(auditTable.shape),
};
