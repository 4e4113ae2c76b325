/** AgentError <-> the error map of a reply. What does not fit its limits is cut: an error must always arrive. */
import { AgentError, errorCode, errorTable, type AgentErrorOptions } from './errors.js';
import { limits } from './limits.js';
import { errorFields, type WireError } from './schema.js';

export function toWireError({ code, message, candidates, retryAfterMs }: AgentError): WireError {
  const error: WireError = { code: errorTable[code].number, message: cut(message, limits.errorText) };
  if (candidates !== undefined) {
    const whole = candidates.filter((uri) => uri === cut(uri, limits.uri));
    error.candidates = whole.slice(0, errorFields.candidates.max);
  }
  if (retryAfterMs !== undefined) error.retry_after_ms = Math.ceil(retryAfterMs);
  return error;
}

/** A number that is not in the table counts as INTERNAL; so do those that never travel. */
export function fromWireError({
  code,
  message,
  candidates,
  retry_after_ms: retryAfterMs,
}: WireError): AgentError {
  const options: AgentErrorOptions = {};
  if (candidates !== undefined) options.candidates = candidates;
  if (retryAfterMs !== undefined) options.retryAfterMs = retryAfterMs;
  return new AgentError(errorCode(code) ?? 'INTERNAL', message, options);
}

/** At most `max` bytes of UTF-8 in whole characters, without the byte order mark that the wire refuses. */
function cut(text: string, max: number): string {
  // Encoding replaces lone surrogates.
  const bytes = Buffer.from(text.replace(/^\ufeff+/, ''));
  let end = Math.min(bytes.length, max);
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}
