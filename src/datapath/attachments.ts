/**
 * The programs on the two hooks of each endpoint's interface. Where the kernel has TCX links (6.6) they are
 * pinned, so that they hold while no daemon runs, and replaced in place; older kernels keep clsact filters, which
 * live as long as the interface and are replaced atomically too.
 */
import { readdirSync, rmSync } from 'node:fs';
import {
  attachClsact,
  BpfLink,
  type BpfProgram,
  detachClsact,
  queryClsact,
  tcxSupported,
} from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import type { NetnsHandle } from '../native/net.js';
import { expediteGracePeriods } from '../native/rcu.js';

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
   * Takes over the leave_container that is on the container's side, or puts the current one there. True: it had to be
   * attached. `open` is called only then; it opens the namespace, and tells the interface there. Without TCX nothing is done.
   */
  guard(interfaceName: string, open: () => ContainerSide): boolean;
  /** Whether the current programs are on both hooks. */
  isAttached(target: Attachable): boolean;
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

export function openAttachments(programs: AttachedPrograms, linksDirectory: string): Attachments {
  return tcxSupported() ? new TcxAttachments(programs, linksDirectory) : new ClsactAttachments(programs);
}

function programFor(hook: Hook, programs: AttachedPrograms): BpfProgram {
  if (hook.program === 'from_container') return programs.fromContainer;
  if (hook.program === 'to_container') return programs.toContainer;
  if (programs.leaveContainer === undefined) throw new Error('leave_container is not loaded');
  return programs.leaveContainer;
}

class TcxAttachments implements Attachments {
  readonly kind = 'tcx';
  /** Ids of the programs, asked for once: they never change. */
  private readonly ids = new Map<BpfProgram, number>();

  constructor(
    private readonly programs: AttachedPrograms,
    private readonly directory: string,
  ) {}

  attach(target: Attachable, inside: ContainerSide): void {
    try {
      using _ = expediteGracePeriods();
      for (const hook of HOOKS) this.create(hook, target);
      this.createGuard(target.interface, inside);
    } catch (error) {
      this.unpin(target.interface);
      throw error;
    }
  }

  adopt(target: Attachable): boolean {
    let repaired = false;
    for (const hook of HOOKS) {
      using link = this.open(hook, target);
      if (link === undefined) {
        this.removePin(hook, target.interface);
        this.create(hook, target);
        repaired = true;
      } else this.update(hook, link);
    }
    return repaired;
  }

  guard(interfaceName: string, open: () => ContainerSide): boolean {
    {
      using link = this.open(GUARD, { interface: interfaceName, ifindex: undefined });
      if (link !== undefined) {
        this.update(GUARD, link);
        return false;
      }
    }
    this.removePin(GUARD, interfaceName);
    using _ = expediteGracePeriods();
    this.createGuard(interfaceName, open());
    return true;
  }

  isAttached(target: Attachable): boolean {
    return [...HOOKS, GUARD].every((hook) => {
      using link = this.open(hook, hook === GUARD ? { ...target, ifindex: undefined } : target);
      return link !== undefined && this.isCurrent(hook, link);
    });
  }

  detach(target: Attachable): void {
    this.unpin(target.interface);
  }

  pinned(): string[] {
    return [...new Set(readdirSync(this.directory).flatMap((name) => PIN.exec(name)?.[1] ?? []))];
  }

  unpin(interfaceName: string): void {
    for (const hook of [...HOOKS, GUARD]) this.removePin(hook, interfaceName);
  }

  private update(hook: Hook, link: BpfLink): void {
    if (!this.isCurrent(hook, link)) link.update(programFor(hook, this.programs));
  }

  private isCurrent(hook: Hook, link: BpfLink): boolean {
    const program = programFor(hook, this.programs);
    const id = this.ids.get(program) ?? program.info().id;
    this.ids.set(program, id);
    return link.info().programId === id;
  }

  private path(hook: Hook, interfaceName: string): string {
    return `${this.directory}/${interfaceName}_${hook.program}`;
  }

  private createGuard(interfaceName: string, { netns, ifindex }: ContainerSide): void {
    netns.run(() => this.create(GUARD, { interface: interfaceName, ifindex }));
  }

  private create(hook: Hook, target: Attachable): void {
    // First on the hook: another program there must not see, or pass on, what we would drop.
    using link = BpfLink.attachTcx({
      program: programFor(hook, this.programs),
      ifindex: target.ifindex,
      direction: hook.direction,
      position: 'first',
    });
    try {
      link.pin(this.path(hook, target.interface));
    } catch (error) {
      link.detach();
      throw error;
    }
  }

  /**
   * The pinned link, if it is on that very interface (undefined: on any); a link of an interface that is gone has
   * ifindex 0.
   */
  private open(hook: Hook, target: { interface: string; ifindex: number | undefined }): BpfLink | undefined {
    const link = BpfLink.openPin(this.path(hook, target.interface));
    if (link === undefined) return undefined;
    const { ifindex } = link.info();
    if (target.ifindex === undefined ? ifindex !== 0 : ifindex === target.ifindex) return link;
    link.close();
    return undefined;
  }

  /** With its pin the link ends, and with it the attachment. */
  private removePin(hook: Hook, interfaceName: string): void {
    rmSync(this.path(hook, interfaceName), { force: true });
  }
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
