/** Filters of the clsact queueing discipline: for kernels before 6.6, which have no TCX links. */
import { type ClsactArguments, native } from './functions.js';
import type { Direction } from './link.js';
import { BpfProgram } from './program.js';

export interface ClsactPlace {
  /** In the network namespace of the calling thread. */
  ifindex: number;
  direction: Direction;
  /** With the priority it tells our filter from those of others. */
  handle?: number;
  /** 1 to 65535, lower ones run first. */
  priority?: number;
}

/** "qn" */
export const DEFAULT_HANDLE = 0x716e;
const DEFAULT_PRIORITY = 1;

function place(options: ClsactPlace): ClsactArguments {
  const { ifindex, direction, handle = DEFAULT_HANDLE, priority = DEFAULT_PRIORITY } = options;
  return [ifindex, direction === 'ingress', handle, priority];
}

/**
 * Makes the queueing discipline if it is missing, then adds our filter or replaces its program in one step.
 */
export function attachClsact(options: ClsactPlace & { program: BpfProgram }): void {
  native.clsactAttach(BpfProgram.handleOf(options.program), ...place(options));
}

/** Removes our filter; the queueing discipline stays. @returns false when there was none. */
export function detachClsact(options: ClsactPlace): boolean {
  return native.clsactDetach(...place(options));
}

/** A filter of whoever's. */
export interface ClsactEntry {
  handle: number;
  priority: number;
  /** 0: the filter is no BPF program. */
  programId: number;
}

/** Whoever's filters, in the order in which they run; none without the queueing discipline, or the interface. */
export function clsactLine(ifindex: number, direction: Direction): ClsactEntry[] {
  return native.clsactLine(ifindex, direction === 'ingress');
}

/**
 * What keeps the filters of the interface, once clsact is made where there is nothing: `ingress` stands in the place of
 * clsact and has one hook, at which filters for egress land as well. Asks for all that the namespace has, if there was
 * something.
 */
export function ensureClsact(ifindex: number): string {
  return native.clsactEnsure(ifindex);
}

/** Puts clsact in the place of `ingress`, with which its filters go. @returns as ensureClsact(). @throws KernelError */
export function replaceIngress(ifindex: number): string {
  return native.clsactReplaceIngress(ifindex);
}
