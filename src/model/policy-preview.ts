/** What a change of policies would change, told without making it. */
import { z } from 'zod';
import { anyCidr, ipAddress } from './address.js';
import { identityId } from './identity.js';
import { dnsLabel, labels } from './names.js';

const addresses = z
  .array(ipAddress)
  .optional()
  .describe('Only its endpoints with these addresses, of which some are told; missing: all of them');

const party = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('identity'),
      identity: identityId,
      network: dnsLabel,
      namespace: dnsLabel,
      labels,
      addresses,
    }),
    z.strictObject({ kind: z.literal('host'), addresses }),
    z.strictObject({
      kind: z.literal('world'),
      range: anyCidr.optional().describe('Only the addresses of this range; missing: all of them'),
      except: z
        .array(anyCidr)
        .optional()
        .describe('Parts of the range that are not meant, of which some are told'),
    }),
  ])
  .meta({ id: 'PolicyChangeParty', description: 'Containers of one identity, the host, or the outside' });
export type PolicyChangeParty = z.output<typeof party>;

const sideOfChange = z.enum(['allowed', 'denied']);

export const policyChange = z
  .strictObject({
    source: party,
    destination: party,
    protocol: z.enum(['TCP', 'UDP', 'SCTP', 'ICMP', 'any']),
    ports: z
      .string()
      .regex(/^(?:any|[0-9]{1,5}(?:-[0-9]{1,5})?)$/)
      .describe('Destination ports: `80`, `8000-9000` or `any`'),
    before: sideOfChange,
    after: sideOfChange,
  })
  .meta({
    id: 'PolicyChange',
    description: 'New connections that are allowed before and not after, or the reverse',
  });
export type PolicyChange = z.output<typeof policyChange>;
