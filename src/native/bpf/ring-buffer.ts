import { Closable } from './closable.js';
import { native, type RingBufferHandle } from './functions.js';
import { BpfMap } from './map.js';

export interface RingBufferOptions {
  /** Records that wait for onRecords at most; further ones are dropped and counted. Default 16384. */
  maxQueued?: number;
  /**
   * Least time between two calls of onRecords, unless half of the queue is full. Default 0. Records that come after a
   * longer rest are delivered at once.
   */
  deliverIntervalMs?: number;
}

const DEFAULT_MAX_QUEUED = 16384;

/**
 * Consumer of a ring buffer map, with a thread of its own. onRecords gets copies, in order; what it throws is
 * an uncaught exception. An open ring buffer does not keep the process alive, and is kept from the garbage
 * collector. One consumer per map: the read position lives in the map.
 */
export class RingBuffer extends Closable<RingBufferHandle> {
  constructor(map: BpfMap, onRecords: (records: Uint8Array[]) => void, options: RingBufferOptions = {}) {
    const { maxQueued = DEFAULT_MAX_QUEUED, deliverIntervalMs = 0 } = options;
    // Native code holds the function, the function holds the ring buffer: nothing is collected while open.
    const deliver = (records: Uint8Array[]): void => {
      if (!this?.closed) onRecords(records);
    };
    super(native.ringBufferOpen(BpfMap.handleOf(map), deliver, maxQueued, deliverIntervalMs));
  }

  /**
   * Records lost because onRecords was not called in time. What the programs could not write is not in it.
   */
  get dropped(): number {
    return native.ringBufferDropped(this.handle);
  }
}
