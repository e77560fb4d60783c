/** How many files the process may open yet. */
import { closeSync, openSync, readFileSync } from 'node:fs';

/** Whether as many files can be opened now; those of the whole system count too. */
export function canOpen(count: number): boolean {
  const opened: number[] = [];
  try {
    while (opened.length < count) opened.push(openSync('/dev/null', 'r'));
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EMFILE' && code !== 'ENFILE') throw error;
    return false;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}

/** Files that the process may have open; Node raises its soft limit to the hard one when it starts. */
export function descriptorsMax(): number {
  const [, soft] = /^Max open files\s+([0-9]+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
