/**
 * The queues that keep to a limit of bandwidth by letting packets wait: on the container's side for what it sends, on
 * the host's for what it is sent. A token bucket, which every kernel has; the programs keep the limit where the
 * container has taken its queue away, and drop what finds no place in that of the host's side.
 */
import type { Bucket } from '../model/bandwidth.js';
import { AppError } from '../model/errors.js';
import { KernelError } from '../native/errors.js';
import type { Rtnl, TokenBucketOptions } from '../native/net.js';

/** The queue of the host's side has room for more than the programs let in, so that it drops nothing by itself. */
const ROOM = { host: 2, container: 1 };
export type Side = keyof typeof ROOM;

/** Gives an interface the queue that its limit needs, unless it has it; without a limit, none of ours. KERNEL_UNSUPPORTED. */
export function shape(rtnl: Rtnl, index: number, side: Side, bucket: Bucket | undefined): void {
  if (isShaped(rtnl, index, side, bucket)) return;
  if (bucket === undefined) {
    rtnl.removeTokenBucket(index);
    return;
  }
  try {
    rtnl.setTokenBucket(index, queueOf(side, bucket));
  } catch (error) {
    if (!(error instanceof KernelError && error.code === 'ENOENT')) throw error;
    throw new AppError('KERNEL_UNSUPPORTED', 'the kernel has no token buckets, which limit bandwidth', {
      hint: 'load the module sch_tbf',
      cause: error,
    });
  }
}

export function isShaped(rtnl: Rtnl, index: number, side: Side, bucket: Bucket | undefined): boolean {
  const found = rtnl.tokenBucket(index);
  if (bucket === undefined) return found === undefined;
  // The kernel does not tell the burst as it was set; it is part of the limit.
  const { rate, limit } = queueOf(side, bucket);
  return found?.rate === rate && found.limit === limit;
}

function queueOf(side: Side, { rate, burst, queue }: Bucket): TokenBucketOptions {
  return { rate, burst, limit: burst + ROOM[side] * queue };
}
