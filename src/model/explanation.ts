/** Questions about a packet that nobody has sent, and their answers. */
import { z } from 'zod';
import { ipAddress } from './address.js';
import { cutOffBy } from './cut-off.js';
import { identityId } from './identity.js';
import { containerId, dnsLabel, labels, port } from './names.js';
import { auditedVerdict, dropReason, isolatedBy, packetVerdict } from './verdict.js';

const PROTOCOLS = ['TCP', 'UDP', 'SCTP', 'ICMP'] as const;
export type ExplainProtocol = (typeof PROTOCOLS)[number];

const protocol = z
  .enum([...PROTOCOLS, 'tcp', 'udp', 'sctp', 'icmp'])
  .transform((text) => text.toUpperCase() as ExplainProtocol)
  .describe('tcp, udp, sctp or icmp (an echo); tcp if unsaid and there is a port, else icmp');

/** What looks like an address is one. */
const end = z.union([ipAddress, containerId]);

/** Body of POST /explain. */
export const explainRequest = z
  .strictObject({
    from: end.describe('Who sends: the id of a container, or an address'),
    to: end.describe('Who receives: the id of a container, or an address'),
    port: port.optional().describe('Destination port'),
    protocol: protocol.optional(),
    network: dnsLabel.optional().describe('Network to take, where a container is on several'),
    family: z
      .literal([4, 6])
      .optional()
      .describe('4 or 6; where both are possible it is 4 unless said otherwise'),
  })
  .check(({ value, issues }) => {
    const used = explainedProtocol(value);
    const message =
      used === 'ICMP'
        ? value.port !== undefined && 'ICMP has no ports'
        : value.port === undefined && `${used} needs a port`;
    if (message) issues.push({ code: 'custom', path: ['port'], message, input: value.port });
  })
  .meta({ id: 'ExplainRequest', description: 'A packet to be judged without being sent' });
export type ExplainRequest = z.output<typeof explainRequest>;

/** The protocol that is asked about. */
export function explainedProtocol({
  protocol,
  port,
}: {
  protocol?: ExplainProtocol | undefined;
  port?: number | undefined;
}): ExplainProtocol {
  return protocol ?? (port === undefined ? 'ICMP' : 'TCP');
}

const explainedParty = z
  .strictObject({
    kind: z
      .enum(['endpoint', 'host', 'world', 'unknown'])
      .describe('unknown: an address of a network that no endpoint has'),
    container_id: containerId.optional(),
    network: dnsLabel.optional(),
    namespace: dnsLabel.optional(),
    labels: labels.optional(),
    ip: ipAddress,
    identity: z
      .union([identityId, z.literal([1, 2])])
      .optional()
      .describe('1: the host, 2: the world'),
  })
  .meta({ id: 'ExplainedParty', description: 'One side of an explained packet' });
export type ExplainedParty = z.output<typeof explainedParty>;

const explainedSide = z
  .strictObject({
    verdict: z.enum(['allowed', 'denied']),
    tier: z.enum(['admin', 'network-policy', 'baseline', 'default']).optional().describe('Tier that decided'),
    rule: z.string().optional().describe('Rule that decided; missing: denied by default, or cut off'),
    policy: z
      .strictObject({
        namespace: z.string().describe('`-`: cluster-wide'),
        name: z.string(),
        direction: z.enum(['egress', 'ingress']),
        index: z.int().describe('Position in the rules of that direction'),
      })
      .optional()
      .describe('Policy that the rule is of; missing: it is of none'),
    isolated_by: isolatedBy.optional(),
    cut_off_by: cutOffBy
      .optional()
      .describe(
        'There when the rules of this side do not fit into the kernel, so that nothing of it passes: settings that leave no room',
      ),
  })
  .meta({ id: 'ExplainedSide', description: 'What the rules of one side say of the packet' });
export type ExplainedSide = z.output<typeof explainedSide>;

/** Answer of POST /explain. */
export const explanation = z
  .strictObject({
    verdict: packetVerdict.describe('As the loaded program decides it'),
    reason: dropReason,
    reason_text: z.string().describe('What the reason means'),
    source: explainedParty,
    destination: explainedParty,
    protocol: z.enum([...PROTOCOLS, 'ICMPv6']),
    port: port.optional(),
    egress: explainedSide
      .optional()
      .describe('The side of the source, where that is a container and does not reach itself'),
    ingress: explainedSide.optional().describe('The same of the destination'),
    audited: auditedVerdict.optional(),
    agreed: z
      .boolean()
      .describe('Whether the loaded program and the policies as they are compiled say the same'),
  })
  .meta({ id: 'Explanation', description: 'What becomes of a packet, and why' });
export type Explanation = z.output<typeof explanation>;
