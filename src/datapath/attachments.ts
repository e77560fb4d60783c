/**
 * The programs on the two hooks of each endpoint's interface. Where the kernel has TCX links (6.6) they are
 * pinned, so that they hold while no daemon runs, and replaced in place; older kernels keep clsact filters, which
 * live as long as the interface and are replaced atomically too.
 */
import {
  attachClsact,
  type BpfLink,
  type BpfProgram,
  detachClsact,
  queryClsact,
  tcxSupported,
} from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import type { NetnsHandle } from '../native/net.js';
import { expediteGracePeriods } from '../native/rcu.js';
import { firstOnTcx } from './interface-links.js';
import type { LinkPins, Loss } from './link-pins.js';

const HOOKS = [
  { direction: 'ingress', program: 'from_container' },
  { direction: 'egress', program: 'to_container' },
] as const;
type Hook = (typeof HOOKS)[number] | typeof GUARD;

/** A pin of ours; whatever else stands in the directory is somebody else's. */
const PIN = /^(qn[0-9a-f]{8})_(?:from_container|to_container|leave_container)$/;
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
   * current one there. True: it had to be attached. `open` is called only then, for the namespace. Without TCX nothing is
   * done.
   */
  guard(target: Attachable, open: () => NetnsHandle): boolean;
  /** Whether the current programs are on both hooks, and the guard is on the other side. */
  isAttached(target: Attachable): boolean;
  /** Whether nobody has taken links or pins away, or changed them, since this daemon had them in order. Asks no interface. */
  isIntact(interfaceName: string): boolean;
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

export function openAttachments(programs: AttachedPrograms, pins: LinkPins): Attachments {
  return tcxSupported() ? new TcxAttachments(programs, pins) : new ClsactAttachments(programs);
}

function programFor(hook: Hook, programs: AttachedPrograms): BpfProgram {
  if (hook.program === 'from_container') return programs.fromContainer;
  if (hook.program === 'to_container') return programs.toContainer;
  if (programs.leaveContainer === undefined) throw new Error('leave_container is not loaded');
  return programs.leaveContainer;
}

class TcxAttachments implements Attachments {
  readonly kind = 'tcx';

  constructor(
    private readonly programs: AttachedPrograms,
    private readonly pins: LinkPins,
  ) {}

  attach(target: Attachable, { netns, ifindex }: ContainerSide): void {
    try {
      using _ = expediteGracePeriods();
      for (const hook of HOOKS) this.keep(hook, target);
      const inside = { interface: target.interface, ifindex };
      this.keep(GUARD, inside, (attach) => netns.run(attach));
    } catch (error) {
      this.unpin(target.interface);
      throw error;
    }
  }

  adopt(target: Attachable): boolean {
    const expedited = (attach: () => BpfLink) => {
      using _ = expediteGracePeriods();
      return attach();
    };
    return HOOKS.map((hook) => this.keep(hook, target, expedited)).includes('link');
  }

  guard(target: Attachable, open: () => NetnsHandle): boolean {
    const lost = this.keep(GUARD, target, (attach) => {
      using netns = open();
      using _ = expediteGracePeriods();
      return netns.run(attach);
    });
    return lost === 'link';
  }

  isAttached(target: Attachable): boolean {
    return this.isIntact(target.interface);
  }

  isIntact(interfaceName: string): boolean {
    return [...HOOKS, GUARD].every((hook) => this.pins.isIntact(nameOf(hook, interfaceName)));
  }

  detach(target: Attachable): void {
    this.unpin(target.interface);
  }

  pinned(): string[] {
    return [...new Set(this.pins.names().flatMap((name) => PIN.exec(name)?.[1] ?? []))];
  }

  unpin(interfaceName: string): void {
    for (const hook of [...HOOKS, GUARD]) this.pins.remove(nameOf(hook, interfaceName));
  }

  /** `inside`: of what is to be done where the interface is. */
  private keep(
    hook: Hook,
    { interface: name, ifindex }: Attachable,
    inside = (attach: () => BpfLink) => attach(),
  ): Loss | undefined {
    const { direction, program } = hook;
    const wanted = firstOnTcx(program, programFor(hook, this.programs), { ifindex, direction });
    return this.pins.keep(nameOf(hook, name), { ...wanted, attach: () => inside(wanted.attach) });
  }
}

function nameOf({ program }: Hook, interfaceName: string): string {
  return `${interfaceName}_${program}`;
}

export class ClsactAttachments implements Attachments {
  readonly kind = 'clsact';

  constructor(private readonly programs: AttachedPrograms) {}

  attach(target: Attachable): void {
    try {
      for (const hook of HOOKS) this.replace(hook, target);
    } catch (error) {
      this.detach(target);
      throw error;
    }
  }

  adopt(target: Attachable): boolean {
    const repaired = HOOKS.some(
      (hook) => queryClsact({ ifindex: target.ifindex, direction: hook.direction }) === undefined,
    );
    for (const hook of HOOKS) this.replace(hook, target);
    return repaired;
  }

  guard(): boolean {
    return false;
  }

  /** Filters have no pins, and live with the interface. */
  isIntact(): boolean {
    return true;
  }

  isAttached(target: Attachable): boolean {
    return HOOKS.every(
      (hook) =>
        queryClsact({ ifindex: target.ifindex, direction: hook.direction })?.programId ===
        programFor(hook, this.programs).info().id,
    );
  }

  detach(target: Attachable): void {
    for (const hook of HOOKS) {
      try {
        detachClsact({ ifindex: target.ifindex, direction: hook.direction });
      } catch (error) {
        // The filter goes with its interface.
        if (!(error instanceof KernelError && (error.code === 'ENOENT' || error.code === 'ENODEV')))
          throw error;
      }
    }
  }

  pinned(): string[] {
    return [];
  }

  unpin(): void {}

  private replace(hook: Hook, target: Attachable): void {
    attachClsact({
      program: programFor(hook, this.programs),
      ifindex: target.ifindex,
      direction: hook.direction,
    });
  }
}
