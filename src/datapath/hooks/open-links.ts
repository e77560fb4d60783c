/** Links that are open in this process: they go on without their pins for as long as it runs. */
import type { BpfLink } from '../../native/bpf.js';
import { descriptorsMax } from '../../native/descriptors.js';

/** For everything else; the daemon has some hundred open, and a connection of its API is one each. */
const OTHER_FILES_MIN = 512;

/** Half of what the process may have open, if that leaves enough. */
export function openLinksMax(limit = descriptorsMax()): number {
  return Math.max(0, Math.min(Math.floor(limit / 2), limit - OTHER_FILES_MIN));
}

export class OpenLinks implements Disposable {
  private readonly links = new Map<string, BpfLink>();

  /** As many of them as the process may have open. */
  constructor(private readonly max: number) {}

  get(name: string): BpfLink | undefined {
    return this.links.get(name);
  }

  /** Keeps it open, in any case if it must be; else closes it. The one by that name is no matter of this any more. */
  hold(name: string, link: BpfLink, mustBeOpen: boolean): void {
    if (mustBeOpen || this.links.size < this.max) this.links.set(name, link);
    else link.close();
  }

  close(name: string): void {
    this.links.get(name)?.close();
    this.links.delete(name);
  }

  [Symbol.dispose](): void {
    for (const link of this.links.values()) link.close();
    this.links.clear();
  }
}
