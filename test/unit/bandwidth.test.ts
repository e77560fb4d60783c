import { describe, expect, it } from 'vitest';
import { BandwidthScale } from '../../src/datapath/abi/generated.js';
import { BandwidthTable } from '../../src/datapath/bandwidth-table.js';
import {
  BURST_MAX,
  type Buckets,
  bandwidth,
  bucketsOf,
  RATE_MAX,
  RATE_MIN,
} from '../../src/model/bandwidth.js';

const MBIT = 1_000_000;

describe('limits of bandwidth', () => {
  it.each([
    [{ ingress_rate: 0 }, 'ingress_rate'],
    [{ ingress_rate: -1 }, 'ingress_rate'],
    [{ ingress_rate: RATE_MIN - 1 }, 'ingress_rate'],
    [{ ingress_rate: RATE_MAX + 1 }, 'ingress_rate'],
    [{ egress_rate: MBIT + 0.5 }, 'egress_rate'],
    [{ egress_rate: 2 ** 63 }, 'egress_rate'],
    [{ egress_rate: 2 ** 64 }, 'egress_rate'],
    [{ egress_rate: Number.POSITIVE_INFINITY }, 'egress_rate'],
    [{ egress_rate: '1000000' }, 'egress_rate'],
    [{ egress_rate: null }, 'egress_rate'],
    [{ egress_rate: MBIT, egress_burst: 0 }, 'egress_burst'],
    [{ egress_rate: MBIT, egress_burst: -8 }, 'egress_burst'],
    [{ egress_rate: MBIT, egress_burst: BURST_MAX + 1 }, 'egress_burst'],
    [{ egress_rate: MBIT, egress_burst: 1.5 }, 'egress_burst'],
    [{ egress_burst: 80_000 }, 'egress_burst'],
    [{ egress_rate: MBIT, ingress_burst: 80_000 }, 'ingress_burst'],
  ])('%j are refused', (limits, field) => {
    const result = bandwidth.safeParse(limits);
    expect(new Set(result.error?.issues.map(({ path }) => path.join('.')))).toEqual(new Set([field]));
  });

  it('may be anything between, in one direction or both, or nothing', () => {
    for (const limits of [
      {},
      { ingress_rate: RATE_MIN },
      // As Kubernetes: 1k to 1P.
      { ingress_rate: 1_000, egress_rate: 1_000_000_000_000_000 },
      { ingress_rate: RATE_MAX, ingress_burst: BURST_MAX },
      { egress_rate: MBIT, egress_burst: 1, ingress_rate: 10 * MBIT },
    ]) {
      expect(bandwidth.parse(limits)).toEqual(limits);
    }
    expect(bandwidth.safeParse({ rate: MBIT }).success).toBe(false);
  });
});

describe('a bucket', () => {
  it('counts frames: so many that full ones carry the rate in IP packets', () => {
    const { egress, ingress } = bucketsOf({ egress_rate: 12 * MBIT }, 1500);
    expect(egress?.rate).toBe(1_514_000);
    expect(ingress).toBeUndefined();
    expect(bucketsOf(undefined, 1500)).toEqual({});
  });

  it('holds what 20 ms take and no less than 16 KiB unless told otherwise, and a frame always', () => {
    const burst = (rate: number, bits?: number, mtu = 1500) =>
      bucketsOf({ ingress_rate: rate, ingress_burst: bits }, mtu).ingress?.burst;
    expect(burst(1000 * MBIT)).toBe(2_523_334);
    expect(burst(MBIT)).toBe(16_384);
    expect(burst(MBIT, 800_000)).toBe(100_000);
    expect(burst(MBIT, 8)).toBe(1514);
    expect(burst(MBIT, undefined, 65_535)).toBe(65_549);
  });

  it('of more than 10^12 bits a second is one of so many', () => {
    const most = bucketsOf({ egress_rate: 10 ** 12 }, 1500);
    expect(most.egress?.rate).toBe(126_166_666_667);
    expect(bucketsOf({ egress_rate: RATE_MAX }, 1500)).toEqual(most);
  });

  it('fits what the kernel keeps it in, whatever was asked for', () => {
    for (const rate of [RATE_MIN, MBIT, RATE_MAX]) {
      for (const burst of [1, BURST_MAX]) {
        const bucket = bucketsOf({ ingress_rate: rate, ingress_burst: burst }, 1280).ingress;
        const { burst: bytes, queue } = bucket ?? { burst: 0, queue: 0 };
        expect(bytes + 2 * queue).toBeLessThan(2 ** 32);
      }
    }
  });
});

