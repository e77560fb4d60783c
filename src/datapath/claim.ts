/**
 * What only one daemon at a time may use: the network namespace whose interfaces it sweeps, and the directory of its
 * pins. A flock(2) on the thing itself is the claim: it needs no file beside it, and the kernel lifts it whenever and
 * however the daemon ends.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { AppError } from '../model/errors.js';

/** Exit status that flock(1) is told to give when another has the lock. */
const LOCKED_STATUS = 99;

/** The network namespace of this process, as a file. */
export const OWN_NETNS = '/proc/self/ns/net';

export class Claim implements Disposable {
  #descriptor: number | undefined;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Claims what is at the path, `what` in messages. ALREADY_RUNNING: another daemon has; KERNEL_UNSUPPORTED: it cannot be. */
  static take(path: string, what: string): Claim {
    const descriptor = openSync(path, 'r');
    // Node has no flock; flock(1) locks the open file that it inherits, and so the lock stays with us.
    const { status, error, stderr } = spawnSync('flock', ['-n', '-E', String(LOCKED_STATUS), '3'], {
      stdio: ['ignore', 'ignore', 'pipe', descriptor],
      encoding: 'utf8',
    });
    if (status === 0) return new Claim(descriptor);
    closeSync(descriptor);
    if (status === LOCKED_STATUS) {
      throw new AppError('ALREADY_RUNNING', `another daemon uses ${what}`, {
        hint: 'stop it, or run this one in a network namespace and with directories of its own',
      });
    }
    throw new AppError('KERNEL_UNSUPPORTED', `cannot lock ${path}: ${stderr?.trim() || error?.message}`, {
      hint: 'the daemon needs flock(1) of util-linux',
    });
  }

  /** Gives it back. Can be called again. */
  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
