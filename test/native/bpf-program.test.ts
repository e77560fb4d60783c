import { mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BpfMap, BpfProgram, enableRunStatistics } from '../../src/native/bpf.js';
import { ClosedError } from '../../src/native/errors.js';
import { loadedSample, packet, pinDirectory, readU32, thrown, u32 } from './bpf-fixtures.js';

/** Bytes of struct __sk_buff, and where its `mark` is. */
const SKB_CONTEXT = 192;
const SKB_MARK = 2;
/** enum bpf_prog_type */
const SCHED_CLS = 3;
const SYSCALL = 31;

test('a program tells what it is', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  using runs = object.map('runs');
  const info = program.info();
  expect(info).toMatchObject({
    name: 'first',
    type: SCHED_CLS,
    tag: expect.stringMatching(/^[0-9a-f]{16}$/),
  });
  expect(info.id).toBeGreaterThan(0);
  expect(info.loadedAt).toBeGreaterThan(0n);
  expect(info.mapIds).toContain(runs.info.id);
});

test('a test run gives the packet and the context that come out', async () => {
  using object = await loadedSample({ verdict: 2 });
  using program = object.program('first');
  const context = new Uint8Array(SKB_CONTEXT);
  new Uint32Array(context.buffer)[SKB_MARK] = 41;
  const data = packet(100);
  const result = program.testRun({ data, context });
  expect(result.returnValue).toBe(2);
  expect(result.dataOut).toStrictEqual(data);
  expect(result.contextOut.length).toBe(SKB_CONTEXT);
  expect(readU32(result.contextOut, SKB_MARK)).toBe(42);
  // The caller's own bytes are left alone.
  expect(readU32(context, SKB_MARK)).toBe(41);
});

test('repeat runs a program so many times and gives the mean duration', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  using runs = object.map('runs');
  const { durationNs } = program.testRun({ data: packet(), repeat: 1000 });
  expect(durationNs).toBeLessThan(100_000);
  const counts = runs.get(u32(0)) ?? new Uint8Array(0);
  let total = 0;
  for (let cpu = 0; cpu < counts.length / 8; cpu++) total += readU32(counts, 2 * cpu) ?? 0;
  expect(total).toBe(1000);
});

test('an XDP program runs on a packet alone', async () => {
  using object = await loadedSample();
  using program = object.program('drop_all');
  expect(program.testRun({ data: packet() })).toMatchObject({ returnValue: 1, dataOut: packet() });
});

test('a packet that is too small is EINVAL, too little room for the answer ENOSPC', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  expect(thrown(() => program.testRun({ data: packet(5) }))).toMatchObject({
    ...{ name: 'KernelError', code: 'EINVAL', operation: 'test run' },
  });
  expect(thrown(() => program.testRun({ data: packet(), dataOutSize: 10 }))).toMatchObject({
    code: 'ENOSPC',
  });
});

test('a syscall program answers in its context', async () => {
  using object = await loadedSample();
  using program = object.program('write_records');
  expect(program.info().type).toBe(SYSCALL);
  const result = program.testRun({ context: u32(3, 100, 0, 0) });
  expect(result.returnValue).toBe(3);
  expect(result.contextOut).toStrictEqual(u32(3, 100, 3, 0));
});

test('testRunAsync leaves the event loop free and gives the same result', async () => {
  using object = await loadedSample({ verdict: 5 });
  using program = object.program('first');
  let turns = 0;
  let running = true;
  const turn = (): void => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const result = await program.testRunAsync({ data: packet(), repeat: 2_000_000 });
  running = false;
  expect(result).toMatchObject({ returnValue: 5, dataOut: packet() });
  expect(turns).toBeGreaterThan(10);
  await expect(program.testRunAsync({ data: packet(5) })).rejects.toMatchObject({ code: 'EINVAL' });
});

test('runs are counted while run statistics are enabled, and only then', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  {
    using _statistics = enableRunStatistics();
    program.testRun({ data: packet(), repeat: 100 });
  }
  const { runCount, runTimeNs } = program.info();
  expect(runCount).toBe(100n);
  expect(runTimeNs).toBeGreaterThan(0n);
});

test('a pinned program is opened again; a map pin is no program', async () => {
  using pins = pinDirectory();
  mkdirSync(pins.path);
  using object = await loadedSample();
  using program = object.program('first');
  program.pin(`${pins.path}/first`);
  using again = BpfProgram.fromPin(`${pins.path}/first`);
  expect(again.info().id).toBe(program.info().id);
  expect(thrown(() => BpfMap.fromPin(`${pins.path}/first`))).toMatchObject({
    ...{ code: 'EINVAL', operation: 'open pinned map' },
  });
  expect(again.unpin(`${pins.path}/first`)).toBe(true);
});

test('a pin outside of a bpffs is refused', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  expect(thrown(() => program.pin('/tmp/qn-test-pin'))).toMatchObject({
    name: 'KernelError',
    operation: 'pin',
  });
});

test('a closed program throws ClosedError', async () => {
  using object = await loadedSample();
  const program = object.program('first');
  program.close();
  program.close();
  expect(program.closed).toBe(true);
  const uses = [
    () => program.info(),
    () => program.testRun(),
    () => program.testRunAsync(),
    () => program.pin('/x'),
  ];
  for (const use of uses) expect(use).toThrow(ClosedError);
});

test('wrong arguments of a test run are TypeErrors and RangeErrors', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  expect(() => program.testRun({ data: 'x' as unknown as Uint8Array })).toThrow(TypeError);
  expect(() => program.testRun({ data: packet(), repeat: -1 })).toThrow(RangeError);
  expect(() => program.testRun({ data: packet(), repeat: 1.5 })).toThrow(RangeError);
});