describe('what the programs keep of a limit', () => {
  /** As the kernel: what was put is there. */
  function table() {
    const entries = new Map<string, { byteCost: bigint; burstNs: bigint; queueNs: bigint; dueNs: bigint }>();
    const text = (key: object) => JSON.stringify(key);
    const map = {
      get: (key: object) => entries.get(text(key)),
      set: (key: object, value: never) => void entries.set(text(key), value),
      delete: (key: object) => entries.delete(text(key)),
      entries: async () => [...entries].map(([key, value]) => [JSON.parse(key), value] as const),
    };
    return { entries, table: new BandwidthTable(map as never) };
  }
  const nsPerByte = (cost = 0n) => Number(cost) / 2 ** BandwidthScale.COST_BITS;

  it('is wider by a thousandth than the queue of the container, and narrower than that of the host', () => {
    for (const rate of [RATE_MIN, MBIT, 1000 * MBIT, RATE_MAX]) {
      const { entries, table: limits } = table();
      const buckets = bucketsOf({ egress_rate: rate, ingress_rate: rate }, 1500);
      limits.put(7, buckets);
      const [egress, ingress] = [...entries.values()];
      const exact = 1e9 / (buckets.egress?.rate ?? 0);
      expect(nsPerByte(egress?.byteCost) / exact).toBeCloseTo(0.999, 3);
      expect(nsPerByte(ingress?.byteCost) / exact).toBeCloseTo(1.001, 3);
      // The product with the largest frame of the programs has 64 bits.
      for (const { byteCost } of entries.values()) expect(byteCost << 21n).toBeLessThan(1n << 64n);
    }
  });

  it('gives departure times at the rate itself, with the burst and the room of the queue', () => {
    const { entries, table: limits } = table();
    const { egress } = bucketsOf({ egress_rate: MBIT, egress_burst: 400_000 }, 1500);
    if (egress === undefined) throw new Error('no bucket');
    limits.put(7, { egress, departure: egress });
    const { byteCost, burstNs, queueNs } = [...entries.values()][1] ?? {};
    expect((nsPerByte(byteCost) * egress.rate) / 1e9).toBeCloseTo(1, 6);
    const bytes = (ns = 0n) => Math.round((Number(ns) * egress.rate) / 1e9);
    expect([burstNs, queueNs].map(bytes)).toEqual([egress.burst, egress.queue]);
    limits.prune(7, { egress });
    expect(entries.size).toBe(1);
  });

  it('lets the largest piece of the kernel pass behind a queue of departure times, which cuts none', () => {
    const bytesOf = (buckets: Buckets, rate: number) => {
      const { entries, table: limits } = table();
      limits.put(7, buckets);
      const { burstNs = 0n } = [...entries.values()][0] ?? {};
      return Math.round((Number(burstNs) * rate) / 1e9);
    };
    const { egress } = bucketsOf({ egress_rate: MBIT }, 1500);
    if (egress === undefined) throw new Error('no bucket');
    // 64 KiB in segments of 536 bytes, with Ethernet, IPv6 and TCP headers that have options.
    const piece = 65_536 + Math.ceil(65_536 / 536) * 86;
    expect(bytesOf({ egress, departure: egress }, egress.rate)).toBeGreaterThanOrEqual(piece);
    expect(bytesOf({ egress }, egress.rate)).toBeLessThan(piece);
  });

  it('goes on counting when it is put again, and begins anew when it is another', () => {
    const { entries, table: limits } = table();
    const [first, second] = [MBIT, 2 * MBIT].map((rate) => bucketsOf({ egress_rate: rate }, 1500));
    limits.put(7, first ?? {});
    for (const entry of entries.values()) entry.dueNs = 5n;
    limits.put(7, first ?? {});
    expect([...entries.values()].map(({ dueNs }) => dueNs)).toEqual([5n]);
    expect(limits.matches(7, first ?? {})).toBe(true);
    expect(limits.matches(7, second ?? {})).toBe(false);
    limits.put(7, second ?? {});
    expect([...entries.values()].map(({ dueNs }) => dueNs)).toEqual([0n]);
  });

  it('is gone with the limit, and with the endpoint', async () => {
    const { entries, table: limits } = table();
    const buckets = bucketsOf({ egress_rate: MBIT, ingress_rate: MBIT }, 1500);
    for (const id of [7, 8]) limits.put(id, buckets);
    const { egress } = buckets;
    limits.prune(7, egress === undefined ? {} : { egress });
    expect(entries.size).toBe(3);
    expect(limits.matches(7, buckets)).toBe(false);
    await limits.retain(new Map([[8, { bandwidth: buckets }]]));
    expect([...entries.keys()].map((key) => JSON.parse(key).endpointId)).toEqual([8, 8]);
  });
});
