import { Closable } from './closable.js';
import { type MapEntries, type MapHandle, type MapInfo, native } from './functions.js';

/** enum bpf_map_type of the kernel, as far as it is used here. */
export const MapType = {
  HASH: 1,
  ARRAY: 2,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
  HASH_OF_MAPS: 13,
  RINGBUF: 27,
} as const;

/** BPF_F_NO_PREALLOC: LPM tries need it. */
export const NO_PREALLOC = 1;

export interface MapOptions {
  /** One of MapType. */
  type: number;
  /** Cut off by the kernel after 15 bytes. */
  name: string;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags?: number;
  /** The pattern for the inner maps of a map of maps. */
  innerMap?: BpfMap;
}

/** BPF_ANY, BPF_NOEXIST, BPF_EXIST */
const UPDATE_FLAGS = { any: 0, create: 1, replace: 2 } as const;
export type UpdateMode = keyof typeof UPDATE_FLAGS;

/**
 * A map. Keys have keySize bytes, values valueBytes, both in the layout that the programs use; other lengths
 * are a RangeError. Lookup and change of single elements take microseconds and are synchronous.
 */
export class BpfMap extends Closable<MapHandle> {
  readonly info: MapInfo;
  /**
   * Bytes of one value as it is read and written here: in per-CPU maps possibleCpus() slots of 8-byte
   * multiples.
   */
  readonly valueBytes: number;

  private constructor(handle: MapHandle) {
    super(handle);
    const { valueBytes, ...info } = native.mapInfo(handle);
    this.info = info;
    this.valueBytes = valueBytes;
  }

  /** @internal */
  static fromHandle(handle: MapHandle): BpfMap {
    return new BpfMap(handle);
  }

  /** @internal */
  static handleOf(map: BpfMap): MapHandle {
    return map.handle;
  }

  /** @throws KernelError EINVAL when the pin is something else, ENOENT when there is none. */
  static fromPin(path: string): BpfMap {
    return new BpfMap(native.mapFromPin(path));
  }

  static create({ type, name, keySize, valueSize, maxEntries, flags = 0, innerMap }: MapOptions): BpfMap {
    return new BpfMap(native.mapCreate(type, name, keySize, valueSize, maxEntries, flags, innerMap?.handle));
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return native.mapGet(this.handle, key);
  }

  /** @throws KernelError E2BIG when the map is full, EEXIST (mode create), ENOENT (mode replace). */
  set(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    native.mapSet(this.handle, key, value, UPDATE_FLAGS[mode]);
  }

  /** @returns false when there was none. */
  delete(key: Uint8Array): boolean {
    return native.mapDelete(this.handle, key);
  }

  /**
   * The key after this one (the first without argument). In a hash, an unknown key starts from the beginning.
   */
  nextKey(key?: Uint8Array): Uint8Array | undefined {
    return native.mapNextKey(this.handle, key);
  }

  /**
   * All keys, one system call each. The key that was just given may be deleted; other changes of a hash
   * meanwhile may repeat keys. entries() is the way to read a whole map.
   */
  *keys(): Generator<Uint8Array, void, void> {
    let key = this.nextKey();
    while (key) {
      const next = this.nextKey(key);
      yield key;
      key = next;
    }
  }

  /** The whole map, read on a worker thread. Not a snapshot: changes meanwhile may be seen or not. */
  entries(): Promise<MapEntries> {
    return native.mapEntries(this.handle);
  }

  /**
   * A hash, piece by piece, for those too large to be had at once: each of about so many entries, read on a worker
   * thread. Not a snapshot either; and nothing is read ahead.
   */
  async *pieces(entries = 4096): AsyncGenerator<MapEntries, void, void> {
    let position: Uint8Array | undefined;
    do {
      const piece = await native.mapReadPiece(this.handle, position, entries);
      position = piece.position;
      if (piece.count > 0) yield piece;
    } while (position !== undefined);
  }

  /**
   * Sets keys[i] to values[i], both contiguous, in order, on a worker thread.
   * @returns how many.
   * @throws KernelError with count: so many were set, the next one failed.
   */
  setBatch(keys: Uint8Array, values: Uint8Array): Promise<number> {
    return native.mapSetBatch(this.handle, keys, values);
  }

  /**
   * Deletes contiguous keys on a worker thread; those that are not there are passed over.
   * @returns how many there were.
   */
  deleteBatch(keys: Uint8Array): Promise<number> {
    return native.mapDeleteBatch(this.handle, keys);
  }

  /** In a map of maps: the id of the inner map at the key. */
  getInnerMapId(key: Uint8Array): number | undefined {
    const id = this.get(key);
    return id && new DataView(id.buffer, id.byteOffset).getUint32(0, LITTLE_ENDIAN);
  }

  /** In a map of maps: puts an inner map at the key, replacing what is there. */
  setInner(key: Uint8Array, map: BpfMap): void {
    native.mapSetInner(this.handle, key, map.handle);
  }

  /** @throws KernelError EEXIST when there is something at the path. */
  pin(path: string): void {
    native.pin(this.handle, path);
  }

  /** Removes the pin at the path. @returns false when there was none. */
  unpin(path: string): boolean {
    return native.unpin(path);
  }
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
