/**
 * Which queues keep limits of bandwidth on this node: those that let each frame go at the time that a program has
 * written on it (`fq`), where there are both the queue and, in front of it, a program that the container cannot take
 * away; else token buckets (`tbf`).
 */
import { tcxSupported } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import { NetnsHandle, Rtnl } from '../native/net.js';

export type QueueKind = 'fq' | 'tbf';
/** By the side of the veth that the queue is on. */
export type QueueKinds = Record<'host' | 'container', QueueKind>;

/** Of `lo`, the first interface of every network namespace (LOOPBACK_IFINDEX of linux/net_namespace.h). */
const LOOPBACK_INDEX = 1;

let kinds: QueueKinds | undefined;

/**
 * Asked once: what the kernel gains meanwhile is used from the next start on. Throws when it cannot be asked: what is taken
 * for missing then would be taken away where it is.
 */
export function queueKinds(): QueueKinds {
  kinds ??= kindsBy(tryQueue('fq'), tcxSupported);
  return kinds;
}

/** Without TCX there is no program on the container's side. */
export function kindsBy(hasDepartureQueues: boolean, hasTcx: () => boolean): QueueKinds {
  if (!hasDepartureQueues) return { host: 'tbf', container: 'tbf' };
  return { host: 'fq', container: hasTcx() ? 'fq' : 'tbf' };
}

/** Whether the kernel has, or loads, that queue. Undefined: it could not be asked. */
export function hasQueue(kind: QueueKind): boolean | undefined {
  try {
    return tryQueue(kind);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return undefined;
  }
}

/** In a network namespace that is gone at once. */
function tryQueue(kind: QueueKind): boolean {
  using netns = NetnsHandle.createUnnamed();
  using rtnl = Rtnl.open(netns);
  try {
    if (kind === 'fq') rtnl.setDepartureQueue(LOOPBACK_INDEX, { limit: 1 });
    else rtnl.setTokenBucket(LOOPBACK_INDEX, { rate: 1_000_000, burst: 100_000, limit: 100_000 });
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENOENT') return false;
    throw error;
  }
}
