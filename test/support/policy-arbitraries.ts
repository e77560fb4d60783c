/**
 * Random networks, namespaces, identities, endpoints and policies of every kind, in a small vocabulary, so that
 * selectors, names, ranges and ports meet often. Policies are as a user writes them: defaults are left out at random.
 */
import fc from 'fast-check';
import type {
  OracleClusterPeer,
  OracleClusterPolicy,
  OracleEndpoint,
  OracleIdentity,
  OracleMetadata,
  OracleNetwork,
  OracleNetworkPolicy,
  OracleNode,
  OraclePeer,
  OraclePolicy,
  OraclePort,
  OracleProtocol,
  OracleSelector,
  OracleWorld,
} from './policy-oracle.js';
import {
  addressOfEndpoint,
  EDGE_PORTS,
  ENDPOINT_IDS,
  LABEL_KEYS,
  LABEL_VALUES,
  NAME_LABEL,
  NAMESPACES,
  NETWORK_IDS,
  networkName,
  PARTS,
  POLICY_NAMES,
  PORT_NAMES,
  RANGES,
} from './policy-vocabulary.js';

export { NAMESPACES } from './policy-vocabulary.js';

const labels = fc.dictionary(fc.constantFrom(...LABEL_KEYS), fc.constantFrom(...LABEL_VALUES), {
  noNullPrototype: true,
});

function expression(keys: string[], values: string[]) {
  return fc.oneof(
    fc.record({
      key: fc.constantFrom(...keys),
      operator: fc.constantFrom('In', 'NotIn'),
      values: fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }),
    }),
    fc.record({ key: fc.constantFrom(...keys), operator: fc.constantFrom('Exists', 'DoesNotExist') }),
  );
}

/** Every second selects everything. */
function selector(keys: string[], values: string[]): fc.Arbitrary<OracleSelector> {
  const exact = fc.record(
    {
      matchLabels: fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...values), {
        maxKeys: 2,
        noNullPrototype: true,
      }),
      matchExpressions: fc.array(expression(keys, values), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
  return fc.oneof(fc.constant({}), exact);
}

const podSelector = selector(LABEL_KEYS, LABEL_VALUES);
const namespaceSelector = fc.oneof(selector(LABEL_KEYS, LABEL_VALUES), selector([NAME_LABEL], NAMESPACES));

const range = fc.constantFrom(...RANGES);
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

const portNumber = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...EDGE_PORTS) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 65535 }) },
);
const portName = fc.constantFrom(...PORT_NAMES);
const protocol = fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const);

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
const AUDIT = { 'quantum.network/mode': 'audit' };
const annotations = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom({}, { 'quantum.network/mode': 'enforce' }) },
  { weight: 1, arbitrary: fc.constant(AUDIT) },
);

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

const namespacedPod = fc.record({ namespaceSelector, podSelector });
const pods: fc.Arbitrary<OracleClusterPeer>[] = [
  fc.record({ namespaces: namespaceSelector }),
  fc.record({ pods: namespacedPod }),
];
const ingressPeer = fc.oneof(...pods);
const egressPeer: fc.Arbitrary<OracleClusterPeer> = fc.oneof(
  ...pods,
  fc.record({ nodes: selector(LABEL_KEYS, LABEL_VALUES) }),
  { weight: 3, arbitrary: fc.record({ networks: fc.uniqueArray(range, { minLength: 1, maxLength: 3 }) }) },
);

const destinationPort = fc.oneof(
  fc.constant({ destinationPort: { range: { start: 1, end: 65535 } } }),
  portNumber.map((number) => ({ destinationPort: { number } })),
  fc
    .tuple(portNumber, portNumber)
    .filter(([start, end]) => start < end)
    .map(([start, end]) => ({ destinationPort: { range: { start, end } } })),
);
const byNumber: fc.Arbitrary<OracleProtocol> = fc.oneof(
  destinationPort.map((tcp) => ({ tcp })),
  destinationPort.map((udp) => ({ udp })),
  destinationPort.map((sctp) => ({ sctp })),
);
const byName: fc.Arbitrary<OracleProtocol> = portName.map((name) => ({ destinationNamedPort: name }));
const protocols = fc.array(fc.oneof({ weight: 3, arbitrary: byNumber }, byName), {
  minLength: 1,
  maxLength: 3,
});
const action = fc.constantFrom('Accept' as const, 'Accept' as const, 'Deny' as const, 'Pass' as const);

const egressRule = fc
  .record(
    { action, to: fc.array(egressPeer, { minLength: 1, maxLength: 3 }), protocols },
    { requiredKeys: ['action', 'to'] },
  )
  .map((rule) => {
    // Ranges and nodes have no named ports: the API refuses them in one rule.
    const hasNames = rule.to.every(({ nodes, networks }) => nodes === undefined && networks === undefined);
    const numbers = rule.protocols?.filter((one) => one.destinationNamedPort === undefined) ?? [];
    if (hasNames || rule.protocols === undefined) return rule;
    const { protocols: _, ...rest } = rule;
    return numbers.length === 0 ? rest : { ...rest, protocols: numbers };
  });
const ingressRule = fc.record(
  { action, from: fc.array(ingressPeer, { minLength: 1, maxLength: 3 }), protocols },
  { requiredKeys: ['action', 'from'] },
);

const clusterPolicy: fc.Arbitrary<OracleClusterPolicy> = fc.record({
  apiVersion: fc.constant('policy.networking.k8s.io/v1alpha2'),
  kind: fc.constant('ClusterNetworkPolicy'),
  metadata: fc.record({ name: fc.constantFrom(...POLICY_NAMES), annotations }, { requiredKeys: ['name'] }),
  spec: fc.record(
    {
      tier: fc.constantFrom('Admin' as const, 'Baseline' as const),
      priority: fc.constantFrom(0, 1, 1, 1, 1000),
      subject: fc.oneof(fc.record({ namespaces: namespaceSelector }), fc.record({ pods: namespacedPod })),
      ingress: fc.array(ingressRule, { maxLength: 3 }),
      egress: fc.array(egressRule, { maxLength: 3 }),
    },
    { requiredKeys: ['tier', 'priority', 'subject'] },
  ),
}) as fc.Arbitrary<OracleClusterPolicy>;

/** As a user writes it. */
export const policy: fc.Arbitrary<OraclePolicy> = fc.oneof(
  { weight: 2, arbitrary: networkPolicy },
  { weight: 3, arbitrary: clusterPolicy },
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
