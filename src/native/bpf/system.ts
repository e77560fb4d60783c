import { native } from './functions.js';

/** Slots that a value of a per-CPU map has. */
export function possibleCpus(): number {
  return native.possibleCpus();
}

/** CLOCK_MONOTONIC in nanoseconds: the clock of bpf_ktime_get_ns(). */
export function monotonicNs(): bigint {
  return native.monotonicNs();
}

/** Whether the path exists and lies on a bpffs. */
export function isBpffs(path: string): boolean {
  return native.isBpffs(path);
}

/**
 * Makes sure that the path is a directory on a bpffs. If it is not, a bpffs is mounted: at /sys/fs/bpf when
 * the path lies there, else at the path itself. Directories are made with mode 0700.
 */
export function mountBpffs(path: string): void {
  native.mountBpffs(path);
}
