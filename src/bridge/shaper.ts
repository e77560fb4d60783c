/**
 * The queues that keep to a limit of bandwidth by letting packets wait: on the container's side for what it sends, on
 * the host's for what it is sent. By departure times where they can be had, else a token bucket; the programs keep the
 * limit where the container has taken its queue away, and drop what finds no place in that of the host's side.
 */
import type { Bucket } from '../model/bandwidth.js';
import { AppError } from '../model/errors.js';
import { KernelError } from '../native/errors.js';
import type { QueueInfo, Rtnl } from '../native/net.js';
import { queueKinds } from './queue-kinds.js';

/** Token buckets: that of the host's side has room for more bytes than the programs let in. */
const ROOM = { host: 2, container: 1 };
export type Side = keyof typeof ROOM;

/**
 * Room for packets beyond what the programs let in, of processors that each found the last place free at once: the queue is
 * not to drop what nobody is told of.
 */
const SPARE_PACKETS = 64;

type Queue = QueueInfo & { burst: number };

/**
 * Gives an interface the queue that its limit needs, unless it has it; without a limit, none of ours. `before`: the limit
 * that it is known to have had until now. KERNEL_UNSUPPORTED.
 */
export function shape(
  rtnl: Rtnl,
  index: number,
  side: Side,
  bucket: Bucket | undefined,
  before?: Bucket,
): void {
  // What waits has been given its time at the old rate, and what comes at the new one would overtake it.
  if (isNewRate(bucket, before) && rtnl.queue(index)?.kind === 'fq') rtnl.removeQueue(index);
  if (isShaped(rtnl, index, side, bucket)) return;
  if (bucket === undefined) {
    rtnl.removeQueue(index);
    return;
  }
  const queue = queueOf(side, bucket);
  if (queue.kind === 'fq') rtnl.setDepartureQueue(index, queue);
  else setTokenBucket(rtnl, index, queue);
}

export function isShaped(rtnl: Rtnl, index: number, side: Side, bucket: Bucket | undefined): boolean {
  const found = rtnl.queue(index);
  if (bucket === undefined || found === undefined) return bucket === found;
  const wanted = queueOf(side, bucket);
  // The kernel does not tell the burst as it was set; it is part of the limit.
  return (
    found.limit === wanted.limit &&
    (found.kind === 'fq'
      ? wanted.kind === 'fq'
      : wanted.kind === 'tbf' && found.rate === wanted.rate && found.packets === wanted.packets)
  );
}

function isNewRate(bucket: Bucket | undefined, before: Bucket | undefined): boolean {
  return bucket !== undefined && before !== undefined && bucket.rate !== before.rate;
}

function queueOf(side: Side, { rate, burst, queue, packets: most }: Bucket): Queue {
  const packets = most + SPARE_PACKETS;
  if (queueKinds()[side] === 'fq') return { kind: 'fq', burst, limit: packets };
  const bytes = { kind: 'tbf', rate, burst, limit: burst + ROOM[side] * queue } as const;
  // It counts one or the other. Only on the host's side does a program in front of it count the bytes.
  return side === 'host' ? { ...bytes, packets } : bytes;
}

function setTokenBucket(rtnl: Rtnl, index: number, queue: Queue & { kind: 'tbf' }): void {
  try {
    rtnl.setTokenBucket(index, queue);
  } catch (error) {
    if (!(error instanceof KernelError && error.code === 'ENOENT')) throw error;
    throw new AppError('KERNEL_UNSUPPORTED', 'the kernel has no token buckets, which limit bandwidth', {
      hint: 'load the module sch_tbf',
      cause: error,
    });
  }
}
