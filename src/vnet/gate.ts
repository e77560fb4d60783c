import { AppError, asAppError } from '../model/errors.js';

/** What changes wait behind. What is said of it first counts. */
export class Gate {
  readonly opened: Promise<void>;
  open: () => void = () => undefined;
  private reject: (reason: Error) => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve, reject) => {
      this.open = resolve;
      this.reject = reject;
    });
  }

  /** Whoever waits, and whoever comes, is told the cause; of an unknown error, that there is one. */
  refuse(cause?: unknown): void {
    const why = cause === undefined ? '' : `: ${asAppError(cause).message}`;
    this.reject(new AppError('NOT_READY', `the daemon has not started${why}`, { cause }));
  }
}
