/** Files that a command is given. */
import { createReadStream } from 'node:fs';
import type { Context } from './context.js';
import { UsageError } from './failures.js';

/** Twice what the API takes of anything: whoever names a device must not wait until memory ends. */
const CONTENT_MAX_MIB = 16;

/** The text of the file; `-`: of standard input. */
export async function contentOf(file: string, { stdin }: Context): Promise<string> {
  const bytes = await bytesOf(file, file === '-' ? stdin : createReadStream(file));
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${file} is not UTF-8`);
  }
}

async function bytesOf(file: string, source: AsyncIterable<string | Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let left = CONTENT_MAX_MIB << 20;
  try {
    for await (const chunk of source) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      left -= bytes.length;
      if (left < 0) throw new UsageError(`${file} is larger than ${CONTENT_MAX_MIB} MiB`);
      chunks.push(bytes);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  return Buffer.concat(chunks);
}
