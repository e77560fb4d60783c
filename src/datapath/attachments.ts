/**
 * The programs on the two hooks of each endpoint's interface. Where the kernel has TCX links (6.6) they are
 * pinned, so that they hold while no daemon runs, and replaced in place; older kernels keep clsact filters, which
 * live as long as the interface and are replaced atomically too.
 */
import { type BpfProgram, tcxSupported } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import { NetnsHandle } from '../native/net.js';
import { expediteGracePeriods } from '../native/rcu.js';
import type { ClsactFilters } from './clsact-filters.js';
import { firstOnTcx } from './interface-links.js';
import type { LinkPins } from './link-pins.js';
import type { Loss } from './repair-ledger.js';

const HOOKS = [
  { direction: 'ingress', program: 'from_container' },
  { direction: 'egress', program: 'to_container' },
] as const;
type Hook = (typeof HOOKS)[number] | typeof GUARD;

/** A pin of ours; whatever else stands in the directory is somebody else's. */
const PIN = /^(qn[0-9a-f]{8})_(?:from_container|to_container|leave_container)~?$/;
const GUARD = { direction: 'egress', program: 'leave_container' } as const;

export interface Attachable {
  /** Name of the host's side of the veth; pins are named after it. */
  interface: string;
  ifindex: number;
}

export interface Attachments {
  /** How programs are attached here. */
  readonly kind: 'tcx' | 'clsact';
  /**
   * Puts the current programs on both hooks of an interface that was just made, and on its other end. When it throws,
   * none of ours is on any.
   */
  attach(target: Attachable, inside: ContainerSide): void;
  /** Like attach(), but takes over what an earlier daemon left. True: something was missing and had to be attached. */
  adopt(target: Attachable): boolean;
  /**
   * Takes over the leave_container that is on the container's side, of which `target` has the number there, or puts the
   * current one there, or first. True: it had to be attached. `open` is called only if something is to be done there, for
   * the namespace. Without TCX nothing is done.
   */
  guard(target: Attachable, open: () => NetnsHandle): boolean;
  /** Whether the current programs are on both hooks, and the guard is on the other side. */
  isAttached(target: Attachable): boolean;
  /** Whether nobody has taken links, filters or pins away, or changed them, since this daemon had them in order. */
  isIntact(interfaceName: string): boolean;
  /**
   * Whether programs of others have been put before links of ours. `netnsPath`: where the container's side is; there is no
   * look at that one where nothing of it is found.
   */
  isPreceded(interfaceName: string, netnsPath: string): boolean;
  /** Takes them off; nothing there is fine. */
  detach(target: Attachable): void;
  /** Interfaces for which pins exist. */
  pinned(): string[];
  /** Removes the pins of an interface that is gone. */
  unpin(interfaceName: string): void;
}

export interface AttachedPrograms {
  fromContainer: BpfProgram;
  toContainer: BpfProgram;
  leaveContainer: BpfProgram | undefined;
}

/** The container's side of a veth, in its namespace. */
export interface ContainerSide {
  netns: NetnsHandle;
  ifindex: number;
}

export function openAttachments(
  programs: AttachedPrograms,
  pins: LinkPins,
  filters: ClsactFilters,
): Attachments {
  return tcxSupported() ? new TcxAttachments(programs, pins) : new ClsactAttachments(programs, filters);
}

function programFor(hook: Hook, programs: AttachedPrograms): BpfProgram {
  if (hook.program === 'from_container') return programs.fromContainer;
  if (hook.program === 'to_container') return programs.toContainer;
  if (programs.leaveContainer === undefined) throw new Error('leave_container is not loaded');
  return programs.leaveContainer;
}

/** Does what is to be done where the interface is. */
type Inside = <T>(work: () => T) => T;

class TcxAttachments implements Attachments {
  readonly kind = 'tcx';
  /** Interfaces on whose other side somebody has been seen before the guard. */
  private readonly precededGuards = new Set<string>();

  constructor(
    private readonly programs: AttachedPrograms,
    private readonly pins: LinkPins,
  ) {}

  attach(target: Attachable, { netns, ifindex }: ContainerSide): void {
    try {
      using _ = expediteGracePeriods();
      for (const hook of HOOKS) this.keep(hook, target);
      const inside = { interface: target.interface, ifindex };
      this.keep(GUARD, inside, (work) => netns.run(work));
    } catch (error) {
      this.unpin(target.interface);
      throw error;
    }
  }

