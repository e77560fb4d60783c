/** Limits of bandwidth, as the programs keep them. */
import type { Bucket, Buckets } from '../model/bandwidth.js';
import {
  type Bandwidth,
  BandwidthDeparture,
  type BandwidthKey,
  BandwidthScale,
  Direction,
} from './abi/generated.js';
import type { DatapathMaps } from './maps.js';

const NS_PER_S = 1_000_000_000n;
/**
 * What the programs and the kernel's queues reckon differently is within a thousandth. What has passed the queue of the
 * container must pass the limit behind it; what has passed that of the host's side must find a place in its queue.
 */
const THOUSANDTHS = { egress: 999n, ingress: 1001n, departure: 1000n };
/** Frames that left the container's queue in time may be looked at late, and then all at once. */
const LATENESS = { seconds: 0.02, frames: 2 };
/** Frames of the largest size that the kernel cuts none of. */
const FRAME_MAX = 1514;
/** What the largest packets come to that the kernel hands over in one piece (GSO), with the headers of their segments. */
const PIECE_MAX = 5 * 2 ** 14;

type Settings = Omit<Bandwidth, 'dueNs'>;

export class BandwidthTable {
  constructor(private readonly map: DatapathMaps['bandwidth']) {}

  /** Creates or changes what the endpoint has. What is so already goes on counting. */
  put(id: number, buckets: Buckets): void {
    for (const name of NAMES) {
      const bucket = buckets[name];
      if (bucket === undefined) continue;
      const key = keyOf(id, name);
      const wanted = settingsOf(name, bucket, buckets);
      if (!isSo(this.map.get(key), wanted)) this.map.set(key, { ...wanted, dueNs: 0n });
    }
  }

  /** Removes what the endpoint does not have. */
  prune(id: number, buckets: Buckets): void {
    for (const name of NAMES) {
      if (buckets[name] === undefined) this.map.delete(keyOf(id, name));
    }
  }

  /** Whether the kernel has the limits exactly so. */
  matches(id: number, buckets: Buckets): boolean {
    return NAMES.every((name) => {
      const found = this.map.get(keyOf(id, name));
      const bucket = buckets[name];
      return bucket === undefined ? found === undefined : isSo(found, settingsOf(name, bucket, buckets));
    });
  }

  /** Removes every entry of endpoints that are none of these. */
  async retain(limits: ReadonlyMap<number, { bandwidth: Buckets }>): Promise<void> {
    for (const [{ endpointId }] of await this.map.entries())
      this.prune(endpointId, limits.get(endpointId)?.bandwidth ?? {});
  }
}

const KEYS = {
  egress: Direction.EGRESS,
  ingress: Direction.INGRESS,
  departure: BandwidthDeparture.DEPARTURE,
} satisfies Record<keyof Buckets, number>;
type BucketName = keyof typeof KEYS;
const NAMES = Object.keys(KEYS) as BucketName[];

function keyOf(endpointId: number, name: BucketName): BandwidthKey {
  return { endpointId, direction: KEYS[name] };
}

function settingsOf(
  name: BucketName,
  { rate, burst, queue, packets }: Bucket,
  { departure }: Buckets,
): Settings {
  const second = NS_PER_S << BigInt(BandwidthScale.COST_BITS);
  const byteCost = (second * THOUSANDTHS[name]) / (BigInt(rate) * 1000n);
  const timeOf = (bytes: number) => (BigInt(bytes) * NS_PER_S) / BigInt(rate);
  if (name !== 'egress')
    return { byteCost, burstNs: timeOf(burst), queueNs: timeOf(queue), queuePackets: packets };
  const late = Math.max(Math.ceil(rate * LATENESS.seconds), LATENESS.frames * FRAME_MAX);
  // A queue of departure times cuts no piece: one that is larger than this would never pass.
  const least = departure === undefined ? 0 : PIECE_MAX;
  return { byteCost, burstNs: timeOf(Math.max(burst + late, least)), queueNs: 0n, queuePackets: 0 };
}

function isSo(found: Bandwidth | undefined, wanted: Settings): boolean {
  return (
    found?.byteCost === wanted.byteCost &&
    found.burstNs === wanted.burstNs &&
    found.queueNs === wanted.queueNs &&
    found.queuePackets === wanted.queuePackets
  );
}
