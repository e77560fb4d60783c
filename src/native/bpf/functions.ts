/** The addon's BPF functions as C++ defines them (native/bpf_*.cc). Only src/native/bpf uses them. */
import { type Handle, nativeFunctions } from '../addon.js';

export type ObjectHandle = Handle<'object'>;
export type ProgramHandle = Handle<'program'>;
export type MapHandle = Handle<'map'>;
export type LinkHandle = Handle<'link'>;
export type StatisticsHandle = Handle<'run statistics'>;
export type RingBufferHandle = Handle<'ring buffer'>;
export type AnyHandle =
  | ObjectHandle
  | ProgramHandle
  | MapHandle
  | LinkHandle
  | StatisticsHandle
  | RingBufferHandle;

export interface ProgramInfo {
  id: number;
  /** enum bpf_prog_type */
  type: number;
  /** Cut off by the kernel after 15 bytes. */
  name: string;
  /** Hash of the instructions, 16 hex digits. */
  tag: string;
  /** Nanoseconds since boot (CLOCK_BOOTTIME). */
  loadedAt: bigint;
  /** Both count only while run statistics are enabled. */
  runTimeNs: bigint;
  runCount: bigint;
  mapIds: number[];
}

export interface TestRunResult {
  /** The program's return value, 32 bits unsigned. */
  returnValue: number;
  dataOut: Uint8Array;
  contextOut: Uint8Array;
  /** Mean of one repetition. */
  durationNs: number;
}

export interface MapInfo {
  id: number;
  /** One of MapType. */
  type: number;
  name: string;
  keySize: number;
  /** Of one CPU's slot in per-CPU maps. */
  valueSize: number;
  maxEntries: number;
  flags: number;
}

export interface MapEntries {
  count: number;
  /** count keys, one after another. */
  keys: Uint8Array;
  /** count values of valueBytes, in the order of the keys. */
  values: Uint8Array;
}

export interface MapPiece extends MapEntries {
  /** Where the next piece begins; undefined: there is none. */
  position?: Uint8Array;
}

export interface LinkInfo {
  id: number;
  /** One of LinkType for the links that this module makes. */
  type: number;
  programId: number;
  /** TCX and XDP; 0 when detached or when the interface is gone. */
  ifindex?: number;
  /** Cgroups: the inode of its directory; 0 when detached or when it is gone. */
  cgroupId?: number;
  /** TCX and cgroups: one of AttachType. */
  attachType?: number;
}

interface BpfFunctions {
  closeHandle(handle: AnyHandle): void;
  pin(handle: ProgramHandle | MapHandle | LinkHandle, path: string): void;
  unpin(path: string): boolean;

  objectOpen(path: string): ObjectHandle;
  objectSetVariable(object: ObjectHandle, name: string, bytes: Uint8Array): void;
  objectSetMaxEntries(object: ObjectHandle, map: string, entries: number): void;
  objectShareMaps(object: ObjectHandle, program: ProgramHandle): void;
  objectLoad(object: ObjectHandle, pinRoot?: string): Promise<void>;
  objectProgram(object: ObjectHandle, name: string): ProgramHandle;
  objectMap(object: ObjectHandle, name: string): MapHandle;
  objectProgramNames(object: ObjectHandle): string[];
  objectMapNames(object: ObjectHandle): string[];

  programFromPin(path: string): ProgramHandle;
  programInfo(program: ProgramHandle): ProgramInfo;
  programName(id: number): string | undefined;
  programTestRun(...run: TestRunArguments): TestRunResult;
  programTestRunAsync(...run: TestRunArguments): Promise<TestRunResult>;
  enableRunStatistics(): StatisticsHandle;

  mapFromPin(path: string): MapHandle;
  mapCreate(
    type: number,
    name: string,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    flags: number,
    innerMap?: MapHandle,
  ): MapHandle;
  mapInfo(map: MapHandle): MapInfo & { valueBytes: number };
  mapGet(map: MapHandle, key: Uint8Array): Uint8Array | undefined;
  mapSet(map: MapHandle, key: Uint8Array, value: Uint8Array, flags: number): void;
  mapSetInner(map: MapHandle, key: Uint8Array, inner: MapHandle): void;
  mapDelete(map: MapHandle, key: Uint8Array): boolean;
  mapNextKey(map: MapHandle, key?: Uint8Array): Uint8Array | undefined;
  mapEntries(map: MapHandle): Promise<MapEntries>;
  mapReadPiece(map: MapHandle, position: Uint8Array | undefined, entries: number): Promise<MapPiece>;
  mapSetBatch(map: MapHandle, keys: Uint8Array, values: Uint8Array): Promise<number>;
  mapDeleteBatch(map: MapHandle, keys: Uint8Array): Promise<number>;

  tcxSupported(): boolean;
  tcxLine(ifindex: number, ingress: boolean): { programId: number; linkId: number }[];
  linkAttachTcx(program: ProgramHandle, ifindex: number, ingress: boolean, position: string): LinkHandle;
  linkAttachXdp(program: ProgramHandle, ifindex: number, generic: boolean): LinkHandle;
  linkAttachCgroup(program: ProgramHandle, path: string, attachType: number): LinkHandle;
  linkFromPin(path: string): LinkHandle;
  linkInfo(link: LinkHandle): LinkInfo;
  linkUpdate(link: LinkHandle, program: ProgramHandle): void;
  linkDetach(link: LinkHandle): void;

  clsactAttach(program: ProgramHandle, ...place: ClsactArguments): void;
  clsactDetach(...place: ClsactArguments): boolean;
  clsactEnsure(ifindex: number): string;
  clsactReplaceIngress(ifindex: number): string;
  clsactLine(ifindex: number, ingress: boolean): { handle: number; priority: number; programId: number }[];

  ringBufferOpen(
    map: MapHandle,
    onRecords: (records: Uint8Array[]) => void,
    maxQueued: number,
    deliverIntervalMs: number,
  ): RingBufferHandle;
  ringBufferDropped(ringBuffer: RingBufferHandle): number;

  possibleCpus(): number;
  monotonicNs(): bigint;
  mountBpffs(path: string): void;
  isBpffs(path: string): boolean;
}

export type TestRunArguments = [
  program: ProgramHandle,
  data: Uint8Array | undefined,
  context: Uint8Array | undefined,
  repeat: number,
  dataOutSize: number,
  flags: number,
];

export type ClsactArguments = [ifindex: number, ingress: boolean, handle: number, priority: number];

export const native = nativeFunctions<BpfFunctions>();
