/**
 * One owner for a state directory.
 *
 * The lock is a flock(2) on a file, which the kernel releases when the last descriptor of its open file is
 * closed: by SIGKILL and power loss too, and nobody has to judge whether an owner is still alive. It is
 * bound to the file, so it also holds between network, mount and PID namespaces; an abstract socket holds
 * in one network namespace alone, and a PID file is a race and is fooled by a number used again.
 * Node has no flock; flock(1) of util-linux locks an inherited descriptor, which shares our open file, and
 * so the lock stays with us when it exits. Node opens files close-on-exec: no child keeps the lock.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { AppError } from '../model/errors.js';

/** Exit status that flock(1) is told to give when another has the lock. */
const LOCKED_STATUS = 99;

export class OwnerLock {
  #descriptor: number | undefined;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Takes the lock, or throws ALREADY_RUNNING with the owner's pid, or STORE_ERROR. */
  static take(path: string): OwnerLock {
    const descriptor = openSync(path, 'a+', 0o600);
    try {
      const { status, error, stderr } = spawnSync('flock', ['-n', '-E', String(LOCKED_STATUS), '3'], {
        stdio: ['ignore', 'ignore', 'pipe', descriptor],
        encoding: 'utf8',
      });
      if (status === LOCKED_STATUS) throw alreadyRunning(path, readOwner(descriptor));
      if (status !== 0) {
        throw new AppError(
          'STORE_ERROR',
          `cannot lock ${path}: ${stderr?.trim() || `flock: ${error?.message ?? status}`}`,
          {
            hint: 'the daemon needs flock(1) of util-linux',
            cause: error,
          },
        );
      }
      ftruncateSync(descriptor);
      writeSync(descriptor, `${process.pid}\n`);
      return new OwnerLock(descriptor);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Gives the lock back. Can be called again. */
  release(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/** Pid that the owner wrote, or undefined in the moment between its locking and its writing. */
function readOwner(descriptor: number): string | undefined {
  const buffer = Buffer.alloc(16);
  const text = buffer.toString('latin1', 0, readSync(descriptor, buffer, 0, buffer.length, 0));
  return /^([0-9]+)\n$/.exec(text)?.[1];
}

function alreadyRunning(path: string, owner: string | undefined): AppError {
  const who = owner === undefined ? 'another daemon that is starting' : `the daemon with pid ${owner}`;
  return new AppError('ALREADY_RUNNING', `${who} owns ${path}`, {
    hint: 'stop it, or give this daemon a state_dir of its own',
  });
}
