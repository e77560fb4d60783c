/** Limits of bandwidth, as the programs keep them: so low that nothing is earned while a test runs. */
import {
  type BandwidthKey,
  BandwidthScale,
  Direction,
  EndpointFlags,
} from '../../src/datapath/abi/generated.js';
import type { ProgramMaps } from './program-maps.js';
import type { TestEndpoint } from './scenario-parties.js';

/** What a byte takes. */
export const BYTE_NS = 1_000_000_000n;
const DIRECTION = { egress: Direction.EGRESS, ingress: Direction.INGRESS } as const;
export type LimitedDirection = keyof typeof DIRECTION;
/** By which an endpoint has such a limit. */
export const LIMIT_FLAG = {
  egress: EndpointFlags.LIMITED_EGRESS,
  ingress: EndpointFlags.LIMITED_INGRESS,
} as const;

export function bandwidthKey({ id }: TestEndpoint, direction: LimitedDirection): BandwidthKey {
  return { endpointId: id, direction: DIRECTION[direction] };
}

/** In bytes, what passes at once and what may wait; of how many packets, where there is a queue of ours. */
export function writeLimit(
  programs: Pick<ProgramMaps, 'bandwidth'>,
  endpoint: TestEndpoint,
  direction: LimitedDirection,
  { burst, queue = 0, packets = 1000 }: { burst: number; queue?: number; packets?: number },
): void {
  programs.bandwidth.set(bandwidthKey(endpoint, direction), {
    byteCost: BYTE_NS << BigInt(BandwidthScale.COST_BITS),
    burstNs: BigInt(burst) * BYTE_NS,
    queueNs: BigInt(queue) * BYTE_NS,
    dueNs: 0n,
    queuePackets: packets,
  });
}
