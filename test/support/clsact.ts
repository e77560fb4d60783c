/** Filters of ours at a hook of clsact. */
import { type ClsactPlace, clsactLine, DEFAULT_HANDLE } from '../../src/native/bpf.js';

/** The filter of that handle and priority, by default ours. */
export function queryClsact({
  ifindex,
  direction,
  handle = DEFAULT_HANDLE,
  priority = 1,
}: ClsactPlace): { programId: number } | undefined {
  const found = clsactLine(ifindex, direction).find(
    (filter) => filter.handle === handle && filter.priority === priority,
  );
  return found && { programId: found.programId };
}
