import { readFileSync } from 'node:fs';

/**
 * Whether the kernel is built with PREEMPT_RT. There (kernels without the lock of `PREEMPT_RT_NEEDS_BH_LOCK`) one packet
 * may interrupt another on the same processor, in the middle of a program: what programs keep per processor would be of two.
 */
export function isRealtimeKernel(): boolean {
  try {
    return readFileSync('/sys/kernel/realtime', 'utf8').trim() === '1';
  } catch {
    return false;
  }
}
