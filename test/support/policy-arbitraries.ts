/**
 * Random networks, namespaces, identities, endpoints and policies of every kind, in a small vocabulary, so that
 * selectors, names, ranges and ports meet often. Policies are as a user writes them: defaults are left out at random.
 */
import fc from 'fast-check';
import { adminPolicy, baselinePolicy, clusterPolicy } from './policy-arbitraries-cluster.js';
import {
  annotations,
  labels,
  namespaceSelector,
  podSelector,
  portName,
  portNumber,
  protocol,
  range,
} from './policy-arbitraries-parts.js';
import type {
  OracleEndpoint,
  OracleIdentity,
  OracleMetadata,
  OracleNetwork,
  OracleNetworkPolicy,
  OracleNode,
  OraclePeer,
  OraclePolicy,
  OraclePort,
  OracleWorld,
} from './policy-oracle.js';
import {
  addressOfEndpoint,
  ENDPOINT_IDS,
  NAMESPACES,
  NETWORK_IDS,
  networkName,
  PARTS,
  POLICY_NAMES,
} from './policy-vocabulary.js';

export { NAMESPACES } from './policy-vocabulary.js';

const ipBlock = range.chain((cidr) => {
  const parts = PARTS.get(cidr) ?? [];
  const except = fc.subarray(parts, { maxLength: Math.min(3, parts.length) });
  return fc.record({ cidr: fc.constant(cidr), except }, { requiredKeys: ['cidr'] });
});

const peer: fc.Arbitrary<OraclePeer> = fc.oneof(
  fc.record({ podSelector }),
  fc.record({ namespaceSelector }),
  fc.record({ podSelector, namespaceSelector }),
  { weight: 3, arbitrary: fc.record({ ipBlock }) },
);

const port: fc.Arbitrary<OraclePort> = fc.oneof(
  fc.record({ protocol, port: portNumber, endPort: portNumber }, { requiredKeys: [] }).map(withRange),
  fc.record({ protocol, port: portName }, { requiredKeys: ['port'] }),
);

function withRange({
  protocol: of,
  port: first,
  endPort: last,
}: {
  protocol?: OraclePort['protocol'];
  port?: number;
  endPort?: number;
}): OraclePort {
  return {
    ...(of === undefined ? {} : { protocol: of }),
    ...(first === undefined ? {} : { port: first }),
    ...(first === undefined || last === undefined || last < first ? {} : { endPort: last }),
  };
}

const peers = fc.array(peer, { maxLength: 3 });
const ports = fc.array(port, { maxLength: 3 });
const networkPolicy: fc.Arbitrary<OracleNetworkPolicy> = fc.record({
  apiVersion: fc.constant('networking.k8s.io/v1'),
  kind: fc.constant('NetworkPolicy'),
  metadata: fc.record(
    { name: fc.constantFrom(...POLICY_NAMES), namespace: fc.constantFrom(...NAMESPACES), annotations },
    { requiredKeys: ['name'] },
  ) as fc.Arbitrary<OracleMetadata>,
  spec: fc.record(
    {
      podSelector,
      policyTypes: fc.uniqueArray(fc.constantFrom('Ingress' as const, 'Egress' as const)),
      ingress: fc.array(fc.record({ from: peers, ports }, { requiredKeys: [] }), { maxLength: 3 }),
      egress: fc.array(fc.record({ to: peers, ports }, { requiredKeys: [] }), { maxLength: 3 }),
    },
    { requiredKeys: [] },
  ),
});

/** As a user writes it. */
export const policy: fc.Arbitrary<OraclePolicy> = fc.oneof(
  { weight: 6, arbitrary: networkPolicy },
  { weight: 7, arbitrary: clusterPolicy },
  { weight: 2, arbitrary: adminPolicy },
  { weight: 1, arbitrary: baselinePolicy },
);

export const networkId = fc.constantFrom(...NETWORK_IDS);

export const network: fc.Arbitrary<OracleNetwork> = fc
  .record({
    id: networkId,
    isolation_mode: fc.constantFrom('full' as const, 'peer' as const, 'mesh' as const, 'none' as const),
    peers: fc.uniqueArray(fc.constantFrom(...NETWORK_IDS.map(networkName))),
  })
  .map((fields) => ({ ...fields, name: networkName(fields.id) }));

export const namespace = fc.record({ name: fc.constantFrom(...NAMESPACES), labels });

export const identityId = fc.integer({ min: 256, max: 261 });

export const identity: fc.Arbitrary<OracleIdentity> = fc.record({
  id: identityId,
  network_id: networkId,
  namespace: fc.constantFrom(...NAMESPACES),
  labels,
});

export const node: fc.Arbitrary<OracleNode> = fc.record({
  labels,
  hostAccess: fc.constantFrom('policy' as const, 'policy' as const, 'full' as const),
});

/** At least one network and one identity; every identity's network exists. */
export const world: fc.Arbitrary<OracleWorld> = fc
  .record({
    node,
    networks: fc.uniqueArray(network, { minLength: 1, selector: ({ id }) => id }),
    namespaces: fc.uniqueArray(namespace, { selector: ({ name }) => name }),
    identities: fc.uniqueArray(identity, { minLength: 1, maxLength: 5, selector: ({ id }) => id }),
    policies: fc.uniqueArray(policy, { maxLength: 8, selector: policyId }),
  })
  .map((made) => ({
    ...made,
    identities: made.identities.map((one, index) => ({
      ...one,
      network_id: (made.networks[(one.network_id + index) % made.networks.length] ?? { id: 0 }).id,
    })),
  }));

/** What an endpoint calls its ports: a name once, a port by up to three names. */
const declaredPorts = fc.uniqueArray(
  fc.record({ name: portName, protocol, port: fc.constantFrom(80, 81, 443, 32768, 65535) }),
  { maxLength: 3, selector: ({ name }) => name },
);

export interface Populated extends OracleWorld {
  endpoints: OracleEndpoint[];
}

/** A world with containers: several of one identity, each with its own addresses and names of ports. */
export const populated: fc.Arbitrary<Populated> = fc
  .tuple(
    world,
    fc.array(fc.tuple(fc.nat({ max: 100 }), declaredPorts), { minLength: 2, maxLength: ENDPOINT_IDS.length }),
  )
  .map(([of, drawn]) => ({
    ...of,
    endpoints: drawn.flatMap(([which, declared], index) => {
      const owner = of.identities[which % of.identities.length];
      const id = ENDPOINT_IDS[index];
      if (owner === undefined || id === undefined) return [];
      const addresses = ([4, 6] as const).map((family) => addressOfEndpoint(owner.network_id, id, family));
      return [{ id, identity: owner, addresses, ports: declared }];
    }),
  }));

export function policyId({ kind, metadata }: OraclePolicy): string {
  return kind === 'NetworkPolicy'
    ? `${metadata.namespace ?? 'default'}/${metadata.name}`
    : `-/${metadata.name}`;
}
