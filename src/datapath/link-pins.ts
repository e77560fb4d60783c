/**
 * The links of programs: pinned, so that they hold while no daemon runs, and open in this process. Whoever removes a pin
 * ends nothing as long as the daemon runs, and it pins the link again.
 */
import { lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import {
  AttachType,
  BpfLink,
  type BpfProgram,
  type LinkInfo,
  LinkType,
  mountBpffs,
  type TcxEntry,
  tcxLine,
} from '../native/bpf.js';
import { descriptorsMax } from '../native/descriptors.js';
import { KernelError } from '../native/errors.js';
import { expediteGracePeriods } from '../native/rcu.js';
import { PinWatch } from './pin-watch.js';
import { Precedence } from './precedence.js';
import {
  type LinkedProgram,
  type Loss,
  type Predecessor,
  predecessorsOf,
  RepairLedger,
} from './repair-ledger.js';

/** Where a link is, in the kernel's words. */
export type Place = Pick<LinkInfo, 'type' | 'ifindex' | 'cgroupId' | 'attachType'>;

export interface WantedLink {
  name: LinkedProgram;
  program: BpfProgram;
  place: Place;
  /** It is one of a few, and is open in any case: what is done for it must not depend on files that are left. */
  isOpen?: boolean;
  /** Makes a link there; of a place where others can be too, before all of them. */
  attach: (program: BpfProgram) => BpfLink;
  /** Where its place among others counts; what is given is done where the interface is. */
  first?: { inside: <T>(work: () => T) => T };
}

interface Known {
  /** Of the pin; the kernel gives no number twice that soon. 0: the link could not be pinned. */
  inode: number;
  programId: number;
}

/** A link that is where it ought to be. */
type Found = { link: BpfLink; info: LinkInfo; isPinned: boolean };

/** What links share with whatever else keeps programs attached. */
export interface LinkPinsParts {
  /** Links that may be open in this process at once. */
  openMax?: number;
  ledger?: RepairLedger;
  precedence?: Precedence;
  /** A second copy of the program; undefined: it is not there yet. */
  spare?: (name: LinkedProgram) => BpfProgram | undefined;
}

/** Behind the name of a pin: of the link that is to take the place of the one by that name. */
const DRAFT = '~';

export class LinkPins implements Disposable {
  /** Of the pins and links that this daemon has put in order. */
  private readonly known = new Map<string, Known>();
  /** As many of their links as the process may have open. */
  private readonly open = new Map<string, BpfLink>();
  /** Why links are not pinned, by name. */
  private readonly failures = new Map<string, string>();
  /** Why links could not be put first, by name. */
  private readonly unmoved = new Map<string, string>();
  /** Of the programs, asked for once: they never change. */
  private readonly ids = new WeakMap<BpfProgram, number>();

  private readonly openMax: number;
  private readonly ledger: RepairLedger;
  private readonly precedence: Precedence;
  private readonly spare: (name: LinkedProgram) => BpfProgram | undefined;

  constructor(
    private readonly directory: string,
    {
      openMax = openLinksMax(),
      ledger = new RepairLedger(),
      precedence = new Precedence(),
      spare = () => undefined,
    }: LinkPinsParts = {},
  ) {
    this.openMax = openMax;
    this.ledger = ledger;
    this.precedence = precedence;
    this.spare = spare;
  }

  /**
   * Makes sure that the program is there by a link of that name, first where that counts, and that the link is pinned;
   * takes over what an earlier daemon left. What was missing, if anything: after `link` it had to be attached. When it
   * throws, nothing was attached. A link that this daemon had in order is kept without its pin, if that cannot be put back,
   * and where it is, if it cannot be first: problems() tells.
   */
  keep(name: string, wanted: WantedLink): Loss | undefined {
    const known = this.known.get(name);
    const programId = this.idOf(wanted.program);
    // An earlier daemon may have ended before the draft was the pin.
    if (known === undefined) this.removeDraft(name);
    const found = this.find(name, wanted.place);
    const open = this.open.get(name);
    if (open !== undefined && open !== found?.link) {
      open.close();
      this.open.delete(name);
    }
    let link = found?.link ?? wanted.attach(wanted.program);
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
    const repaired = (what: Loss, by?: Predecessor[]) => {
      const repair = { pin: name, program: wanted.name, lost: what };
      if (known !== undefined) this.ledger.add(by === undefined ? repair : { ...repair, by });
    };
    if (lost !== undefined && isBack) repaired(lost);
    if (found !== undefined && wanted.first !== undefined) {
      const moved = this.toFront(name, link, wanted, wanted.first);
      if (moved !== undefined) {
        link.close();
        this.open.delete(name);
        link = moved.link;
        inode = this.inode(name);
        repaired('position', moved.by);
      }
    }
    this.known.set(name, { inode, programId });
    // Without a pin it ends when it is let go.
    const mustBeOpen = inode === 0 || wanted.isOpen === true;
    if (link !== this.open.get(name)) this.holdOpen(name, link, mustBeOpen);
    return lost;
  }

  /** Whether the link of that name is there, whatever its program and whoever has made it. */
  isAt(name: string, place: Place): boolean {
    using pinned = BpfLink.openPin(this.path(name));
    return [this.open.get(name), pinned].some((link) => link !== undefined && isAt(link.info(), place));
  }

  /** Whether what keep() has put in order is so still, but for its place among others: isPreceded(). */
  isIntact(name: string): boolean {
    const known = this.known.get(name);
    if (known === undefined || known.inode === 0 || this.inode(name) !== known.inode) return false;
    const found = this.info(name);
    return found !== undefined && isAttached(found) && found.programId === known.programId;
  }

  /** Whether others run before the link of that name. To be asked where its interface is; elsewhere nothing is found. */
  isPreceded(name: string): boolean {
    const info = this.info(name);
    const at = info === undefined ? -1 : positionOf(info, lineOf(info));
    if (at === 0) this.isFirst(name);
    return at > 0;
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
    this.unmoved.delete(name);
    this.precedence.forget(name);
    this.removePin(name);
    this.removeDraft(name);
  }

  /** Of all links that there are, or ought to be. */
  names(): string[] {
    return [...new Set([...this.pins(), ...this.known.keys()])];
  }

  /** Calls back when a pin is not the one that this daemon has put there, once renew() was called. */
  watch(onLost: () => void): PinWatch {
    return new PinWatch(this.directory, (name) => {
      const { inode = 0 } = this.known.get(name) ?? {};
      if (inode !== 0 && this.inode(name) !== inode) onLost();
    });
  }

  /** Why links that hold are not pinned, or not first, a sentence each. */
  problems(): string[] {
    return [...this.failures.values(), ...this.unmoved.values()];
  }

  /** Whether the node sees other pins here than this process, or none. Where it may not ask: no. */
  isPrivate(): boolean {
    try {
      return statSync(this.directory).dev !== statSync(`/proc/1/root${this.directory}`).dev;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOENT';
    }
  }

  /** Lets go of the links; those that are pinned go on. */
  [Symbol.dispose](): void {
    for (const link of this.open.values()) link.close();
    this.open.clear();
    this.known.clear();
  }

  /** Undefined: there is none. */
  private info(name: string): LinkInfo | undefined {
    const open = this.open.get(name);
    if (open !== undefined) return open.info();
    using link = BpfLink.openPin(this.path(name));
    return link?.info();
  }

  /**
   * Puts the program before those of others that are before it, by another link under the name of this one. Until that is
   * there and pinned, this one goes on: a packet may meet both for as long as the kernel takes to end it, none meets neither.
   * Undefined: `link` stays, since nobody is before it or we cannot be first now, which precedence and problems() then tell.
   */
  private toFront(
    name: string,
    link: BpfLink,
    wanted: WantedLink,
    { inside }: NonNullable<WantedLink['first']>,
  ): { link: BpfLink; by: Predecessor[] } | undefined {
    using _ = expediteGracePeriods();
    let next: BpfLink | undefined;
    let by: Predecessor[];
    try {
      by = inside(() => predecessors(link.info()));
      if (by.length === 0) {
        this.isFirst(name);
        return undefined;
      }
      this.precedence.isBehind({ pin: name, program: wanted.name, by });
      const spare = this.precedence.mayMove(name) ? this.spare(wanted.name) : undefined;
      if (spare === undefined) return undefined;
      this.removeDraft(name);
      next = wanted.attach(spare);
      next.pin(this.path(name + DRAFT));
      renameSync(this.path(name + DRAFT), this.path(name));
    } catch (error) {
      next?.detach();
      next?.close();
      this.removeDraft(name);
      this.unmoved.set(name, `${name} cannot be first: ${error instanceof Error ? error.message : error}`);
      return undefined;
    }
    link.detach();
    next.update(wanted.program);
    this.unmoved.delete(name);
    this.precedence.moved(name);
    return { link: next, by };
  }

  private isFirst(name: string): void {
    this.unmoved.delete(name);
    this.precedence.isFirst(name);
  }

  /** What a daemon that ended in toFront() has left. Its link ends at once: the one by the name itself is there. */
  private removeDraft(name: string): void {
    const draft = name + DRAFT;
    if (this.inode(draft) === 0) return;
    using link = BpfLink.openPin(this.path(draft));
    link?.detach();
    this.removePin(draft);
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

/** Of an interface that is not here, or a link that is on none: empty. */
function lineOf({ ifindex = 0, attachType }: LinkInfo): TcxEntry[] {
  try {
    return ifindex === 0 ? [] : tcxLine(ifindex, directionOf(attachType));
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENODEV') return [];
    throw error;
  }
}

/** -1: the link is not there. */
function positionOf({ id }: LinkInfo, line: readonly TcxEntry[]): number {
  return line.findIndex(({ linkId }) => linkId === id);
}

/** Programs of others that run before that of the link; none where there is but one, or the link has ended. */
function predecessors(info: LinkInfo): Predecessor[] {
  if (info.type !== LinkType.TCX || !isAttached(info)) return [];
  const line = lineOf(info);
  const at = positionOf(info, line);
  if (at <= 0) return [];
  return predecessorsOf(line.slice(0, at).map(({ programId }) => programId));
}

function directionOf(attachType: number | undefined): 'ingress' | 'egress' {
  return attachType === AttachType.TCX_INGRESS ? 'ingress' : 'egress';
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

/** For everything else; the daemon has some hundred open, and a connection of its API is one each. */
const OTHER_FILES_MIN = 512;

/** Half of what the process may have open, if that leaves enough. */
export function openLinksMax(limit = descriptorsMax()): number {
  return Math.max(0, Math.min(Math.floor(limit / 2), limit - OTHER_FILES_MIN));
}
