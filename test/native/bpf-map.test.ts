import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BpfMap, BpfProgram, isBpffs, MapType, NO_PREALLOC, possibleCpus } from '../../src/native/bpf.js';
import { ClosedError } from '../../src/native/errors.js';
import { pinDirectory, readU32, thrown, u32, u64 } from './bpf-fixtures.js';

const hash = (maxEntries = 16): BpfMap =>
  BpfMap.create({ type: MapType.HASH, name: 'qn_test', keySize: 4, valueSize: 8, maxEntries });

/** count keys 0, 1, 2… and as many values. */
function numbered(count: number): { keys: Uint8Array; values: Uint8Array } {
  const keys = Uint32Array.from({ length: count }, (_, i) => i);
  const values = BigUint64Array.from({ length: count }, (_, i) => BigInt(i) * 3n);
  return { keys: new Uint8Array(keys.buffer), values: new Uint8Array(values.buffer) };
}

test('a created map tells its shape', () => {
  using map = hash();
  expect(map.info).toEqual({
    ...{ id: expect.any(Number), type: MapType.HASH, name: 'qn_test', keySize: 4, valueSize: 8 },
    ...{ maxEntries: 16, flags: 0 },
  });
  expect(map.valueBytes).toBe(8);
});

test('elements are set, read and deleted', () => {
  using map = hash();
  expect(map.get(u32(1))).toBeUndefined();
  map.set(u32(1), u64(10n));
  expect(map.get(u32(1))).toStrictEqual(u64(10n));
  expect(map.delete(u32(1))).toBe(true);
  expect(map.delete(u32(1))).toBe(false);
  expect(map.get(u32(1))).toBeUndefined();
});

test('a Buffer and a view into a larger buffer are bytes like others', () => {
  using map = hash();
  const large = u32(9, 1, 9);
  map.set(large.subarray(4, 8), Buffer.from(u64(10n)));
  expect(map.get(u32(1))).toStrictEqual(u64(10n));
});

test('mode create refuses what is there, mode replace what is not', () => {
  using map = hash();
  expect(thrown(() => map.set(u32(1), u64(1n), 'replace'))).toMatchObject({ code: 'ENOENT' });
  map.set(u32(1), u64(1n), 'create');
  expect(thrown(() => map.set(u32(1), u64(1n), 'create'))).toMatchObject({ code: 'EEXIST' });
  map.set(u32(1), u64(2n), 'replace');
  expect(map.get(u32(1))).toStrictEqual(u64(2n));
});

test('a full map is E2BIG that names the map', () => {
  using map = hash(1);
  map.set(u32(1), u64(1n));
  const error = thrown(() => map.set(u32(2), u64(1n)));
  expect(error).toMatchObject({
    name: 'KernelError',
    code: 'E2BIG',
    operation: 'update',
    object: 'map qn_test',
  });
  expect(String(error)).toMatch(/^KernelError: update map qn_test: .* \(E2BIG\)$/);
});

test('wrong sizes are RangeErrors before the kernel sees them', () => {
  using map = hash();
  for (const key of [new Uint8Array(0), new Uint8Array(3), new Uint8Array(5)]) {
    expect(() => map.get(key)).toThrow(RangeError);
    expect(() => map.set(key, u64(1n))).toThrow(RangeError);
    expect(() => map.delete(key)).toThrow(RangeError);
    expect(() => map.nextKey(key)).toThrow(RangeError);
  }
  for (const size of [0, 7, 9]) expect(() => map.set(u32(1), new Uint8Array(size))).toThrow(RangeError);
  expect(() => map.setBatch(u32(1, 2), u64(1n))).toThrow(RangeError);
  expect(() => map.setBatch(new Uint8Array(5), u64(1n))).toThrow(RangeError);
  expect(() => map.deleteBatch(new Uint8Array(7))).toThrow(RangeError);
});

test('what is no Uint8Array is a TypeError', () => {
  using map = hash();
  const wrong: unknown[] = [
    'abcd',
    1,
    null,
    undefined,
    {},
    new Uint32Array(1),
    new ArrayBuffer(4),
    [0, 0, 0, 0],
  ];
  for (const key of wrong) expect(() => map.get(key as Uint8Array)).toThrow(TypeError);
});

test('a per-CPU value has a slot of 8-byte multiples for each possible CPU', () => {
  for (const type of [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH]) {
    using map = BpfMap.create({ type, name: 'qn_test', keySize: 4, valueSize: 12, maxEntries: 4 });
    expect(map.info.valueSize).toBe(12);
    expect(map.valueBytes).toBe(16 * possibleCpus());
    expect(() => map.set(u32(0), new Uint8Array(12))).toThrow(RangeError);
    const value = new Uint8Array(map.valueBytes).fill(1);
    map.set(u32(0), value);
    const read = map.get(u32(0));
    expect(read?.length).toBe(map.valueBytes);
    expect(read?.subarray(0, 12)).toEqual(value.subarray(0, 12));
  }
});

