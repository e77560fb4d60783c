/**
 * The links of programs: pinned, so that they hold while no daemon runs, and open in this process. Whoever removes a pin
 * ends nothing as long as the daemon runs, and it pins the link again.
 */
import type { BpfLink, BpfProgram, LinkInfo } from '../../native/bpf.js';
import { LinkFront } from './link-front.js';
import { before, isAt, isAttached, lineOf, type Place } from './link-place.js';
import { type FoundLink, type KnownLink, type LinkState, lossOf } from './link-state.js';
import { OpenLinks, openLinksMax } from './open-links.js';
import { PinDirectory } from './pin-directory.js';
import { PinWatch } from './pin-watch.js';
import { Precedence } from './precedence.js';
import { type LinkedProgram, type Loss, type Predecessor, RepairLedger } from './repair-ledger.js';
import type { WantedLink } from './wanted-link.js';

/** What links share with whatever else keeps programs attached. */
export interface LinkPinsParts {
  /** Links that may be open in this process at once. */
  openMax?: number;
  ledger?: RepairLedger;
  precedence?: Precedence;
  /** A second copy of the program; undefined: it is not there yet. */
  spare?: (name: LinkedProgram) => BpfProgram | undefined;
}

export class LinkPins implements Disposable {
  /** What this daemon has put in order. */
  private readonly known = new Map<string, KnownLink>();
  /** Why links are not pinned, by name. */
  private readonly failures = new Map<string, string>();
  /** Of the programs, asked for once: they never change. */
  private readonly ids = new WeakMap<BpfProgram, number>();

  private readonly pins: PinDirectory;
  private watcher: PinWatch | undefined;
  private readonly open: OpenLinks;
  private readonly ledger: RepairLedger;
  private readonly front: LinkFront;

  constructor(
    directory: string,
    {
      openMax = openLinksMax(),
      ledger = new RepairLedger(),
      precedence = new Precedence(),
      spare = () => undefined,
    }: LinkPinsParts = {},
  ) {
    this.pins = new PinDirectory(directory);
    this.open = new OpenLinks(openMax);
    this.ledger = ledger;
    this.front = new LinkFront(this.pins, precedence, spare);
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
    if (known === undefined) this.pins.endDraft(name);
    const found = this.find(name, wanted.place);
    const open = this.open.get(name);
    if (open !== undefined && open !== found?.link) this.open.close(name);
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
      const moved = this.front.move(name, link, wanted, wanted.first);
      if (moved !== undefined) {
        if (link === this.open.get(name)) this.open.close(name);
        else link.close();
        link = moved.link;
        inode = this.pins.inode(name);
        repaired('position', moved.by);
      }
    }
    const { id: linkId } = link === found?.link ? found.info : link.info();
    this.known.set(name, { inode, programId, linkId, program: wanted.name, place: wanted.place });
    // Without a pin it ends when it is let go.
    const mustBeOpen = inode === 0 || wanted.isOpen === true;
    if (link !== this.open.get(name)) this.open.hold(name, link, mustBeOpen);
    return lost;
  }

  /** Whether the link of that name is there, whatever its program and whoever has made it. */
  isAt(name: string, place: Place): boolean {
    using pinned = this.pins.open(name);
    return [this.open.get(name), pinned].some((link) => link !== undefined && isAt(link.info(), place));
  }

  /** Whether what keep() has put in order is so still, but for its place among others: isPreceded(). */
  isIntact(name: string): boolean {
    const known = this.known.get(name);
    if (known === undefined || known.inode === 0 || this.pins.inode(name) !== known.inode) return false;
    const found = this.info(name);
    return found !== undefined && isAttached(found) && found.programId === known.programId;
  }

  /**
   * Of a link in a line of others, by one look at its pin and one at its hook. To be asked where its interface is; elsewhere
   * it is lost.
   */
  look(name: string): LinkState {
    const known = this.known.get(name);
    if (known === undefined || known.inode === 0 || this.pins.inode(name) !== known.inode) return 'lost';
    const { linkId, programId, program, place } = known;
    const line = lineOf(place);
    const own = line.find((one) => one.linkId === linkId);
    if (own?.programId !== programId) return 'lost';
    if (own !== line[0])
      return this.front.waits(name, program, () => before(linkId, line)) ? 'waiting' : 'preceded';
    this.front.isFirst(name);
    return 'in order';
  }

  /** With its pin a link ends, and with it the attachment, when the kernel finds the time; at once if `detach` says so. */
  remove(name: string, detach = false): void {
    if (detach) {
      using link = this.pins.open(name);
      for (const one of [this.open.get(name), link]) one?.detach();
    }
    // Before the pin: who lets go last waits for the kernel.
    this.open.close(name);
    this.known.delete(name);
    this.failures.delete(name);
    this.front.forget(name);
    this.pins.remove(name);
    this.pins.endDraft(name);
  }

  /** Of all links that there are, or ought to be. */
  names(): string[] {
    return [...new Set([...this.pins.names(), ...this.known.keys()])];
  }

  /** Calls back when a pin is not the one that this daemon has put there, once renew() was called. */
  watch(onLost: () => void, open?: ConstructorParameters<typeof PinWatch>[2]): PinWatch {
    this.watcher = new PinWatch(
      this.pins.path,
      (name) => {
        const { inode = 0 } = this.known.get(name) ?? {};
        if (inode !== 0 && this.pins.inode(name) !== inode) onLost();
      },
      open,
    );
    return this.watcher;
  }

  /** Why links that hold are not pinned, not first, or end unnoticed with their pins, a sentence each. */
  problems(): string[] {
    const { problem } = this.watcher ?? {};
    const isAlone = [...this.known.keys()].some((name) => this.open.get(name) === undefined);
    const unwatched =
      problem === undefined || !isAlone
        ? []
        : [`links that are held by their pins alone end unnoticed for 5 s with these: ${problem}`];
    return [...this.failures.values(), ...this.front.problems(), ...unwatched];
  }

  /** Whether the node sees other pins here than this process, or none. Where it may not ask: no. */
  isPrivate(): boolean {
    return this.pins.isPrivate();
  }

  /** Lets go of the links; those that are pinned go on. */
  [Symbol.dispose](): void {
    this.open[Symbol.dispose]();
    this.known.clear();
  }

  /** Undefined: there is none. */
  private info(name: string): LinkInfo | undefined {
    const open = this.open.get(name);
    if (open !== undefined) return open.info();
    using link = this.pins.open(name);
    return link?.info();
  }

  private find(name: string, place: Place): FoundLink | undefined {
    const open = this.open.get(name);
    const info = open?.info();
    if (open !== undefined && info !== undefined && isAt(info, place)) {
      // Opens no file: the process may have none left.
      const inode = this.pins.inode(name);
      return { link: open, info, isPinned: inode !== 0 && inode === this.known.get(name)?.inode };
    }
    const link = this.pins.open(name);
    let found: FoundLink | undefined;
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
      if (!isPinned) this.pins.pin(name, link);
      this.failures.delete(name);
      return this.pins.inode(name);
    } catch (error) {
      if (isNew) throw error;
      this.failures.set(name, error instanceof Error ? error.message : String(error));
      return 0;
    }
  }

  private idOf(program: BpfProgram): number {
    const id = this.ids.get(program) ?? program.info().id;
    this.ids.set(program, id);
    return id;
  }
}
