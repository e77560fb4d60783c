import { expect, test, vi } from 'vitest';
import { BpfMap, type BpfProgram, MapType, monotonicNs, RingBuffer } from '../../src/native/bpf.js';
import { ClosedError } from '../../src/native/errors.js';
import { loadedSample, readU32, thrown, u32 } from './bpf-fixtures.js';

async function source(): Promise<Disposable & { program: BpfProgram; map: BpfMap }> {
  using object = await loadedSample();
  const [program, map] = [object.program('write_records'), object.map('records')];
  return {
    ...{ program, map },
    [Symbol.dispose]() {
      program.close();
      map.close();
    },
  };
}

/** Has the program write `count` records, the numbers from `start` on. @returns how many it could. */
const write = (program: BpfProgram, count: number, start = 0): number =>
  program.testRun({ context: u32(count, start, 0, 0) }).returnValue;

test('records arrive, all and in order', async () => {
  using records = await source();
  const seen: (number | undefined)[] = [];
  using ring = new RingBuffer(records.map, (batch) => seen.push(...batch.map((record) => readU32(record))));
  for (let i = 0; i < 10; i++) expect(write(records.program, 1000, 1000 * i)).toBe(1000);
  await vi.waitFor(() => expect(seen.length).toBe(10_000));
  expect(seen).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
  expect(ring.dropped).toBe(0);
});

test('records that were written before the ring buffer was opened arrive', async () => {
  using records = await source();
  write(records.program, 3, 7);
  const seen: Uint8Array[] = [];
  using _ring = new RingBuffer(records.map, (batch) => seen.push(...batch));
  await vi.waitFor(() => expect(seen.length).toBe(3));
  expect(seen.map((record) => [record.length, readU32(record)])).toEqual([
    [4, 7],
    [4, 8],
    [4, 9],
  ]);
});

test('what onRecords has no time for is dropped beyond maxQueued, and counted', async () => {
  using records = await source();
  let seen = 0;
  using ring = new RingBuffer(records.map, (batch) => (seen += batch.length), { maxQueued: 100 });
  const written = write(records.program, 5000);
  expect(written).toBe(5000);
  // This thread keeps busy, so that the poller meets a queue that nobody empties.
  const deadline = monotonicNs() + 5_000_000_000n;
  while (ring.dropped < 4900 && monotonicNs() < deadline);
  expect(ring.dropped).toBe(4900);
  await vi.waitFor(() => expect(seen).toBe(100));
  write(records.program, 50);
  await vi.waitFor(() => expect(seen).toBe(150));
  expect(ring.dropped).toBe(4900);
});

test('within the interval records are kept until half of the queue is full, after a rest none is', async () => {
  using records = await source();
  const batches: number[] = [];
  const options = { maxQueued: 100, deliverIntervalMs: 600_000 };
  using ring = new RingBuffer(records.map, (batch) => batches.push(batch.length), options);
  write(records.program, 1);
  await vi.waitFor(() => expect(batches).toEqual([1]));
  write(records.program, 20);
  write(records.program, 29);
  write(records.program, 1);
  await vi.waitFor(() => expect(batches).toEqual([1, 50]));
  expect(ring.dropped).toBe(0);
});

test('records that come within the interval are delivered after it', async () => {
  using records = await source();
  let seen = 0;
  using _ring = new RingBuffer(records.map, (batch) => (seen += batch.length), { deliverIntervalMs: 50 });
  for (let i = 1; i <= 20; i++) {
    write(records.program, 3);
    if (i % 5 === 0) await vi.waitFor(() => expect(seen).toBe(3 * i));
  }
});

test('close does not wait for the interval', async () => {
  using records = await source();
  const ring = new RingBuffer(records.map, () => {}, { deliverIntervalMs: 600_000 });
  write(records.program, 1);
  ring.close();
  expect(ring.closed).toBe(true);
});

test('nothing is delivered after close, not even what was waiting', async () => {
  using records = await source();
  const onRecords = vi.fn();
  const ring = new RingBuffer(records.map, onRecords);
  write(records.program, 10);
  ring.close();
  ring.close();
  expect(ring.closed).toBe(true);
  write(records.program, 10);
  await new Promise((resolve) => setImmediate(resolve));
  expect(onRecords).not.toHaveBeenCalled();
  expect(ring.dropped).toBe(0);
});

test('onRecords may close the ring buffer', async () => {
  using records = await source();
  const ring: RingBuffer = new RingBuffer(records.map, () => ring.close());
  write(records.program, 10);
  await vi.waitFor(() => expect(ring.closed).toBe(true));
});

test('close does not wait for a writer that never stops', async () => {
  using records = await source();
  const ring = new RingBuffer(records.map, () => {}, { maxQueued: 1 });
  const writing = records.program.testRunAsync({ context: u32(1_000_000, 0, 0, 0) });
  ring.close();
  await writing;
});

test('the map may be closed before the ring buffer', async () => {
  using records = await source();
  let seen = 0;
  using _ring = new RingBuffer(records.map, (batch) => (seen += batch.length));
  records.map.close();
  write(records.program, 10);
  await vi.waitFor(() => expect(seen).toBe(10));
});

test('an open ring buffer is not collected', async () => {
  using records = await source();
  let seen = 0;
  const open = (): WeakRef<RingBuffer> =>
    new WeakRef(new RingBuffer(records.map, (batch) => (seen += batch.length)));
  const reference = open();
  const pressure: unknown[] = [];
  for (let i = 0; i < 50; i++) pressure.push(new Array(100_000).fill(i));
  await new Promise((resolve) => setImmediate(resolve));
  write(records.program, 1);
  await vi.waitFor(() => expect(seen).toBe(1));
  reference.deref()?.close();
});

test('only a ring buffer map can be read so', async () => {
  using records = await source();
  using other = BpfMap.create({ type: MapType.ARRAY, name: 'x', keySize: 4, valueSize: 4, maxEntries: 1 });
  expect(() => new RingBuffer(other, () => {})).toThrow(TypeError);
  expect(() => new RingBuffer(records.map, () => {}, { maxQueued: -1 })).toThrow(RangeError);
  records.map.close();
  expect(thrown(() => new RingBuffer(records.map, () => {}))).toBeInstanceOf(ClosedError);
});
