import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasQueue } from '../../src/bridge/queue-kinds.js';
import { KernelError } from '../../src/native/errors.js';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';

let netns: NetnsHandle;
let rtnl: Rtnl;
let index: number;

beforeEach(() => {
  netns = NetnsHandle.createUnnamed();
  rtnl = Rtnl.open(netns);
  index = rtnl.createVeth({ name: 'a', peerName: 'b' }).index;
});
afterEach(() => {
  rtnl.close();
  netns.close();
});

describe('token bucket', () => {
  it('is set, told, replaced and removed', () => {
    expect(rtnl.queue(index)).toBeUndefined();
    expect(rtnl.removeQueue(index)).toBe(false);
    rtnl.setTokenBucket(index, { rate: 2_500_000, burst: 25_000, limit: 100_000 });
    expect(rtnl.queue(index)).toEqual({ kind: 'tbf', rate: 2_500_000, limit: 100_000 });
    rtnl.setTokenBucket(index, { rate: 1, burst: 1514, limit: 0xffffffff });
    expect(rtnl.queue(index)).toEqual({ kind: 'tbf', rate: 1, limit: 0xffffffff });
    expect(rtnl.removeQueue(index)).toBe(true);
    expect(rtnl.queue(index)).toBeUndefined();
  });

  it('counts bytes, or packets, and what waits there stays when that is set again', () => {
    const queue = { kind: 'tbf', rate: 1_000_000, limit: 100_000 } as const;
    const handles = () =>
      netns.run(() => execFileSync('tc', ['qdisc', 'show', 'dev', 'a'], { encoding: 'utf8' }));
    rtnl.setTokenBucket(index, { ...queue, burst: 1514, packets: 7 });
    expect(rtnl.queue(index)).toEqual({ ...queue, packets: 7 });
    const before = handles();
    expect(before).toMatch(/qdisc pfifo 7170: parent 716e:1 limit 7p/);
    rtnl.setTokenBucket(index, { ...queue, burst: 1514, packets: 7 });
    expect(handles()).toBe(before);
    rtnl.setTokenBucket(index, { ...queue, rate: 2_000_000, burst: 1514, packets: 8 });
    expect(rtnl.queue(index)).toEqual({ ...queue, rate: 2_000_000, packets: 8 });
    expect(rtnl.removeQueue(index)).toBe(true);
    rtnl.setTokenBucket(index, { ...queue, burst: 1514 });
    expect(rtnl.queue(index)).toEqual(queue);
    netns.run(() =>
      execFileSync('tc', ['qdisc', 'replace', 'dev', 'a', 'parent', '716e:1', 'pfifo', 'limit', '3']),
    );
    expect(rtnl.queue(index)).toEqual(queue);
  });

  it('has rates and bursts beyond 32 bits of bits', () => {
    rtnl.setTokenBucket(index, { rate: 125_000_000_000, burst: 2 ** 30, limit: 2 ** 31 });
    expect(rtnl.queue(index)).toEqual({ kind: 'tbf', rate: 125_000_000_000, limit: 2 ** 31 });
  });

  it('of somebody else is neither told of nor removed', () => {
    netns.run(() => execFileSync('tc', ['qdisc', 'add', 'dev', 'a', 'root', 'pfifo']));
    expect(rtnl.queue(index)).toBeUndefined();
    expect(rtnl.removeQueue(index)).toBe(false);
  });

  it.each([0, -1, 1.5, Number.NaN, 2 ** 54])('a rate of %d is refused before the kernel sees it', (rate) => {
    expect(() => rtnl.setTokenBucket(index, { rate, burst: 1514, limit: 1514 })).toThrow(RangeError);
  });

  it('of an interface that is not there is an error, and none to read', () => {
    expect(() => rtnl.setTokenBucket(999, { rate: 1, burst: 1514, limit: 1514 })).toThrow(KernelError);
    expect(rtnl.queue(999)).toBeUndefined();
    expect(rtnl.removeQueue(999)).toBe(false);
    expect(() => rtnl.queue(0)).toThrow(RangeError);
  });
});

// Kernels with and without are proved in turn: `npm run test:kernels` boots some that have them.
if (hasQueue('fq') === true) {
  describe('queue by departure times', () => {
    it('is set, told, replaced by and put in the place of a token bucket, and removed', () => {
      rtnl.setTokenBucket(index, { rate: 1_000_000, burst: 1514, limit: 100_000 });
      rtnl.setDepartureQueue(index, { limit: 1000 });
      expect(rtnl.queue(index)).toEqual({ kind: 'fq', limit: 1000 });
      rtnl.setTokenBucket(index, { rate: 1_000_000, burst: 1514, limit: 100_000 });
      expect(rtnl.queue(index)).toEqual({ kind: 'tbf', rate: 1_000_000, limit: 100_000 });
      rtnl.setDepartureQueue(index, { limit: 0xffffffff });
      expect(rtnl.queue(index)).toEqual({ kind: 'fq', limit: 0xffffffff });
      expect(rtnl.removeQueue(index)).toBe(true);
      expect(rtnl.queue(index)).toBeUndefined();
    });

    it('that somebody has changed is told of as such', () => {
      rtnl.setDepartureQueue(index, { limit: 1000 });
      netns.run(() => execFileSync('tc', ['qdisc', 'change', 'dev', 'a', 'root', 'fq', 'horizon', '1ms']));
      expect(rtnl.queue(index)).toEqual({ kind: 'fq', limit: 0 });
    });
  });
} else {
  it('a kernel without queues by departure times says so', () => {
    expect(() => rtnl.setDepartureQueue(index, { limit: 1 })).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
  });
}
