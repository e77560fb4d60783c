/** The directory of the pins of links: files by their names, which others can remove or replace at any time. */
import { lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { BpfLink, mountBpffs } from '../../native/bpf.js';
import { KernelError } from '../../native/errors.js';

/** Behind the name of a pin: of the link that is to take the place of the one by that name. */
const DRAFT = '~';

export class PinDirectory {
  constructor(readonly path: string) {}

  /** The link by that name; undefined: there is none. */
  open(name: string): BpfLink | undefined {
    return BpfLink.openPin(this.file(name));
  }

  /** Of the pin; the kernel gives no number twice that soon. 0: there is none that can be looked at. */
  inode(name: string): number {
    try {
      return lstatSync(this.file(name)).ino;
    } catch {
      return 0;
    }
  }

  names(): string[] {
    try {
      return readdirSync(this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  /** In the place of whatever is there. */
  pin(name: string, link: BpfLink): void {
    this.remove(name);
    try {
      link.pin(this.file(name));
    } catch (error) {
      if (!(error instanceof KernelError && error.code === 'ENOENT')) throw error;
      // The directory has gone with what was in it.
      mountBpffs(this.path);
      link.pin(this.file(name));
    }
  }

  /** In the place of the one by that name, in one step: there is a pin at each moment. */
  replace(name: string, link: BpfLink): void {
    link.pin(this.file(name + DRAFT));
    renameSync(this.file(name + DRAFT), this.file(name));
  }

  remove(name: string): void {
    if (this.inode(name) !== 0) rmSync(this.file(name), { recursive: true, force: true });
  }

  /** What a daemon that ended in replace() has left. Its link ends at once: the one by the name itself is there. */
  endDraft(name: string): void {
    const draft = name + DRAFT;
    if (this.inode(draft) === 0) return;
    using link = this.open(draft);
    link?.detach();
    this.remove(draft);
  }

  /** Whether the node sees other pins here than this process, or none. Where it may not ask: no. */
  isPrivate(): boolean {
    try {
      return statSync(this.path).dev !== statSync(`/proc/1/root${this.path}`).dev;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOENT';
    }
  }

  private file(name: string): string {
    return `${this.path}/${name}`;
  }
}
