/** BPF objects, maps, programs, links and ring buffers: the facade of the addon's BPF half. */
export {
  attachClsact,
  type ClsactEntry,
  type ClsactPlace,
  clsactLine,
  DEFAULT_HANDLE,
  detachClsact,
  ensureClsact,
  replaceIngress,
} from './bpf/clsact.js';
export type { LinkInfo, MapEntries, MapInfo, ProgramInfo, TestRunResult } from './bpf/functions.js';
export {
  AttachType,
  BpfLink,
  type CgroupOptions,
  type Direction,
  LinkType,
  type TcxEntry,
  type TcxOptions,
  tcxLine,
  tcxPrograms,
  tcxSupported,
  type XdpOptions,
} from './bpf/link.js';
export { BpfMap, type MapOptions, MapType, NO_PREALLOC, type UpdateMode } from './bpf/map.js';
export { BpfObject, type LoadOptions } from './bpf/object.js';
export {
  BpfProgram,
  COMPLETE_SUMS,
  enableRunStatistics,
  LIVE_FRAMES,
  programName,
  type TestRunOptions,
} from './bpf/program.js';
export { RingBuffer, type RingBufferOptions } from './bpf/ring-buffer.js';
export { isBpffs, monotonicNs, mountBpffs, possibleCpus } from './bpf/system.js';
