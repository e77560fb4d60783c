import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '../model/errors.js';

/** Headers that make a change depend on what is there before it (RFC 9110, section 13). */
const CONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const;

/**
 * Throws INVALID_REQUEST for a change under a condition. Answers have no validators that one could be compared with, and
 * to make the change all the same is what the condition was to prevent. What reads only may ignore it.
 */
export function requireUnconditional(method: string, headers: IncomingHttpHeaders): void {
  if (method === 'GET' || method === 'HEAD') return;
  const found = CONDITIONS.find((name) => headers[name] !== undefined);
  if (found === undefined) return;
  throw new AppError('INVALID_REQUEST', `${found} is not supported: changes are made without conditions`);
}
