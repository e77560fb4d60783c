/** Random policies of the whole cluster, of both generations. */
import fc from 'fast-check';
import {
  annotations,
  namespaceSelector,
  podSelector,
  portName,
  portNumber,
  protocol,
  range,
  selector,
} from './policy-arbitraries-parts.js';
import type {
  OracleAdminPolicy,
  OracleAdminPort,
  OracleBaselinePolicy,
  OracleClusterPeer,
  OracleClusterPolicy,
  OracleProtocol,
} from './policy-oracle.js';
import { LABEL_KEYS, LABEL_VALUES, POLICY_NAMES } from './policy-vocabulary.js';

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

const from = fc.array(ingressPeer, { minLength: 1, maxLength: 3 });
const to = fc.array(egressPeer, { minLength: 1, maxLength: 3 });

/** Ranges and nodes have no named ports: the API refuses them in one rule. */
function havePortNames(of: OracleClusterPeer[]): boolean {
  return of.every(({ nodes, networks }) => nodes === undefined && networks === undefined);
}

const egressRule = fc
  .record({ action, to, protocols }, { requiredKeys: ['action', 'to'] })
  .map(({ protocols: drawn, ...rule }) => {
    const fit = drawn?.filter(
      ({ destinationNamedPort: name }) => name === undefined || havePortNames(rule.to),
    );
    return fit === undefined || fit.length === 0 ? rule : { ...rule, protocols: fit };
  });
const ingressRule = fc.record({ action, from, protocols }, { requiredKeys: ['action', 'from'] });

const clusterMetadata = fc.record(
  { name: fc.constantFrom(...POLICY_NAMES), annotations },
  { requiredKeys: ['name'] },
);
const priority = fc.constantFrom(0, 1, 1, 1, 1000);
const subject = fc.oneof(fc.record({ namespaces: namespaceSelector }), fc.record({ pods: namespacedPod }));

export const clusterPolicy: fc.Arbitrary<OracleClusterPolicy> = fc.record({
  apiVersion: fc.constant('policy.networking.k8s.io/v1alpha2'),
  kind: fc.constant('ClusterNetworkPolicy'),
  metadata: clusterMetadata,
  spec: fc.record(
    {
      tier: fc.constantFrom('Admin' as const, 'Baseline' as const),
      priority,
      subject,
      ingress: fc.array(ingressRule, { maxLength: 3 }),
      egress: fc.array(egressRule, { maxLength: 3 }),
    },
    { requiredKeys: ['tier', 'priority', 'subject'] },
  ),
}) as fc.Arbitrary<OracleClusterPolicy>;

const adminPort: fc.Arbitrary<OracleAdminPort> = fc.oneof(
  fc
    .record({ protocol, port: portNumber }, { requiredKeys: ['port'] })
    .map((drawn) => ({ portNumber: drawn })),
  fc
    .record({ protocol, start: portNumber, end: portNumber }, { requiredKeys: ['start', 'end'] })
    .filter(({ start, end }) => start < end)
    .map((drawn) => ({ portRange: drawn })),
  portName.map((name) => ({ namedPort: name })),
);
const adminPorts = fc.array(adminPort, { minLength: 1, maxLength: 3 });

/** Of a policy of v1alpha1: subject and rules. */
function adminSpec<Action extends 'Allow' | 'Deny' | 'Pass'>(...actions: Action[]) {
  const rule = { action: fc.constantFrom(...actions), ports: adminPorts };
  const ingress = fc.record({ ...rule, from }, { requiredKeys: ['action', 'from'] });
  const egress = fc
    .record({ ...rule, to }, { requiredKeys: ['action', 'to'] })
    .map(({ ports: drawn, ...rest }) => {
      const fit = drawn?.filter(({ namedPort }) => namedPort === undefined || havePortNames(rest.to));
      return fit === undefined || fit.length === 0 ? rest : { ...rest, ports: fit };
    });
  return {
    subject,
    ingress: fc.array(ingress, { maxLength: 3 }),
    egress: fc.array(egress, { maxLength: 3 }),
  };
}

export const adminPolicy = fc.record({
  apiVersion: fc.constant('policy.networking.k8s.io/v1alpha1'),
  kind: fc.constant('AdminNetworkPolicy'),
  metadata: clusterMetadata,
  spec: fc.record(
    { priority, ...adminSpec('Allow', 'Allow', 'Deny', 'Pass') },
    { requiredKeys: ['priority', 'subject'] },
  ),
}) as fc.Arbitrary<OracleAdminPolicy>;

export const baselinePolicy = fc.record({
  apiVersion: fc.constant('policy.networking.k8s.io/v1alpha1'),
  kind: fc.constant('BaselineAdminNetworkPolicy'),
  metadata: fc.record({ name: fc.constant('default'), annotations }, { requiredKeys: ['name'] }),
  spec: fc.record(adminSpec('Allow', 'Deny'), { requiredKeys: ['subject'] }),
}) as fc.Arbitrary<OracleBaselinePolicy>;
