/** What is told of a decision about a packet, by flows and explanations alike. */
import { z } from 'zod';

export const packetVerdict = z.enum(['allowed', 'dropped']);
export type PacketVerdict = z.output<typeof packetVerdict>;

export const dropReason = z.string().describe('Drop reason; `NONE` when allowed');

/** Which rules decided. */
export const attribution = {
  egress_rule: z.string().optional().describe('Rule that decided for the source'),
  ingress_rule: z.string().optional().describe('Rule that decided for the destination'),
};

export const isolatedBy = z
  .array(z.string())
  .describe('Policies that isolate the side that denied by default; missing: the isolation mode did');

/** What would have become of a packet, were the audited policies enforced. */
export const auditedVerdict = z
  .strictObject({
    verdict: packetVerdict,
    reason: dropReason,
    ...attribution,
    isolated_by: isolatedBy.optional(),
  })
  .meta({
    id: 'AuditedVerdict',
    description: 'What would have been decided otherwise, were the audited policies enforced',
  });
export type AuditedVerdict = z.output<typeof auditedVerdict>;
