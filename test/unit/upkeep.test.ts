import { setTimeout } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { NoticeDelay } from '../../src/vnet/notice-delay.js';
import { Upkeep } from '../../src/vnet/upkeep.js';

it('a part that fails is told of, and keeps no other from its turn', async () => {
  const seen: unknown[] = [];
  const upkeep = new Upkeep(
    [
      () => Promise.reject(new Error('first')),
      () => {
        throw new Error('second');
      },
      () => seen.push('third'),
    ],
    (error) => seen.push((error as Error).message),
  );
  await upkeep.run();
  expect(seen).toEqual(['first', 'second', 'third']);
});

it('nothing is begun while the last look is under way, and the next is one again', async () => {
  const { promise, resolve } = withResolvers();
  let looks = 0;
  const upkeep = new Upkeep([() => ++looks, () => promise], () => undefined);
  const first = upkeep.run();
  await upkeep.run();
  expect(looks).toBe(1);
  resolve();
  await first;
  await upkeep.run();
  expect(looks).toBe(2);
});

it('what is asked for is done once, after what is under way, and not after the end', async () => {
  const { promise, resolve } = withResolvers();
  let looks = 0;
  const upkeep = new Upkeep([() => ++looks, () => (looks === 1 ? promise : undefined)], () => undefined);
  const first = upkeep.run();
  upkeep.request(0);
  upkeep.request(0);
  await setTimeout(20);
  expect(looks).toBe(1);
  resolve();
  await first;
  expect(looks).toBe(2);
  upkeep.request(0);
  await vi.waitFor(() => expect(looks).toBe(3));
  upkeep.request(0);
  upkeep.stop();
  await setTimeout(20);
  expect(looks).toBe(3);
});

it('who asks for it sooner has it sooner, and whoever asked before has it then too', async () => {
  vi.useFakeTimers();
  try {
    let looks = 0;
    const upkeep = new Upkeep([() => ++looks], () => undefined);
    upkeep.request(1000);
    upkeep.request(100);
    upkeep.request(500);
    await vi.advanceTimersByTimeAsync(100);
    expect(looks).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(looks).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});

it('notices of what is taken away in a loop wait longer each time, and are soon heard again when it is calm', () => {
  let now = 0;
  const delay = new NoticeDelay(5000, () => now);
  const delays = Array.from({ length: 6 }, () => {
    const { ms } = delay;
    now += ms;
    delay.repaired();
    return ms;
  });
  expect(delays).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
  now += 60_000;
  expect(delay.ms).toBe(500);
});

function withResolvers() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

it('the end waits for the part that is under way, after which none begins', async () => {
  const { promise, resolve } = withResolvers();
  const seen: string[] = [];
  const upkeep = new Upkeep(
    [() => promise.then(() => seen.push('first')), () => seen.push('second')],
    () => undefined,
  );
  void upkeep.run();
  const stopped = upkeep.stop().then(() => seen.push('stopped'));
  resolve();
  await stopped;
  await upkeep.run();
  expect(seen).toEqual(['first', 'stopped']);
});