  adopt(target: Attachable): boolean {
    const expedited: Inside = (work) => {
      using _ = expediteGracePeriods();
      return work();
    };
    return HOOKS.map((hook) => this.keep(hook, target, expedited)).includes('link');
  }

  guard(target: Attachable, open: () => NetnsHandle): boolean {
    const isPreceded = this.precededGuards.delete(target.interface);
    const inside: Inside = (work) => {
      using netns = open();
      using _ = expediteGracePeriods();
      return netns.run(work);
    };
    return this.keep(GUARD, target, inside, isPreceded) === 'link';
  }

  isAttached(target: Attachable): boolean {
    return this.isIntact(target.interface);
  }

  isIntact(interfaceName: string): boolean {
    return [...HOOKS, GUARD].every((hook) => this.pins.isIntact(nameOf(hook, interfaceName)));
  }

  isPreceded(interfaceName: string, netnsPath: string): boolean {
    if (this.isGuardPreceded(interfaceName, netnsPath)) this.precededGuards.add(interfaceName);
    return (
      this.precededGuards.has(interfaceName) ||
      HOOKS.some((hook) => this.pins.isPreceded(nameOf(hook, interfaceName)))
    );
  }

  detach(target: Attachable): void {
    this.unpin(target.interface);
  }

  pinned(): string[] {
    return [...new Set(this.pins.names().flatMap((name) => PIN.exec(name)?.[1] ?? []))];
  }

  unpin(interfaceName: string): void {
    this.precededGuards.delete(interfaceName);
    for (const hook of [...HOOKS, GUARD]) this.pins.remove(nameOf(hook, interfaceName));
  }

  /** No where the container's side is not found: what the path leads to is not the daemon's. */
  private isGuardPreceded(interfaceName: string, netnsPath: string): boolean {
    try {
      using netns = NetnsHandle.open(netnsPath);
      return netns.run(() => this.pins.isPreceded(nameOf(GUARD, interfaceName)));
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return false;
    }
  }

  /** `isOrdered`: to be the first counts. */
  private keep(
    hook: Hook,
    { interface: name, ifindex }: Attachable,
    inside?: Inside,
    isOrdered = true,
  ): Loss | undefined {
    const { direction, program } = hook;
    const { first, ...wanted } = firstOnTcx(
      program,
      programFor(hook, this.programs),
      { ifindex, direction },
      inside,
    );
    return this.pins.keep(
      nameOf(hook, name),
      isOrdered && first !== undefined ? { ...wanted, first } : wanted,
    );
  }
}

function nameOf({ program }: Hook, interfaceName: string): string {
  return `${interfaceName}_${program}`;
}

class ClsactAttachments implements Attachments {
  readonly kind = 'clsact';
  /** Of the interfaces that filters were put on, by name. */
  private readonly indexes = new Map<string, number>();

  constructor(
    private readonly programs: AttachedPrograms,
    private readonly filters: ClsactFilters,
  ) {}

  attach(target: Attachable): void {
    try {
      this.keep(target);
    } catch (error) {
      this.detach(target);
      throw error;
    }
  }

  adopt(target: Attachable): boolean {
    return this.keep(target).includes('link');
  }

  guard(): boolean {
    return false;
  }

  isAttached(target: Attachable): boolean {
    return this.isIntact(target.interface);
  }

  isIntact(interfaceName: string): boolean {
    const ifindex = this.indexes.get(interfaceName);
    if (ifindex === undefined) return false;
    return HOOKS.every(({ direction }) => this.filters.isIntact({ ifindex, direction }));
  }

  /** isIntact() has asked for that too. */
  isPreceded(): boolean {
    return false;
  }

  detach({ interface: name, ifindex }: Attachable): void {
    for (const { direction } of HOOKS) this.filters.remove({ ifindex, direction });
    this.indexes.delete(name);
  }

  pinned(): string[] {
    return [];
  }

  /** They went with it. */
  unpin(interfaceName: string): void {
    const ifindex = this.indexes.get(interfaceName);
    if (ifindex !== undefined) this.filters.forget(ifindex);
    this.indexes.delete(interfaceName);
  }

  private keep({ interface: name, ifindex }: Attachable): (Loss | undefined)[] {
    this.indexes.set(name, ifindex);
    return HOOKS.map((hook) => {
      const { program: own, direction } = hook;
      return this.filters.keep({ name: own, program: programFor(hook, this.programs), ifindex, direction });
    });
  }
}
