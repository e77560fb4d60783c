/** Identities: the numbers that the kernel decides by. */
import { z } from 'zod';
import { canonicalLabels, dnsLabel, type Labels, labels, timestamp } from './names.js';
import { networkId } from './network.js';

/** Numbers below are reserved (host, world); see enum identity of the programs. */
export const FIRST_IDENTITY = 256;
/** Identities are below the class flags of a policy peer. */
export const IDENTITY_MAX = 0x3fffffff;

export const identityId = z.int().min(FIRST_IDENTITY).max(IDENTITY_MAX).describe('Number of the identity');

/** One set of (network, namespace, labels). */
export const identity = z
  .strictObject({
    id: identityId,
    network: dnsLabel.describe('Name of the network'),
    network_id: networkId,
    namespace: dnsLabel.describe('Namespace'),
    labels,
    created_at: timestamp,
  })
  .meta({ id: 'Identity', description: 'A number that stands for one set of network, namespace and labels' });
export type Identity = z.infer<typeof identity>;

export const identityList = z
  .strictObject({
    identities: z.array(
      identity
        .extend({ endpoints: z.int().min(0).describe('Endpoints that have it') })
        .meta({ id: 'IdentityInUse' }),
    ),
  })
  .meta({ id: 'IdentityList' });
export type IdentityList = z.infer<typeof identityList>;

/** The canonical key of a set: equal exactly when network, namespace and labels are equal. */
export function identityKey(of: { network_id: number; namespace: string; labels: Labels }): string {
  return `${of.network_id}/${of.namespace}/${canonicalLabels(of.labels)}`;
}