test('keys() gives each key once, and the current one may be deleted', () => {
  using map = hash();
  for (let i = 0; i < 10; i++) map.set(u32(i), u64(0n));
  const seen = new Set<number | undefined>();
  for (const key of map.keys()) {
    seen.add(readU32(key));
    expect(map.delete(key)).toBe(true);
  }
  expect(seen.size).toBe(10);
  expect(map.nextKey()).toBeUndefined();
});

test.each([
  ['hash', MapType.HASH, 0],
  ['hash without preallocation', MapType.HASH, NO_PREALLOC],
  ['array', MapType.ARRAY, 0],
])('a batch of 200,000 is set, read back and deleted: %s', async (_, type, flags) => {
  const count = 200_000;
  using map = BpfMap.create({ type, name: 'qn_big', keySize: 4, valueSize: 8, maxEntries: count, flags });
  const { keys, values } = numbered(count);
  expect(await map.setBatch(keys, values)).toBe(count);
  const entries = await map.entries();
  expect(entries.count).toBe(count);
  const readKeys = new Uint32Array(entries.keys.slice().buffer);
  const readValues = new BigUint64Array(entries.values.slice().buffer);
  expect(readKeys.length).toBe(count);
  expect(readKeys.every((key, i) => readValues[i] === BigInt(key) * 3n)).toBe(true);
  expect(new Set(readKeys).size).toBe(count);
  if (type === MapType.ARRAY) return;
  expect(await map.deleteBatch(keys)).toBe(count);
  expect((await map.entries()).count).toBe(0);
});

test('entries() reads every type of map', async () => {
  for (const type of [MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.PERCPU_ARRAY]) {
    using map = BpfMap.create({ type, name: 'qn_test', keySize: 4, valueSize: 8, maxEntries: 8 });
    const value = new Uint8Array(map.valueBytes).fill(3);
    for (let i = 0; i < 8; i++) map.set(u32(i), value);
    const { count, keys, values } = await map.entries();
    expect([type, count, keys.length, values.length]).toEqual([type, 8, 32, 8 * map.valueBytes]);
    expect(values.every((byte) => byte === 3)).toBe(true);
  }
});

test('batches work on a longest-prefix-match trie', async () => {
  using trie = BpfMap.create({
    ...{
      type: MapType.LPM_TRIE,
      name: 'qn_trie',
      keySize: 8,
      valueSize: 4,
      maxEntries: 64,
      flags: NO_PREALLOC,
    },
  });
  const keys = new Uint8Array([...u32(32, 1), ...u32(32, 2), ...u32(8, 3)]);
  expect(await trie.setBatch(keys, u32(1, 2, 3))).toBe(3);
  const entries = await trie.entries();
  expect(entries.count).toBe(3);
  expect(new Set(new Uint32Array(entries.values.slice().buffer))).toEqual(new Set([1, 2, 3]));
  expect(await trie.deleteBatch(keys)).toBe(3);
  expect((await trie.entries()).count).toBe(0);
});

test('an empty batch is none, an empty map has no entries', async () => {
  using map = hash();
  expect(await map.setBatch(new Uint8Array(0), new Uint8Array(0))).toBe(0);
  expect(await map.deleteBatch(new Uint8Array(0))).toBe(0);
  expect(await map.entries()).toEqual({ count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) });
});

test('a batch that fails tells how many were done', async () => {
  using map = hash(5);
  const { keys, values } = numbered(9);
  await expect(map.setBatch(keys, values)).rejects.toMatchObject({ code: 'E2BIG', count: 5 });
  expect((await map.entries()).count).toBe(5);
});

test('deleteBatch passes over keys that are not there', async () => {
  using map = hash();
  for (const i of [1, 3, 5]) map.set(u32(i), u64(0n));
  expect(await map.deleteBatch(u32(0, 1, 2, 3, 4, 6))).toBe(2);
  expect([...map.keys()]).toEqual([u32(5)]);
});

test('a batch uses what its buffers held at the call', async () => {
  using map = hash();
  const { keys, values } = numbered(4);
  const done = map.setBatch(keys, values);
  keys.fill(0xff);
  await done;
  expect(map.get(u32(3))).toStrictEqual(u64(9n));
});

