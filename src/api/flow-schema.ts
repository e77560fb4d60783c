/** Flows as the API tells them: a line for each verdict, and a line for what a slow reader has missed. */
import { z } from 'zod';
import { containerId, dnsLabel, labels, timestamp } from '../model/names.js';
import { flag, numberInDigits } from '../model/query.js';
import { attribution, auditedVerdict, dropReason, isolatedBy, packetVerdict } from '../model/verdict.js';
import type { FlowEvent } from '../vnet/contract.js';

/** Most events that one request may ask for. */
export const FLOWS_LIMIT_MAX = 10_000;
const FLOWS_LIMIT_DEFAULT = 100;

const flowParty = z
  .strictObject({
    kind: z.enum(['endpoint', 'host', 'world', 'unknown']),
    container_id: z.string().optional(),
    network: z.string().optional(),
    namespace: z.string().optional(),
    labels: labels.optional(),
    ip: z.string().optional(),
    port: z.int().optional(),
  })
  .meta({ id: 'FlowParty', description: 'One side of a flow' });

export const flowEvent = z
  .strictObject({
    time: timestamp,
    verdict: packetVerdict,
    reason: dropReason,
    direction: z.enum(['egress', 'ingress']),
    network: z.string().optional(),
    protocol: z.string().optional(),
    source: flowParty,
    destination: flowParty,
    icmp_type: z.int().optional(),
    icmp_code: z.int().optional(),
    ...attribution,
    isolated_by: isolatedBy.optional(),
    audit: auditedVerdict.optional(),
    bytes: z.int(),
  })
  .meta({ id: 'FlowEvent', description: 'A verdict about a packet' });

/** What a reader that did not keep up has missed. */
export const flowLoss = z
  .strictObject({ time: timestamp, lost: z.int().min(1).describe('Events that were not sent') })
  .meta({ id: 'FlowLoss', description: 'A gap: the reader did not keep up' });

export const flowLine = z.union([flowEvent, flowLoss]);

export const flowQuery = z.strictObject({
  follow: flag.describe('Go on with new events until the caller leaves'),
  verdict: packetVerdict.optional().describe('Only flows of this verdict'),
  network: dnsLabel.optional().describe('Only flows of this network'),
  container_id: containerId.optional().describe('Only flows from or to this container'),
  audited: flag.describe('Only flows that the audited policies would have decided otherwise'),
  limit: numberInDigits(z.int().min(0).max(FLOWS_LIMIT_MAX))
    .prefault(FLOWS_LIMIT_DEFAULT)
    .describe(`Most recent events to begin with, at most ${FLOWS_LIMIT_MAX}`),
});
export type FlowQuery = z.output<typeof flowQuery>;

/** Whether the event is one that the query asks for. */
export function matchesFlow(query: FlowQuery, event: FlowEvent): boolean {
  const { network, container_id } = query;
  const parties = [event.source, event.destination];
  if (query.audited && event.audit === undefined) return false;
  if (query.verdict !== undefined && event.verdict !== query.verdict) return false;
  if (
    network !== undefined &&
    event.network !== network &&
    !parties.some((party) => party.network === network)
  )
    return false;
  return container_id === undefined || parties.some((party) => party.container_id === container_id);
}
