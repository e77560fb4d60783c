/** Limits of bandwidth: what may be asked for, and what it is in bytes. */
import { z } from 'zod';

/** Bits a second, as Kubernetes takes them in the annotations of a pod. */
export const RATE_MIN = 1_000;
export const RATE_MAX = 10 ** 15;
/** More is kept as this: the time that a byte takes must be told to some thousandths. No interface of ours is as fast. */
const KEPT_RATE_MAX = 10 ** 12;
/** Bits. */
export const BURST_MAX = 2 ** 33;

/** What a bucket holds when nobody says: so long at the rate, and no less than so many bytes. */
const BURST_DEFAULT = { seconds: 0.02, bytes: 16 * 1024 };
/** What may wait. One TCP connection alone hands over so many bytes at once, however slow it has to be. */
const QUEUE = { seconds: 0.05, bytes: 256 * 1024 };
/**
 * Room for a packet is room for so many bytes at least: the kernel keeps more beside each than there is in the smallest, and
 * who sends those is not the one who pays.
 */
const BYTES_PER_PACKET = 256;
/** Of bursts and queues, so that the kernel's 32 bits hold what is made of them. */
const BYTES_MAX = 2 ** 30;

/** Of a frame, beside the IP packet (an Ethernet header). */
const FRAME_HEADER = 14;

const rateOf = (what: string) =>
  z
    .int()
    .min(RATE_MIN)
    .max(RATE_MAX)
    .optional()
    .describe(`Most bits of IP packets a second that the container ${what}; unlimited if unsaid`);
const burstOf = (what: string) =>
  z
    .int()
    .min(1)
    .max(BURST_MAX)
    .optional()
    .describe(`Bits that it ${what} at once after a pause; what 20 ms take, at least 131072, if unsaid`);

/** Limits of an endpoint, seen from its container. */
export const bandwidth = z
  .strictObject({
    ingress_rate: rateOf('receives'),
    ingress_burst: burstOf('receives'),
    egress_rate: rateOf('sends'),
    egress_burst: burstOf('sends'),
  })
  .check(({ value, issues }) => {
    for (const [burst, rate] of [
      ['ingress_burst', 'ingress_rate'],
      ['egress_burst', 'egress_rate'],
    ] as const) {
      if (value[burst] === undefined || value[rate] !== undefined) continue;
      issues.push({ code: 'custom', path: [burst], message: `needs ${rate}`, input: value });
    }
  })
  .meta({ id: 'Bandwidth', description: 'Limits of bandwidth' });
export type Bandwidth = z.output<typeof bandwidth>;

/** A limit of one direction as the kernel keeps it: whole frames, in bytes. */
export interface Bucket {
  /** Bytes a second. */
  rate: number;
  /** Never less than a frame, which would not pass otherwise. */
  burst: number;
  /** Bytes that may wait for their time. */
  queue: number;
  /** Packets that may. */
  packets: number;
}

/** The limits of an endpoint whose interface has that MTU. */
export interface Buckets {
  egress?: Bucket;
  ingress?: Bucket;
  /** By which what the container sends gets its departure times, where its queue goes by them. */
  departure?: Bucket;
}

export function bucketsOf(limits: Bandwidth | undefined, mtu: number): Buckets {
  const { egress_rate, egress_burst, ingress_rate, ingress_burst } = limits ?? {};
  return {
    ...(egress_rate === undefined ? {} : { egress: bucketOf(egress_rate, egress_burst, mtu) }),
    ...(ingress_rate === undefined ? {} : { ingress: bucketOf(ingress_rate, ingress_burst, mtu) }),
  };
}

/** The kernel counts frames: the rate is what full frames need to carry that many bits of IP packets. */
function bucketOf(rateBits: number, burstBits: number | undefined, mtu: number): Bucket {
  const frame = mtu + FRAME_HEADER;
  const rate = Math.round(((Math.min(rateBits, KEPT_RATE_MAX) / 8) * frame) / mtu);
  const atLeast = ({ seconds, bytes }: typeof QUEUE) =>
    Math.min(Math.max(Math.ceil(rate * seconds), bytes), BYTES_MAX);
  const asked = burstBits === undefined ? atLeast(BURST_DEFAULT) : Math.ceil(burstBits / 8);
  const queue = atLeast(QUEUE);
  // The burst does not wait.
  return { rate, burst: Math.max(asked, frame), queue, packets: Math.ceil(queue / BYTES_PER_PACKET) };
}
