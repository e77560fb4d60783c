/** What a child process prints, line by line, and its end. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export class Lines {
  /** Everything so far. */
  readonly all: string[] = [];
  /** Resolves with the exit code when the process has ended and its output is read. */
  readonly ended: Promise<number | null>;
  readonly #waiting = new Set<() => void>();
  #isOver = false;

  constructor(readonly child: ChildProcess) {
    if (child.stdout === null) throw new Error('the process has no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.all.push(line);
      this.#wake();
    });
    this.ended = once(child, 'close').then(([code]) => {
      this.#isOver = true;
      this.#wake();
      return code as number | null;
    });
  }

  /** The first line that is right, printed before or after this call; undefined when there is none in time. */
  async find(isRight: (line: string) => boolean, timeoutMs: number): Promise<string | undefined> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.all.find(isRight);
      const left = deadline - performance.now();
      if (found !== undefined || this.#isOver || left <= 0) return found;
      await this.#next(left);
    }
  }

  /** Waits for `ready`; throws when it does not come. */
  async ready(timeoutMs = 10_000): Promise<this> {
    if ((await this.find((line) => line === 'ready', timeoutMs)) !== undefined) return this;
    this.child.kill('SIGKILL');
    throw new Error(`${this.child.spawnargs.join(' ')} did not get ready`);
  }

  #next(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}
