/** Writes down what came of a deed of an operator. */
import { AgentError } from '@keyagent/protocol';
import type { AuditLog } from '../../audit/audit-log.js';
import type { AuditRecord } from '../../audit/record.js';

type Audit = Pick<AuditLog, 'note'>;
type Deed = Omit<AuditRecord, 'outcome'>;

export async function audited<T>(audit: Audit, deed: Deed, work: () => Promise<T>): Promise<T> {
  const result = await auditedIfRefused(audit, deed, work);
  await audit.note({ ...deed, outcome: 'ok' });
  return result;
}

/** For what leads to a deed that somebody else records. */
export async function auditedIfRefused<T>(audit: Audit, deed: Deed, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await audit.note({ ...deed, outcome: error instanceof AgentError ? error.code : 'INTERNAL' });
    throw error;
  }
}
