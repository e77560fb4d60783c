import * as crypto from 'node:crypto';

/** SHA-256 of a text in UTF-8, hexadecimal. */
export function sha256(text: string): string {
  // Since Node.js 20.12: a third of the time, which the record of an endpoint takes a dozen times.
  if (typeof crypto.hash === 'function') return crypto.hash('sha256', text);
  return crypto.createHash('sha256').update(text).digest('hex');
}
