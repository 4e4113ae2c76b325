/** Loaded into keyagentd before its own code (node --import): the benchmark's agent that keeps no audit log. */
import { AuditLog } from '@keyagent/agent/audit/audit-log.js';

AuditLog.prototype.record = () => Promise.resolve();
