/**
 * Tells of pins that somebody removes, as soon as the kernel does: a link that is held by its pin alone ends with it. Where
 * nothing can be watched, the looks at intervals find it.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';

export class PinWatch implements Disposable {
  private watcher: FSWatcher | undefined;
  /** Of the directory that is watched. */
  private inode = 0;
  /** Why the directory that is there is not watched. */
  problem: string | undefined;

  constructor(
    private readonly directory: string,
    /** Something has happened to what has that name. */
    private readonly onChange: (name: string) => void,
    private readonly open: typeof watch = watch,
  ) {}

  /** Watches the directory that is there now; to be called again when it may be another. */
  renew(): void {
    const inode = inodeOf(this.directory);
    if (this.watcher !== undefined && inode === this.inode) return;
    this[Symbol.dispose]();
    if (inode === 0) return;
    try {
      const watcher = this.open(this.directory, { persistent: false }, (_, name) => {
        if (name !== null) this.onChange(name);
      });
      watcher.on('error', () => this[Symbol.dispose]());
      this.watcher = watcher;
      this.inode = inode;
      this.problem = undefined;
    } catch (error) {
      // No directory any more, or no file is left, or too many watches.
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  [Symbol.dispose](): void {
    this.watcher?.close();
    this.watcher = undefined;
  }
}

/** 0: it is not there. */
function inodeOf(path: string): number {
  try {
    return statSync(path).ino;
  } catch {
    return 0;
  }
}
