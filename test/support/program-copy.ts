/** A copy of the daemon's program whose files can be damaged or replaced. */
import { cpSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { DAEMON_PROGRAM } from './daemon.js';

const ROOT = join(import.meta.dirname, '../..');

export interface ProgramCopy {
  readonly program: string;
  /** Where its object files are. */
  readonly objects: string;
}

/** What it shares with the original is linked. */
export function copyProgram(
  folder: string,
  linked: readonly string[] = ['node_modules', 'native'],
): ProgramCopy {
  for (const name of ['dist', 'bpf/build', 'package.json']) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  }
  for (const name of linked) symlinkSync(join(ROOT, name), join(folder, name));
  return { program: DAEMON_PROGRAM.replace(ROOT, folder), objects: join(folder, 'bpf/build') };
}
