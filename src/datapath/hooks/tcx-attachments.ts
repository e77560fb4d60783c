/** Programs of endpoints by TCX links, which are pinned, so that they hold while no daemon runs, and replaced in place. */
import { KernelError } from '../../native/errors.js';
import { NetnsHandle } from '../../native/net.js';
import { expediteGracePeriods } from '../../native/rcu.js';
import {
  type Attachable,
  type AttachedPrograms,
  type Attachments,
  type ContainerSide,
  GUARD,
  HOOKS,
  type Hook,
  programFor,
} from './endpoint-hooks.js';
import { firstOnTcx } from './interface-links.js';
import type { LinkPins } from './link-pins.js';
import type { LinkState } from './link-state.js';
import type { Loss } from './repair-ledger.js';
import type { Inside } from './wanted-link.js';

/** A pin of ours; whatever else stands in the directory is somebody else's. */
const PIN = /^(qn[0-9a-f]{8})_(?:from_container|to_container|leave_container)~?$/;

/** To look at a guard is to go into the container's namespace, and it guards what from_container judges all the same. */
const LOOKS_PER_GUARD = 3;

/** Nothing is to be done now. */
const SETTLED: ReadonlySet<LinkState> = new Set(['in order', 'waiting']);

export class TcxAttachments implements Attachments {
  readonly kind = 'tcx';
  /** Interfaces on whose other side somebody has been seen before the guard. */
  private readonly precededGuards = new Set<string>();
  /** Looks since the last one at the guard, by interface. */
  private readonly guardLooks = new Map<string, number>();

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
    return HOOKS.map((hook) => this.keep(hook, target)).includes('link');
  }

  guard(target: Attachable, open: () => NetnsHandle): boolean {
    const isPreceded = this.precededGuards.delete(target.interface);
    const inside: Inside = (work) => {
      using netns = open();
      return netns.run(work);
    };
    return this.keep(GUARD, target, inside, isPreceded) === 'link';
  }

  isAttached({ interface: name }: Attachable): boolean {
    return [...HOOKS, GUARD].every((hook) => this.pins.isIntact(nameOf(hook, name)));
  }

  isInOrder(interfaceName: string, netnsPath: string): boolean {
    if (this.isGuardPreceded(interfaceName, netnsPath)) this.precededGuards.add(interfaceName);
    return (
      !this.precededGuards.has(interfaceName) &&
      HOOKS.every((hook) => SETTLED.has(this.pins.look(nameOf(hook, interfaceName)))) &&
      this.pins.isIntact(nameOf(GUARD, interfaceName))
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
    this.guardLooks.delete(interfaceName);
    for (const hook of [...HOOKS, GUARD]) this.pins.remove(nameOf(hook, interfaceName));
  }

  /** By a look each few times. No where the container's side is not found: what the path leads to is not the daemon's. */
  private isGuardPreceded(interfaceName: string, netnsPath: string): boolean {
    // Not at all of them by one look.
    const looks = this.guardLooks.get(interfaceName) ?? this.guardLooks.size % LOOKS_PER_GUARD;
    this.guardLooks.set(interfaceName, (looks + 1) % LOOKS_PER_GUARD);
    if (looks > 0) return false;
    try {
      using netns = NetnsHandle.open(netnsPath);
      return netns.run(() => this.pins.look(nameOf(GUARD, interfaceName))) === 'preceded';
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
