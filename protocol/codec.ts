/**
 * Bytes <-> messages. Decoding: the strict subset of MessagePack, then the closed schema; nothing else in the
 * project sees bytes of a peer. Encoding checks the same schema, so a defect here never reaches the wire.
 * Binary fields of a decoded message are views of its body.
 */
import { AgentError, type AgentErrorOptions, type ErrorCode } from './errors.js';
import { pack } from './pack.js';
import {
  errorFields,
  isMethod,
  methods,
  notifications,
  type Face,
  type Fields,
  type Method,
  type Notice,
  type Reply,
  type Request,
} from './schema.js';
import { unpack } from './unpack.js';
import { isMap, validate } from './validate.js';

const messageType = { request: 0, reply: 1, notice: 2 } as const;

/** Why a body was refused. `id`: the request it answers to, 0 if that cannot be told. */
export class CodecError extends AgentError {
  readonly id: number;

  constructor(code: ErrorCode, message: string, id: number, errorOptions?: AgentErrorOptions) {
    super(code, message, errorOptions);
    this.name = 'CodecError';
    this.id = id;
  }

  /** The peer does not speak the protocol: answer once and close. Otherwise the connection lives on. */
  get fatal(): boolean {
    return this.code === 'MALFORMED';
  }
}

export function isRequest(message: Request | Notice): message is Request {
  return 'id' in message;
}

export function isNotice(message: Reply | Request | Notice): message is Notice {
  return !('id' in message);
}

/** @throws AgentError TOO_LARGE for a field over its limit, INVALID for what is not in the schema */
export function encodeRequest({ id, method, params }: Request): Buffer {
  const isId = Number.isInteger(id) && id >= 1 && id <= 0xffffffff;
  if (!isId) throw new AgentError('INVALID', 'a request id out of range');
  return encode([messageType.request, id, method, params], methods[method].params, params, method, 'INVALID');
}

/**
 * @param method  what the request asked; undefined only with an error (its method was unknown)
 * @throws AgentError TOO_LARGE if the reply does not fit: the handler then says less (PROTOCOL.md, "Long replies");
 *         INTERNAL if it is not what the schema promises
 */
export function encodeReply(method: Method | undefined, reply: Reply): Buffer {
  if ('error' in reply) {
    const { id, error } = reply;
    return encode([messageType.reply, id, error, null], errorFields, error, 'error', 'INTERNAL');
  }
  const { id, result } = reply;
  if (method === undefined) throw new AgentError('INTERNAL', 'a result without a method');
  return encode([messageType.reply, id, null, result], methods[method].result, result, method, 'INTERNAL');
}

export function encodeNotice({ method, params }: Notice): Buffer {
  const fields = notifications[method].params;
  return encode([messageType.notice, method, params], fields, params, method, 'INTERNAL');
}

/**
 * What a requester sent. @param face the socket it came in on
 * @throws CodecError
 */
export function decodeIncoming(body: Uint8Array, face: Face): Request | Notice {
  let id = 0;
  try {
    id = peekRequestId(body);
    const message = arrayOf(body);
    if (message[0] === messageType.notice) return noticeOf(message, 'requester');
    if (message[0] !== messageType.request || message.length !== 4 || id === 0) {
      throw malformed('neither a request nor a notification');
    }
    return requestOf(message, id, face);
  } catch (error) {
    throw refusal(error, id);
  }
}

/**
 * What the agent sent. @param methodOf the method of a request that is still open
 * @throws CodecError, always MALFORMED: nothing that the agent sends may break the protocol
 */
export function decodeReply(body: Uint8Array, methodOf: (id: number) => Method | undefined): Reply | Notice {
  try {
    const message = arrayOf(body);
    if (message[0] === messageType.notice) return noticeOf(message, 'agent');
    if (message[0] !== messageType.reply || message.length !== 4) {
      throw malformed('neither a reply nor a notification');
    }
    return replyOf(message, methodOf);
  } catch (error) {
    const cause = refusal(error, 0);
    throw cause.fatal ? cause : new CodecError('MALFORMED', cause.message, 0, { cause });
  }
}

