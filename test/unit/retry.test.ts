/** What has failed is done again by itself: soon, then more seldom, and not for ever faster or slower. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Retry } from '../../src/vnet/retry.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Fails so often; tells the seconds at which it is tried. */
function failing(times: number) {
  const [begin, tries, errors]: [number, number[], unknown[]] = [Date.now(), [], []];
  const retry = new Retry(
    async () => {
      tries.push((Date.now() - begin) / 1000);
      if (tries.length <= times) throw new Error('broken');
    },
    (error) => errors.push(error),
  );
  return { retry, tries, errors };
}

const MINUTE = 60_000;

it('after a time that grows to a minute, until it succeeds', async () => {
  const { retry, tries, errors } = failing(8);
  retry.start();
  retry.start();
  await vi.advanceTimersByTimeAsync(60 * MINUTE);
  expect(tries).toEqual([1, 3, 7, 15, 31, 63, 123, 183, 243]);
  expect(errors).toHaveLength(8);
});

it('and soon again once it has succeeded', async () => {
  const { retry, tries } = failing(3);
  retry.start();
  await vi.advanceTimersByTimeAsync(MINUTE);
  retry.start();
  await vi.advanceTimersByTimeAsync(MINUTE);
  expect(tries).toEqual([1, 3, 7, 15, 61]);
});

it('what fails while it is being done is done once more', async () => {
  const tries: number[] = [];
  const retry = new Retry(
    async () => {
      tries.push(1);
      if (tries.length === 1) retry.start();
    },
    () => undefined,
  );
  retry.start();
  await vi.advanceTimersByTimeAsync(MINUTE);
  expect(tries).toHaveLength(2);
});

it('not any more when it is stopped, be it in the middle', async () => {
  const { retry, tries } = failing(9);
  retry.start();
  await vi.advanceTimersByTimeAsync(3000);
  retry.stop();
  retry.start();
  let fail: (error: unknown) => void = () => undefined;
  const other = new Retry(
    () =>
      new Promise<void>((_, reject) => {
        fail = reject;
      }),
    () => undefined,
  );
  other.start();
  await vi.advanceTimersByTimeAsync(1000);
  other.stop();
  fail(new Error('too late'));
  await vi.advanceTimersByTimeAsync(60 * MINUTE);
  expect([tries, vi.getTimerCount()]).toEqual([[1, 3], 0]);
});
