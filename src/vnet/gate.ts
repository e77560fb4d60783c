import { AppError } from '../model/errors.js';

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

  refuse(cause?: unknown): void {
    this.reject(new AppError('NOT_READY', 'the daemon has not started', { cause }));
  }
}
