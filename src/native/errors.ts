/** What the addon tells about an error (native/status.h); `failureToError` makes the error object of it. */
export interface NativeFailure {
  kind: 'kernel' | 'verifier' | 'closed';
  object: string;
  errno?: number;
  code?: string;
  text?: string;
  operation?: string;
  count?: number;
  log?: string;
  program?: string;
}

interface KernelErrorFields {
  errno: number;
  code: string;
  text: string;
  operation: string;
  object: string;
  count?: number;
}

/** A system call or libbpf/libnl call that failed. */
export class KernelError extends Error {
  override readonly name: string = 'KernelError';
  /** Symbolic errno, e.g. `ENOSPC`. */
  readonly code: string;
  /** Positive errno. */
  readonly errno: number;
  /** What was tried, e.g. `attach TCX`. */
  readonly operation: string;
  /** On what, e.g. `ifindex 7`. */
  readonly object: string;
  /** Elements that a batch had done before it failed. */
  readonly count?: number;

  constructor(fields: KernelErrorFields, message?: string) {
    super(message ?? `${fields.operation} ${fields.object}: ${fields.text} (${fields.code})`);
    this.code = fields.code;
    this.errno = fields.errno;
    this.operation = fields.operation;
    this.object = fields.object;
    if (fields.count !== undefined) this.count = fields.count;
  }
}

/** What the kernel says where a map is full, or has no memory for more. */
const FULL: ReadonlySet<string> = new Set(['E2BIG', 'ENOMEM', 'ENOSPC']);

/** Whether that is why a write to a map has failed. */
export function isFull(error: unknown): boolean {
  return error instanceof KernelError && FULL.has(error.code);
}

/** Lines of the verifier's log that its message shows. */
const SHOWN_LOG_LINES = 3;
/** The verifier ends its log with statistics, which say nothing about the refusal. */
const LOG_STATISTICS = /^(processed \d+ insns|verification time|stack depth|insns processed|func#\d+)/;

/** A program that the kernel's verifier refused. */
export class VerifierError extends KernelError {
  override readonly name: string = 'VerifierError';
  /** The verifier's whole log. */
  readonly log: string;
  /** Name of the program in its object file. */
  readonly program: string;

  constructor(fields: KernelErrorFields & { log: string; program: string }) {
    const lines = fields.log.split('\n').filter((line) => line.trim() !== '' && !LOG_STATISTICS.test(line));
    const shown = lines.slice(-SHOWN_LOG_LINES);
    const omitted = lines.length - shown.length;
    super(
      fields,
      `${fields.operation} ${fields.object}: ${fields.text} (${fields.code}): ${shown.join(' / ')}` +
        (omitted > 0 ? ` (${omitted} lines of log before)` : ''),
    );
    this.log = fields.log;
    this.program = fields.program;
  }
}

/** Use of a handle after its close(). */
export class ClosedError extends Error {
  override readonly name = 'ClosedError';
  constructor(what: string) {
    super(`${what} is closed`);
  }
}

export function failureToError(failure: NativeFailure): Error {
  if (failure.kind === 'closed') return new ClosedError(failure.object);
  const fields: KernelErrorFields = {
    errno: failure.errno ?? 0,
    code: failure.code ?? 'UNKNOWN',
    text: failure.text ?? 'Unknown error',
    operation: failure.operation ?? 'call',
    object: failure.object,
  };
  if (failure.count !== undefined) fields.count = failure.count;
  return failure.kind === 'verifier'
    ? new VerifierError({ ...fields, log: failure.log ?? '', program: failure.program ?? '' })
    : new KernelError(fields);
}
