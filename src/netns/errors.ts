/** What can go wrong in this library. */
export { ClosedError, KernelError } from '../native/errors.js';

interface CommandOutcome {
  command: readonly string[];
  inode: number;
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Characters of the command's own complaint that the message repeats. */
const SHOWN_STDERR = 400;

/** A command that could not be started in a namespace (then `cause` says why), failed there, or was stopped. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly command: readonly string[];
  /** Null when it did not end by itself. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;

  constructor(outcome: CommandOutcome, reason: string, options?: ErrorOptions) {
    const complaint = outcome.stderr.trim().slice(-SHOWN_STDERR);
    super(
      `run ${outcome.command.join(' ')} in netns ${outcome.inode}: ${reason}${complaint && `: ${complaint}`}`,
      options,
    );
    this.command = outcome.command;
    this.exitCode = outcome.exitCode;
    this.signal = outcome.signal;
    this.stdout = outcome.stdout;
    this.stderr = outcome.stderr;
  }
}