test.each([
  ['hash of maps', MapType.HASH_OF_MAPS],
  ['array of maps', MapType.ARRAY_OF_MAPS],
])('a map is put into a map: %s', async (_, type) => {
  using inner = hash();
  using other = hash();
  using outer = BpfMap.create({
    ...{ type, name: 'qn_outer', keySize: 4, valueSize: 4, maxEntries: 4, innerMap: inner },
  });
  expect(outer.getInnerMapId(u32(1))).toBeUndefined();
  outer.setInner(u32(1), inner);
  expect(outer.getInnerMapId(u32(1))).toBe(inner.info.id);
  outer.setInner(u32(1), other);
  expect(outer.getInnerMapId(u32(1))).toBe(other.info.id);
  expect(() => outer.set(u32(1), u32(1))).toThrow(TypeError);
  expect(() => outer.setBatch(u32(1), u32(1))).toThrow(TypeError);
  expect(() => inner.setInner(u32(1), other)).toThrow(TypeError);
  const { keys, values } = await outer.entries();
  const index = [...new Uint32Array(keys.slice().buffer)].indexOf(1);
  expect(readU32(values, index)).toBe(other.info.id);
  expect(outer.delete(u32(1))).toBe(true);
});

test('an inner map of another shape is refused', () => {
  using inner = hash();
  using wrong = BpfMap.create({ type: MapType.HASH, name: 'w', keySize: 8, valueSize: 8, maxEntries: 16 });
  using outer = BpfMap.create({
    ...{ type: MapType.HASH_OF_MAPS, name: 'o', keySize: 4, valueSize: 4, maxEntries: 4, innerMap: inner },
  });
  expect(thrown(() => outer.setInner(u32(1), wrong))).toMatchObject({ code: 'EINVAL' });
});

test('a pinned map is opened again, and its pin removed once', () => {
  using pins = pinDirectory();
  mkdirSync(pins.path);
  const path = `${pins.path}/mine`;
  using map = hash();
  map.pin(path);
  expect(thrown(() => map.pin(path))).toMatchObject({ code: 'EEXIST', operation: 'pin', object: path });
  using again = BpfMap.fromPin(path);
  expect(again.info.id).toBe(map.info.id);
  expect(thrown(() => BpfProgram.fromPin(path))).toMatchObject({ code: 'EINVAL' });
  expect(map.unpin(path)).toBe(true);
  expect(map.unpin(path)).toBe(false);
  expect(thrown(() => BpfMap.fromPin(path))).toMatchObject({ code: 'ENOENT' });
});

test('unpin does not remove files of another file system', () => {
  using map = hash();
  const directory = mkdtempSync(join(tmpdir(), 'qn-test-'));
  try {
    const file = join(directory, 'precious');
    writeFileSync(file, '');
    expect(thrown(() => map.unpin(file))).toMatchObject({ code: 'EINVAL' });
    expect(existsSync(file)).toBe(true);
    expect(map.unpin(join(directory, 'nothing'))).toBe(false);
    expect(isBpffs(directory)).toBe(false);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a closed map throws ClosedError, closing twice is harmless', () => {
  const map = hash();
  map.close();
  map.close();
  map[Symbol.dispose]();
  expect(map.closed).toBe(true);
  const uses = [
    () => map.get(u32(1)),
    () => map.set(u32(1), u64(1n)),
    () => map.delete(u32(1)),
    () => map.nextKey(),
    () => map.entries(),
    () => map.setBatch(u32(1), u64(1n)),
    () => map.deleteBatch(u32(1)),
    () => map.pin('/sys/fs/bpf/never'),
  ];
  for (const use of uses) expect(use).toThrow(ClosedError);
  expect(map.info.name).toBe('qn_test');
});

test('a batch that is under way when the map is closed comes to its end', async () => {
  const map = hash(100_000);
  const { keys, values } = numbered(100_000);
  const done = map.setBatch(keys, values);
  map.close();
  expect(await done).toBe(100_000);
});

test('a hash is read piece by piece, each entry once, and nothing beyond what was asked for', async () => {
  using map = hash(20000);
  const { keys, values } = numbered(15000);
  await map.setBatch(keys, values);
  const found = new Map<number, number>();
  let pieces = 0;
  for await (const piece of map.pieces(1000)) {
    pieces++;
    const read = new Uint32Array(piece.keys.slice().buffer);
    for (const key of read) found.set(key, (found.get(key) ?? 0) + 1);
    expect(piece.values).toHaveLength(piece.count * 8);
  }
  expect(pieces).toBeGreaterThan(14);
  expect(found.size).toBe(15000);
  expect([...found.values()].every((count) => count === 1)).toBe(true);
});

test('an empty hash has no pieces', async () => {
  using map = hash();
  for await (const piece of map.pieces()) throw new Error(`${piece.count} entries`);
});
