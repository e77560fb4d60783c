/** Networks, identities and policies for tests that say each of them by hand. */
import type { PolicyIdentity, PolicyNetwork } from '../../src/firewall/types.js';
import type { IsolationMode } from '../../src/model/network.js';
import { type Policy, parsePolicy } from '../../src/model/policy.js';

export function network(id: number, isolation_mode: IsolationMode, peers: string[] = []): PolicyNetwork {
  return { id, name: `n${id}`, isolation_mode, peers };
}

export function identity(id: number, network_id: number, namespace: string, app: string): PolicyIdentity {
  return { id, network_id, namespace, labels: { app } };
}

const AUDIT = { 'quantum.network/mode': 'audit' };

interface Metadata {
  readonly namespace?: string;
  readonly audit?: boolean;
}

export function networkPolicy(
  name: string,
  spec: object,
  { namespace = 'default', audit = false }: Metadata = {},
): Policy {
  return parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace, ...(audit ? { annotations: AUDIT } : {}) },
    spec,
  });
}

/** Of tier Admin and priority 10, for all namespaces, unless the spec says otherwise. */
export function clusterPolicy(
  name: string,
  spec: object,
  { audit = false }: Pick<Metadata, 'audit'> = {},
): Policy {
  return parsePolicy({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name, ...(audit ? { annotations: AUDIT } : {}) },
    spec: { tier: 'Admin', priority: 10, subject: { namespaces: {} }, ...spec },
  });
}
