/** The hooks of an endpoint's interface, what is on each, and what can be done with them whatever the kernel has. */
import type { BpfProgram } from '../../native/bpf.js';
import type { NetnsHandle } from '../../native/net.js';

/** On the host's side. */
export const HOOKS = [
  { direction: 'ingress', program: 'from_container' },
  { direction: 'egress', program: 'to_container' },
] as const;
/** On the container's. */
export const GUARD = { direction: 'egress', program: 'leave_container' } as const;
export type Hook = (typeof HOOKS)[number] | typeof GUARD;

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
  /**
   * Whether nobody has taken links, filters or pins away, changed them, or put programs before them, since this daemon had
   * them in order; no matter what is before ours for as long as ours is not to go first again. `netnsPath`: where the
   * container's side is; there is no look at its line where nothing of it is found, nor each time.
   */
  isInOrder(interfaceName: string, netnsPath: string): boolean;
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

export function programFor(hook: Hook, programs: AttachedPrograms): BpfProgram {
  if (hook.program === 'from_container') return programs.fromContainer;
  if (hook.program === 'to_container') return programs.toContainer;
  if (programs.leaveContainer === undefined) throw new Error('leave_container is not loaded');
  return programs.leaveContainer;
}
