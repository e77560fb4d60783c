/** Files that a command is given. */
import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import type { Context } from './context.js';
import { UsageError } from './failures.js';

/** The text of the file; `-`: of standard input. */
export async function contentOf(file: string, { stdin }: Context): Promise<string> {
  if (file === '-') return textOf(stdin);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}
