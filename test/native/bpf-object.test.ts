import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BpfMap, BpfObject, MapType } from '../../src/native/bpf.js';
import { ClosedError, KernelError, VerifierError } from '../../src/native/errors.js';
import {
  compiled,
  loadedSample,
  packet,
  pinDirectory,
  readU32,
  sample,
  thrown,
  u32,
  u64,
} from './bpf-fixtures.js';

test('a missing object file is ENOENT, named', () => {
  const error = thrown(() => BpfObject.open('/nonexistent/x.bpf.o'));
  expect(error).toBeInstanceOf(KernelError);
  expect(error).toMatchObject({ code: 'ENOENT', errno: 2, operation: 'open object' });
  expect(String(error)).toContain('/nonexistent/x.bpf.o');
});

test('a file that is no object is a KernelError that tells why', () => {
  const directory = mkdtempSync(join(tmpdir(), 'qn-test-'));
  try {
    const path = join(directory, 'text.o');
    writeFileSync(path, 'no ELF');
    expect(thrown(() => BpfObject.open(path))).toMatchObject({
      name: 'KernelError',
      operation: 'open object',
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('an opened object names its programs and maps', () => {
  using object = sample();
  expect(object.programNames.sort()).toEqual(['drop_all', 'first', 'second', 'write_records']);
  expect(object.mapNames).toEqual(expect.arrayContaining(['pinned', 'runs', 'records', '.rodata.config']));
});

test('a read-only variable has the value that was set before the load', async () => {
  using object = sample();
  object.setVariable('verdict', u32(3));
  await object.load();
  using program = object.program('first');
  expect(program.testRun({ data: packet() }).returnValue).toBe(3);
});

test('a variable of a section of its own can be set too', async () => {
  using object = sample();
  object.setVariable('wide', u64(0x1122334455667788n));
  await object.load();
  using program = object.program('second');
  expect(program.testRun({ data: packet() }).returnValue).toBe(2);
});

test('a variable keeps the default of the object file', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  expect(program.testRun({ data: packet() }).returnValue).toBe(7);
});

test('a variable of another size is a RangeError, an unknown one ENOENT', () => {
  using object = sample();
  expect(() => object.setVariable('verdict', u64(1n))).toThrow(RangeError);
  expect(() => object.setVariable('verdict', new Uint8Array(3))).toThrow(RangeError);
  expect(thrown(() => object.setVariable('unknown', u32(1)))).toMatchObject({ code: 'ENOENT' });
  // `LICENSE` is a variable, but no setting.
  expect(thrown(() => object.setVariable('LICENSE', u32(1)))).toMatchObject({ code: 'ENOENT' });
});

test('what belongs before the load is EPERM after it, and the other way round', async () => {
  using object = sample();
  expect(thrown(() => object.program('first'))).toMatchObject({ code: 'EPERM' });
  expect(thrown(() => object.map('runs'))).toMatchObject({ code: 'EPERM' });
  await object.load();
  expect(thrown(() => object.setVariable('verdict', u32(1)))).toMatchObject({ code: 'EPERM' });
  expect(thrown(() => object.setMaxEntries('pinned', 1))).toMatchObject({ code: 'EPERM' });
  expect(thrown(() => object.load())).toMatchObject({ code: 'EPERM' });
});

test('an object is EBUSY while it is being loaded, and may be closed', async () => {
  const object = sample();
  const loading = object.load();
  expect(thrown(() => object.setVariable('verdict', u32(1)))).toMatchObject({ code: 'EBUSY' });
  object.close();
  await loading;
  expect(() => object.program('first')).toThrow(ClosedError);
});

test('setMaxEntries decides the size of a map', async () => {
  using object = sample();
  object.setMaxEntries('pinned', 33);
  expect(thrown(() => object.setMaxEntries('unknown', 1))).toMatchObject({ code: 'ENOENT' });
  expect(() => object.setMaxEntries('pinned', -1)).toThrow(RangeError);
  await object.load();
  using map = object.map('pinned');
  expect(map.info).toMatchObject({
    maxEntries: 33,
    keySize: 4,
    valueSize: 8,
    type: MapType.HASH,
    name: 'pinned',
  });
});

test('unknown programs and maps are ENOENT', async () => {
  using object = await loadedSample();
  expect(thrown(() => object.program('unknown'))).toMatchObject({ code: 'ENOENT' });
  expect(thrown(() => object.map('unknown'))).toMatchObject({ code: 'ENOENT' });
});

test('programs and maps outlive their object', async () => {
  const object = await loadedSample();
  using program = object.program('first');
  using runs = object.map('runs');
  object.close();
  object.close();
  program.testRun({ data: packet(), repeat: 5 });
  const counts = new Uint32Array(runs.get(u32(0))?.slice().buffer ?? new ArrayBuffer(0));
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(5);
});

test('a refused program is a VerifierError with the whole log', async () => {
  using pins = pinDirectory();
  using object = BpfObject.open(compiled('refused'));
  const error: unknown = await object.load({ pinRoot: pins.path }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(VerifierError);
  if (!(error instanceof VerifierError)) return;
  expect(error).toMatchObject({ code: 'EACCES', program: 'reads_beyond', operation: 'load program' });
  // From the first instruction to the statistics, with each turn of the loop between them.
  expect(error.log).toMatch(/^(0: |func#0|reg type|arg#)/);
  expect(error.log.split('\n').length).toBeGreaterThan(9000);
  expect(error.log).toContain('invalid access to packet');
  expect(error.log).toMatch(/processed \d+ insns/);
  expect(error.message).toContain('invalid access to packet');
  expect(error.message.length).toBeLessThan(1000);
  expect(existsSync(join(pins.path, 'left_over'))).toBe(false);
});

test('concurrent loads do not mix their logs', async () => {
  const attempts = Array.from({ length: 4 }, async () => {
    using object = BpfObject.open(compiled('refused'));
    const error: unknown = await object.load().catch((e: unknown) => e);
    return error instanceof VerifierError ? error.log.match(/invalid access to packet/g)?.length : error;
  });
  const good = loadedSample();
  expect(await Promise.all(attempts)).toEqual([1, 1, 1, 1]);
  (await good).close();
});

test('a map that cannot be created is a KernelError with the map in it', async () => {
  using object = sample();
  object.setMaxEntries('runs', 0xffffffff);
  const error: unknown = await object.load().catch((e: unknown) => e);
  expect(error).toBeInstanceOf(KernelError);
  expect(error).not.toBeInstanceOf(VerifierError);
  expect(String(error)).toContain('runs');
});

test('maps that ask for it are pinned, below a directory that load makes', async () => {
  using pins = pinDirectory();
  const root = `${pins.path}/a/maps`;
  using object = await loadedSample({ pinRoot: root });
  expect(readdirSync(root)).toEqual(['pinned']);
  using map = object.map('pinned');
  using again = BpfMap.fromPin(`${root}/pinned`);
  expect(again.info.id).toBe(map.info.id);
});

test('without a pin root nothing is pinned', async () => {
  using object = await loadedSample();
  using map = object.map('pinned');
  map.set(u32(1), u64(1n));
  expect(existsSync('/sys/fs/bpf/pinned')).toBe(false);
});

test('a pin root that is not on a bpffs is refused and not made', async () => {
  using object = sample();
  const directory = mkdtempSync(join(tmpdir(), 'qn-test-'));
  try {
    const root = join(directory, 'maps');
    await expect(object.load({ pinRoot: root })).rejects.toMatchObject({ code: 'EINVAL' });
    expect(existsSync(root)).toBe(false);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a compatible pinned map is adopted with its content', async () => {
  using pins = pinDirectory();
  const first = await loadedSample({ pinRoot: pins.path });
  const before = first.map('pinned');
  before.set(u32(5), u64(55n));
  const { id } = before.info;
  before.close();
  first.close();
  using second = await loadedSample({ pinRoot: pins.path });
  using after = second.map('pinned');
  expect(after.info.id).toBe(id);
  expect(readU32(after.get(u32(5)))).toBe(55);
});

test('an incompatible pinned map is EEXIST that names the map and what differs, and stays', async () => {
  using pins = pinDirectory();
  (await loadedSample({ pinRoot: pins.path })).close();
  using object = sample();
  object.setMaxEntries('pinned', 2048);
  const error: unknown = await object.load({ pinRoot: pins.path }).catch((e: unknown) => e);
  expect(error).toMatchObject({ name: 'KernelError', code: 'EEXIST', operation: 'adopt pinned map' });
  expect(String(error)).toContain(`pinned at ${pins.path}/pinned (max_entries is 1024, wanted 2048)`);
  using kept = BpfMap.fromPin(`${pins.path}/pinned`);
  expect(kept.info.maxEntries).toBe(1024);
});

test('all differences of a pinned map are told', async () => {
  using pins = pinDirectory();
  (await loadedSample({ pinRoot: pins.path })).close();
  using old = BpfMap.fromPin(`${pins.path}/pinned`);
  old.unpin(`${pins.path}/pinned`);
  using other = BpfMap.create({
    ...{ type: MapType.LRU_HASH, name: 'other', keySize: 8, valueSize: 16, maxEntries: 1024 },
  });
  other.pin(`${pins.path}/pinned`);
  using object = sample();
  await expect(object.load({ pinRoot: pins.path })).rejects.toThrow(
    /type is 9, wanted 1, key_size is 8, wanted 4, value_size is 16, wanted 8, map_flags is 0, wanted 1/,
  );
});
