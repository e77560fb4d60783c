import { setTimeout } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
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

function withResolvers() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
