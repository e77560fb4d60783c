/**
 * The parts that the generated codecs are made of: values of C as bytes, in the layout of the BPF programs.
 *
 * Writing refuses a number that does not fit (RangeError) instead of cutting it: a port that wrapped around
 * would be another port's rule.
 */

import { type SealShape, sealer } from './seal.js';

/** The byte order of the programs and of every machine that runs them (x86-64, arm64). */
const LITTLE_ENDIAN = true;

export interface Codec<T> {
  /** Bytes of one value. */
  readonly size: number;
  /** Its last four bytes are its seal: see sealed(). */
  readonly isSealed?: true;
  encode(value: T): Uint8Array;
  /** @throws RangeError unless there are exactly `size` bytes */
  decode(bytes: Uint8Array): T;
  /** Values back to back, as a batch takes them. */
  encodeMany(values: readonly T[]): Uint8Array;
  /** @throws RangeError unless the length is a multiple of `size` */
  decodeMany(bytes: Uint8Array): T[];
  /** Writes at an offset. Padding is left as it is: the buffer must be zeroed. */
  write(view: DataView, at: number, value: T): void;
  read(view: DataView, at: number): T;
}

/** A BPF map's definition. Ring buffers have neither key nor value. */
export interface MapSpec {
  readonly name: string;
  /** enum bpf_map_type */
  readonly type: number;
  /** BPF_MAP_TYPE_* in lower case, without the prefix */
  readonly typeName: string;
  /** A value read from user space holds one `valueSize`, rounded up to 8, for each possible CPU. */
  readonly perCpu: boolean;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* */
  readonly flags: number;
  readonly key?: Codec<unknown>;
  readonly value?: Codec<unknown>;
}

/** A variable in .rodata that the loader may set before the programs are verified. */
export interface SettingSpec {
  readonly name: string;
  /** Its name in the object file. */
  readonly variable: string;
  readonly type: string;
  readonly default: number | bigint;
  /** What it is, in one sentence, with its unit. */
  readonly doc: string;
  readonly codec: Codec<unknown>;
}

export function codec<T>(size: number, write: Codec<T>['write'], read: Codec<T>['read']): Codec<T> {
  return {
    size,
    write,
    read,
    encode(value) {
      const bytes = new Uint8Array(size);
      write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
    decode(bytes) {
      if (bytes.length !== size) throw new RangeError(`expected ${size} bytes, got ${bytes.length}`);
      return read(viewOf(bytes), 0);
    },
    encodeMany(values) {
      const bytes = new Uint8Array(values.length * size);
      const view = new DataView(bytes.buffer);
      for (const [index, value] of values.entries()) write(view, index * size, value);
      return bytes;
    },
    decodeMany(bytes) {
      if (bytes.length % size !== 0) throw new RangeError(`${bytes.length} is no multiple of ${size} bytes`);
      const view = viewOf(bytes);
      return Array.from({ length: bytes.length / size }, (_, index) => read(view, index * size));
    },
  };
}

/** Of a struct that ends with a seal, which is no field here: it is written with the value. */
export function sealed<T>(
  shape: SealShape,
  size: number,
  write: Codec<T>['write'],
  read: Codec<T>['read'],
): Codec<T> {
  const seal = sealer(shape, size);
  const writeSealed: Codec<T>['write'] = (view, at, value) => {
    write(view, at, value);
    seal(view, at);
  };
  return { ...codec(size, writeSealed, read), isSealed: true };
}

/** Decodes a value of a per-CPU map: one element per possible CPU, each padded to a multiple of 8 bytes. */
export function decodePerCpu<T>(element: Codec<T>, bytes: Uint8Array): T[] {
  const stride = Math.ceil(element.size / 8) * 8;
  if (bytes.length % stride !== 0) throw new RangeError(`${bytes.length} is no multiple of ${stride} bytes`);
  const view = viewOf(bytes);
  return Array.from({ length: bytes.length / stride }, (_, cpu) => element.read(view, cpu * stride));
}

export const u8: Codec<number> = codec(
  1,
  (view, at, value) => view.setUint8(at, fitting(value, 0xff)),
  (view, at) => view.getUint8(at),
);
export const u16: Codec<number> = codec(
  2,
  (view, at, value) => view.setUint16(at, fitting(value, 0xffff), LITTLE_ENDIAN),
  (view, at) => view.getUint16(at, LITTLE_ENDIAN),
);
export const u32: Codec<number> = codec(
  4,
  (view, at, value) => view.setUint32(at, fitting(value, 0xffffffff), LITTLE_ENDIAN),
  (view, at) => view.getUint32(at, LITTLE_ENDIAN),
);
export const u64: Codec<bigint> = codec(
  8,
  (view, at, value) => {
    if (value !== BigInt.asUintN(64, value)) throw new RangeError(`${value} does not fit in 64 bits`);
    view.setBigUint64(at, value, LITTLE_ENDIAN);
  },
  (view, at) => view.getBigUint64(at, LITTLE_ENDIAN),
);
/** Network byte order in memory, an ordinary number here. */
export const be16: Codec<number> = codec(
  2,
  (view, at, value) => view.setUint16(at, fitting(value, 0xffff)),
  (view, at) => view.getUint16(at),
);
export const be32: Codec<number> = codec(
  4,
  (view, at, value) => view.setUint32(at, fitting(value, 0xffffffff)),
  (view, at) => view.getUint32(at),
);

/** A fixed number of bytes; reading copies, since the source is often a buffer that is used again. */
export function bytes(length: number): Codec<Uint8Array> {
  return codec(
    length,
    (view, at, value) => {
      if (value.length !== length) throw new RangeError(`expected ${length} bytes, got ${value.length}`);
      new Uint8Array(view.buffer, view.byteOffset + at, length).set(value);
    },
    (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
  );
}

/** A fixed number of equal elements; T is their tuple type, which must have `length` elements. */
export function array<T extends unknown[]>(element: Codec<T[number]>, length: number): Codec<T> {
  return codec(
    length * element.size,
    (view, at, value) => {
      if (value.length !== length) throw new RangeError(`expected ${length} elements, got ${value.length}`);
      for (const [index, item] of value.entries()) element.write(view, at + index * element.size, item);
    },
    (view, at) => Array.from({ length }, (_, index) => element.read(view, at + index * element.size)) as T,
  );
}

function fitting(value: number, maximum: number): number {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new RangeError(`${value} is no integer from 0 to ${maximum}`);
  }
  return value;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
