/** What a failure says, and the exit code that a script sees. */
import { CommanderError } from 'commander';
import { AppError } from '../model/errors.js';
import { Refused, Unreachable } from './client.js';
import { printable } from './text.js';

export const EXIT = {
  done: 0,
  /** The daemon refused the request: it is not valid, or contradicts what exists. */
  refused: 1,
  /** The command line is not valid; nothing was asked. */
  usage: 2,
  /** The daemon cannot be reached. */
  unreachable: 3,
  /** The daemon could not do it: not ready, at a limit, or an error of its own. */
  failed: 4,
} as const;

export const EXIT_HELP = `
Exit codes: ${EXIT.done} done, ${EXIT.refused} refused, ${EXIT.usage} wrong usage, ${EXIT.unreachable} the daemon cannot be reached, ${EXIT.failed} the daemon could not do it or is not ready.`;

/** A command line that commander takes and that is wrong nevertheless. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export interface Failure {
  readonly exit: number;
  /** Lines for the reader; commander has printed its own. */
  readonly text: string;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError)
    return { exit: error.exitCode === 0 ? EXIT.done : EXIT.usage, text: '' };
  if (error instanceof Refused) {
    const exit = error.status >= 500 ? EXIT.failed : EXIT.refused;
    return { exit, text: [`${error.code}: ${error.message}`, ...detailLines(error)].map(line).join('') };
  }
  if (error instanceof AppError) {
    // What is not the caller's doing has failed; settings are.
    const isOurs = error.httpStatus >= 500 && error.code !== 'INVALID_SETTINGS';
    const exit = isOurs ? EXIT.failed : EXIT.usage;
    return { exit, text: [error.message, ...detailLines(error)].map(line).join('') };
  }
  const message = error instanceof Error ? error.message : String(error);
  const exit = error instanceof Unreachable ? EXIT.unreachable : EXIT.usage;
  return { exit, text: line(message) };
}

/** A single one may be in the message already. */
function detailLines({ message: whole, details = [] }: Pick<AppError, 'message' | 'details'>): string[] {
  const lines = details.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  const isSaid = lines.length === 1 && lines.every((text) => whole.includes(text));
  return isSaid ? [] : lines.map((text) => `  ${text}`);
}

function line(text: string, index = 0): string {
  return `${index === 0 ? 'error: ' : ''}${printable(text)}\n`;
}
