/** What the programs counted. */

import { possibleCpus } from '../native/bpf.js';
import { Direction, DROP_REASONS, EventLoss, type MetricKey } from './abi/generated.js';
import type { DatapathMaps } from './maps.js';

/** Packets and bytes of one endpoint, reason and direction, since the endpoint exists. */
export interface Count {
  /** 0: an interface that belongs to no endpoint. */
  endpointId: number;
  /** A number of DropReason; NONE: forwarded. */
  reason: number;
  direction: 'egress' | 'ingress';
  /** Counted a second time: forwarded, and dropped for this reason were the audited rules enforced. */
  audited: boolean;
  packets: bigint;
  bytes: bigint;
}

export class Counters {
  constructor(private readonly maps: Pick<DatapathMaps, 'metrics' | 'eventLoss'>) {}

  async read(): Promise<Count[]> {
    return (await this.maps.metrics.entriesPerCpu()).map(([key, values]) => ({
      endpointId: key.endpointId,
      reason: key.reason,
      direction: key.direction === Direction.EGRESS ? 'egress' : 'ingress',
      audited: key.audited !== 0,
      packets: values.reduce((sum, value) => sum + value.packets, 0n),
      bytes: values.reduce((sum, value) => sum + value.bytes, 0n),
    }));
  }

  /** Removes the counters of these endpoints. */
  remove(endpointIds: ReadonlySet<number>): Promise<void> {
    return this.removeWhere((id) => endpointIds.has(id));
  }

  /** Removes the counters of every endpoint but these: of those that were gone when the daemon before this one ended. */
  retain(endpointIds: ReadonlySet<number>): Promise<void> {
    return this.removeWhere((id) => id !== 0 && !endpointIds.has(id));
  }

  private async removeWhere(isGone: (endpointId: number) => boolean): Promise<void> {
    for (const [key] of await this.maps.metrics.entriesPerCpu()) {
      if (isGone(key.endpointId)) this.maps.metrics.delete(key satisfies MetricKey);
    }
  }

  /** Events that the programs could not hand over, since the maps exist. */
  lostEvents(): { rateLimited: bigint; ringFull: bigint } {
    return { rateLimited: this.lost(EventLoss.RATE_LIMITED), ringFull: this.lost(EventLoss.RING_FULL) };
  }

  private lost(index: number): bigint {
    const bytes = this.maps.eventLoss.raw.get(Uint8Array.of(index, 0, 0, 0));
    if (bytes === undefined) return 0n;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let sum = 0n;
    for (let cpu = 0; cpu < possibleCpus(); cpu++) sum += view.getBigUint64(cpu * 8, true);
    return sum;
  }
}

const REASONS = new Map<number, { name: string; text: string }>(
  DROP_REASONS.map((reason) => [reason.value, reason]),
);

/** Name of a drop reason; a number that this version does not know stays visible as a number. */
export function dropReasonName(reason: number): string {
  return REASONS.get(reason)?.name ?? `REASON_${reason}`;
}

/** What a drop reason means. */
export function dropReasonText(reason: number): string {
  return REASONS.get(reason)?.text ?? 'a reason that this version does not know';
}
