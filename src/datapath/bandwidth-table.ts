/** Limits of bandwidth, as the programs keep them. */
import type { Bucket, Buckets } from '../model/bandwidth.js';
import { type Bandwidth, type BandwidthKey, BandwidthScale, Direction } from './abi/generated.js';
import type { DatapathMaps } from './maps.js';

const NS_PER_S = 1_000_000_000n;
/**
 * What the programs and the kernel's queues reckon differently is within a thousandth. What has passed the queue of the
 * container must pass the limit behind it; what has passed that of the host's side must find a place in its queue.
 */
const THOUSANDTHS = { egress: 999n, ingress: 1001n };
/** Frames that left the container's queue in time may be looked at late, and then all at once. */
const LATENESS = { seconds: 0.02, frames: 2 };
/** Frames of the largest size that the kernel cuts none of. */
const FRAME_MAX = 1514;

type Settings = Omit<Bandwidth, 'dueNs'>;

export class BandwidthTable {
  constructor(private readonly map: DatapathMaps['bandwidth']) {}

  /** Creates or changes what the endpoint has. What is so already goes on counting. */
  put(id: number, buckets: Buckets): void {
    for (const [direction, bucket] of limitsOf(buckets)) {
      const key = keyOf(id, direction);
      const wanted = settingsOf(direction, bucket);
      if (!isSo(this.map.get(key), wanted)) this.map.set(key, { ...wanted, dueNs: 0n });
    }
  }

  /** Removes what the endpoint does not have. */
  prune(id: number, buckets: Buckets): void {
    for (const direction of DIRECTIONS) {
      if (buckets[direction] === undefined) this.map.delete(keyOf(id, direction));
    }
  }

  /** Whether the kernel has the limits exactly so. */
  matches(id: number, buckets: Buckets): boolean {
    return DIRECTIONS.every((direction) => {
      const found = this.map.get(keyOf(id, direction));
      const bucket = buckets[direction];
      return bucket === undefined ? found === undefined : isSo(found, settingsOf(direction, bucket));
    });
  }

  /** Removes every entry of endpoints that are none of these. */
  async retain(limits: ReadonlyMap<number, { bandwidth: Buckets }>): Promise<void> {
    for (const [{ endpointId }] of await this.map.entries())
      this.prune(endpointId, limits.get(endpointId)?.bandwidth ?? {});
  }
}

const DIRECTIONS = ['egress', 'ingress'] as const;
type DirectionName = (typeof DIRECTIONS)[number];

function limitsOf(buckets: Buckets): [DirectionName, Bucket][] {
  return DIRECTIONS.flatMap((direction): [DirectionName, Bucket][] => {
    const bucket = buckets[direction];
    return bucket === undefined ? [] : [[direction, bucket]];
  });
}

function keyOf(endpointId: number, direction: DirectionName): BandwidthKey {
  return { endpointId, direction: direction === 'egress' ? Direction.EGRESS : Direction.INGRESS };
}

function settingsOf(direction: DirectionName, { rate, burst, queue }: Bucket): Settings {
  const second = NS_PER_S << BigInt(BandwidthScale.COST_BITS);
  const byteCost = (second * THOUSANDTHS[direction]) / (BigInt(rate) * 1000n);
  const timeOf = (bytes: number) => (BigInt(bytes) * NS_PER_S) / BigInt(rate);
  const late = Math.max(Math.ceil(rate * LATENESS.seconds), LATENESS.frames * FRAME_MAX);
  return direction === 'egress'
    ? { byteCost, burstNs: timeOf(burst + late), queueNs: 0n }
    : { byteCost, burstNs: timeOf(burst), queueNs: timeOf(queue) };
}

function isSo(found: Bandwidth | undefined, { byteCost, burstNs, queueNs }: Settings): boolean {
  return found?.byteCost === byteCost && found.burstNs === burstNs && found.queueNs === queueNs;
}
