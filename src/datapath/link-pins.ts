/**
 * The links of programs: pinned, so that they hold while no daemon runs, and open in this process. Whoever removes a pin
 * ends nothing as long as the daemon runs, and it pins the link again.
 */
import { lstatSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { BpfLink, type BpfProgram, type LinkInfo, mountBpffs } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';

/** By which what was lost is told and counted; all hooks of sockets are one. */
export const LINKED_PROGRAMS = [
  'from_container',
  'to_container',
  'leave_container',
  'from_uplink',
  'uplink_xdp',
  'node_connect',
] as const;
export type LinkedProgram = (typeof LINKED_PROGRAMS)[number];

/**
 * What was lost while the daemon ran: `pin`: that alone, and the program went on; `program`: the link has had another;
 * `link`: there was none, and no program.
 */
export const LOSSES = ['pin', 'program', 'link'] as const;
export type Loss = (typeof LOSSES)[number];

export interface Repair {
  /** Name of the pin. */
  pin: string;
  program: LinkedProgram;
  lost: Loss;
}

/** Where a link is, in the kernel's words. */
export type Place = Pick<LinkInfo, 'type' | 'ifindex' | 'cgroupId' | 'attachType'>;

export interface WantedLink {
  name: LinkedProgram;
  program: BpfProgram;
  place: Place;
  /** Makes a link there. */
  attach: () => BpfLink;
}

interface Known {
  /** Of the pin; the kernel gives no number twice that soon. 0: the link could not be pinned. */
  inode: number;
  programId: number;
}

/** A link that is where it ought to be. */
type Found = { link: BpfLink; info: LinkInfo; isPinned: boolean };

export class LinkPins implements Disposable {
  /** Of the pins and links that this daemon has put in order. */
  private readonly known = new Map<string, Known>();
  /** As many of their links as the process may have open. */
  private readonly open = new Map<string, BpfLink>();
  private readonly counts = new Map<string, number>();
  private untold: Repair[] = [];
  /** Why links are not pinned, by name. */
  private readonly failures = new Map<string, string>();
  /** Of the programs, asked for once: they never change. */
  private readonly ids = new WeakMap<BpfProgram, number>();

  constructor(
    private readonly directory: string,
    private readonly openMax = openLinksMax(),
  ) {}

  /**
   * Makes sure that the program is there by a link of that name, and that the link is pinned; takes over what an earlier
   * daemon left. What was missing, if anything: after `link` it had to be attached. When it throws, nothing was attached.
   * A link that this daemon had in order is kept without its pin, if that cannot be put back: problems() tells.
   */
  keep(name: string, wanted: WantedLink): Loss | undefined {
    const known = this.known.get(name);
    const programId = this.idOf(wanted.program);
    const found = this.find(name, wanted.place);
    const open = this.open.get(name);
    if (open !== undefined && open !== found?.link) {
      open.close();
      this.open.delete(name);
    }
    const link = found?.link ?? wanted.attach();
    let inode: number;
    try {
      if (found !== undefined && found.info.programId !== programId) link.update(wanted.program);
      inode = this.pinned(name, link, { isPinned: found?.isPinned ?? false, isNew: known === undefined });
    } catch (error) {
      if (found === undefined) link.detach();
      if (link !== open) link.close();
      throw error;
    }
    const lost = lossOf(found, known);
    const isBack = lost !== 'pin' || inode !== 0;
    if (lost !== undefined && known !== undefined && isBack) this.tell(name, wanted.name, lost);
    this.known.set(name, { inode, programId });
    // Without a pin it ends when it is let go.
    if (link !== open) this.holdOpen(name, link, inode === 0);
    return lost;
  }

  /** Whether the link of that name is there, whatever its program and whoever has made it. */
  isAt(name: string, place: Place): boolean {
    using pinned = BpfLink.openPin(this.path(name));
    return [this.open.get(name), pinned].some((link) => link !== undefined && isAt(link.info(), place));
  }

  /** Whether what keep() has put in order is so still. */
  isIntact(name: string): boolean {
    const known = this.known.get(name);
    if (known === undefined || known.inode === 0 || this.inode(name) !== known.inode) return false;
    const isSo = (link: BpfLink | undefined) => {
      const found = link?.info();
      return found !== undefined && isAttached(found) && found.programId === known.programId;
    };
    const open = this.open.get(name);
    if (open !== undefined) return isSo(open);
    using link = BpfLink.openPin(this.path(name));
    return isSo(link);
  }

  /** With its pin a link ends, and with it the attachment, when the kernel finds the time; at once if `detach` says so. */
  remove(name: string, detach = false): void {
    const open = this.open.get(name);
    if (detach) {
      using link = BpfLink.openPin(this.path(name));
      for (const one of [open, link]) one?.detach();
    }
    // Before the pin: who lets go last waits for the kernel.
    open?.close();
    this.open.delete(name);
    this.known.delete(name);
    this.failures.delete(name);
    this.removePin(name);
  }

  /** Of all links that there are, or ought to be. */
  names(): string[] {
    return [...new Set([...this.pins(), ...this.known.keys()])];
  }

  /** What was lost since the last call, and was put back. */
  takeRepairs(): Repair[] {
    const repairs = this.untold;
    this.untold = [];
    return repairs;
  }

  /** Why links that hold are not pinned, a sentence each. */
  problems(): string[] {
    return [...this.failures.values()];
  }

  /** Whether the node sees other pins here than this process, or none. Where it may not ask: no. */
  isPrivate(): boolean {
    try {
      return statSync(this.directory).dev !== statSync(`/proc/1/root${this.directory}`).dev;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOENT';
    }
  }

  /** How often something was lost and put back since the start. */
  repairs(): { program: LinkedProgram; lost: Loss; count: number }[] {
    return LINKED_PROGRAMS.flatMap((program) =>
      LOSSES.map((lost) => ({ program, lost, count: this.counts.get(`${program} ${lost}`) ?? 0 })),
    );
  }

  /** Lets go of the links; those that are pinned go on. */
  [Symbol.dispose](): void {
    for (const link of this.open.values()) link.close();
    this.open.clear();
    this.known.clear();
  }

  private find(name: string, place: Place): Found | undefined {
    const open = this.open.get(name);
    const info = open?.info();
    if (open !== undefined && info !== undefined && isAt(info, place)) {
      // Opens no file: the process may have none left.
      const inode = this.inode(name);
      return { link: open, info, isPinned: inode !== 0 && inode === this.known.get(name)?.inode };
    }
    const link = BpfLink.openPin(this.path(name));
    let found: Found | undefined;
    try {
      const info = link?.info();
      if (link !== undefined && info !== undefined && isAt(info, place))
        found = { link, info, isPinned: true };
      return found;
    } finally {
      if (found === undefined) link?.close();
    }
  }

  /** Makes sure that the link is pinned. Inode of the pin; 0: there is none. Throws only what concerns a new one. */
  private pinned(
    name: string,
    link: BpfLink,
    { isPinned, isNew }: Record<'isPinned' | 'isNew', boolean>,
  ): number {
    try {
      if (!isPinned) this.pin(name, link);
      this.failures.delete(name);
      return this.inode(name);
    } catch (error) {
      if (isNew) throw error;
      this.failures.set(name, error instanceof Error ? error.message : String(error));
      return 0;
    }
  }

  private holdOpen(name: string, link: BpfLink, isNeeded: boolean): void {
    if (isNeeded || this.open.size < this.openMax) this.open.set(name, link);
    else link.close();
  }

  /** In the place of whatever is there. */
  private pin(name: string, link: BpfLink): void {
    this.removePin(name);
    try {
      link.pin(this.path(name));
    } catch (error) {
      if (!(error instanceof KernelError && error.code === 'ENOENT')) throw error;
      // The directory has gone with what was in it.
      mountBpffs(this.directory);
      link.pin(this.path(name));
    }
  }

  private idOf(program: BpfProgram): number {
    const id = this.ids.get(program) ?? program.info().id;
    this.ids.set(program, id);
    return id;
  }

  private tell(pin: string, program: LinkedProgram, lost: Loss): void {
    const key = `${program} ${lost}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    this.untold.push({ pin, program, lost });
  }

  private pins(): string[] {
    try {
      return readdirSync(this.directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  private removePin(name: string): void {
    if (this.inode(name) !== 0) rmSync(this.path(name), { recursive: true, force: true });
  }

  /** 0: there is none that can be looked at. */
  private inode(name: string): number {
    try {
      return lstatSync(this.path(name)).ino;
    } catch {
      return 0;
    }
  }

  private path(name: string): string {
    return `${this.directory}/${name}`;
  }
}

function lossOf(found: Found | undefined, known: Known | undefined): Loss | undefined {
  if (found === undefined) return 'link';
  if (known !== undefined && found.info.programId !== known.programId) return 'program';
  return found.isPinned ? undefined : 'pin';
}

function isAt(found: LinkInfo, place: Place): boolean {
  return (
    isAttached(found) &&
    found.type === place.type &&
    found.attachType === place.attachType &&
    found.ifindex === place.ifindex &&
    found.cgroupId === place.cgroupId
  );
}

/** Of an interface or a cgroup that is gone, or after somebody has ended it, it has neither. */
function isAttached({ ifindex = 0, cgroupId = 0 }: LinkInfo): boolean {
  return ifindex !== 0 || cgroupId !== 0;
}

/** Half of what the process may have open: the other half is for everything else. */
function openLinksMax(): number {
  const [, soft] = /^Max open files\s+([0-9]+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Math.floor(Number(soft) / 2);
}