function requestOf(message: readonly unknown[], id: number, face: Face): Request {
  const [, , method, params] = message;
  if (typeof method !== 'string') throw malformed('a method that is not a string');
  if (!isMap(params)) throw malformed('params is not a map');
  if (!isMethod(method)) throw new AgentError('UNSUPPORTED', 'no such method');
  const faces: readonly Face[] = methods[method].faces;
  if (!faces.includes(face))
    throw new AgentError('UNSUPPORTED', `${method} is not served on the ${face} socket`);
  validate(methods[method].params, params, method);
  return { id, method, params } as unknown as Request;
}

function replyOf(message: readonly unknown[], methodOf: (id: number) => Method | undefined): Reply {
  const [, id, error, result] = message;
  if (typeof id !== 'number') throw malformed('an id that is not a number');
  if (error !== null) {
    if (result !== null) throw malformed('a reply with an error and a result');
    if (id !== 0 && methodOf(id) === undefined) throw malformed('a reply to no request');
    validate(errorFields, error, 'error');
    return { id, error } as unknown as Reply;
  }
  const method = methodOf(id);
  if (method === undefined) throw malformed('a reply to no request');
  validate(methods[method].result, result, method);
  return { id, result } as unknown as Reply;
}

function noticeOf(message: readonly unknown[], from: 'requester' | 'agent'): Notice {
  const [, method, params] = message;
  if (message.length !== 3 || typeof method !== 'string' || !Object.hasOwn(notifications, method)) {
    throw malformed('no such notification');
  }
  const notification = notifications[method as keyof typeof notifications];
  if (notification.from !== from) throw malformed(`${method} is not for this side to send`);
  validate(notification.params, params, method);
  return { method, params } as unknown as Notice;
}

function arrayOf(body: Uint8Array): readonly unknown[] {
  const message = unpack(body);
  if (!Array.isArray(message)) throw malformed('a message that is not an array');
  return message as unknown[];
}

/** The id if the body begins as `[0, id, x, y]` does, whatever follows; else 0. */
function peekRequestId(body: Uint8Array): number {
  const isArray16 = body[0] === 0xdc && body[1] === 0 && body[2] === 4;
  if (!isArray16 && body[0] !== 0x94) return 0;
  const typeAt = isArray16 ? 3 : 1;
  if (uintAt(body, typeAt) !== messageType.request) return 0;
  return uintAt(body, typeAt + 1 + (uintWidth(body[typeAt]) ?? 0)) ?? 0;
}

/** Bytes that follow the type byte of an unsigned integer; undefined: it is something else. */
function uintWidth(type: number | undefined): number | undefined {
  if (type === undefined) return undefined;
  if (type < 0x80) return 0;
  return type === 0xcc ? 1 : type === 0xcd ? 2 : type === 0xce ? 4 : undefined;
}

function uintAt(body: Uint8Array, at: number): number | undefined {
  const width = uintWidth(body[at]);
  if (width === 0) return body[at];
  if (width === undefined || at + width >= body.length) return undefined;
  let value = 0;
  for (let i = 1; i <= width; i++) value = value * 256 + (body[at + i] ?? 0);
  return value;
}

/** @param blame  the error for a message that breaks the protocol, limits apart: whose mistake it is */
function encode(
  message: readonly unknown[],
  fields: Fields,
  value: unknown,
  what: string,
  blame: ErrorCode,
): Buffer {
  try {
    validate(fields, value, what);
    return pack(message);
  } catch (error) {
    if (!(error instanceof AgentError) || error.code === 'TOO_LARGE') throw error;
    throw new AgentError(blame, error.message, { cause: error });
  }
}

function malformed(reason: string): AgentError {
  return new AgentError('MALFORMED', reason);
}

function refusal(error: unknown, id: number): CodecError {
  if (error instanceof AgentError) return new CodecError(error.code, error.message, id);
  return new CodecError('MALFORMED', 'the message cannot be decoded', id, { cause: error });
}
