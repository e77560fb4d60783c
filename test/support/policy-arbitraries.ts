/**
 * Random networks, namespaces, identities and policies of a small vocabulary, so that selectors, names and
 * ports meet often.
 */
import fc from 'fast-check';
import type {
  OracleIdentity,
  OracleNetwork,
  OraclePeer,
  OraclePolicy,
  OraclePort,
  OracleSelector,
  OracleWorld,
} from './policy-oracle.js';

const NETWORK_IDS = [1, 2, 3, 4];
export const NAMESPACES = ['default', 'prod', 'test'];
const KEYS = ['app', 'tier', 'constructor'];
const VALUES = ['', 'a', 'b'];
const NAME_LABEL = 'kubernetes.io/metadata.name';

const networkName = (id: number) => `n${id}`;

const labels = fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES), { noNullPrototype: true });

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

function selector(keys: string[], values: string[]): fc.Arbitrary<OracleSelector> {
  return fc.record(
    {
      matchLabels: fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...values), {
        maxKeys: 2,
        noNullPrototype: true,
      }),
      matchExpressions: fc.array(expression(keys, values), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
}

const podSelector = selector(KEYS, VALUES);
const namespaceSelector = fc.oneof(
  selector(KEYS, VALUES),
  selector([NAME_LABEL], NAMESPACES),
  fc.constant({}),
);

const peer: fc.Arbitrary<OraclePeer> = fc.oneof(
  fc.record({ podSelector }),
  fc.record({ namespaceSelector }),
  fc.record({ podSelector, namespaceSelector }),
);

const portNumber = fc.oneof(
  fc.constantFrom(1, 2, 79, 80, 81, 443, 1023, 1024, 32767, 32768, 65534, 65535),
  fc.integer({ min: 1, max: 65535 }),
);

const port: fc.Arbitrary<OraclePort> = fc
  .record(
    {
      protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
      port: portNumber,
      end: portNumber,
    },
    { requiredKeys: [] },
  )
  .map(({ protocol, port: first, end }) => ({
    ...(protocol === undefined ? {} : { protocol }),
    ...(first === undefined ? {} : { port: first }),
    ...(first === undefined || end === undefined || end < first ? {} : { endPort: end }),
  }));

const peers = fc.array(peer, { maxLength: 3 });
const ports = fc.array(port, { maxLength: 3 });
const ingressRules = fc.array(fc.record({ from: peers, ports }, { requiredKeys: [] }), { maxLength: 3 });
const egressRules = fc.array(fc.record({ to: peers, ports }, { requiredKeys: [] }), { maxLength: 3 });

export const policyNames = ['p1', 'p2', 'p3', 'p4'];

/** As a user writes it: defaults are left out at random. */
export const policy: fc.Arbitrary<OraclePolicy> = fc.record({
  apiVersion: fc.constant('networking.k8s.io/v1'),
  kind: fc.constant('NetworkPolicy'),
  metadata: fc.record(
    { name: fc.constantFrom(...policyNames), namespace: fc.constantFrom(...NAMESPACES) },
    { requiredKeys: ['name'] },
  ),
  spec: fc.record(
    {
      podSelector,
      policyTypes: fc.uniqueArray(fc.constantFrom('Ingress' as const, 'Egress' as const)),
      ingress: ingressRules,
      egress: egressRules,
    },
    { requiredKeys: [] },
  ),
});

export const networkId = fc.constantFrom(...NETWORK_IDS);

export const network: fc.Arbitrary<OracleNetwork> = fc
  .record({
    id: networkId,
    isolation_mode: fc.constantFrom('full' as const, 'peer' as const, 'mesh' as const, 'none' as const),
    peers: fc.uniqueArray(fc.constantFrom(...NETWORK_IDS.map(networkName))),
  })
  .map((fields) => ({ ...fields, name: networkName(fields.id) }));

export const namespace = fc.record({ name: fc.constantFrom(...NAMESPACES), labels });

export const identityId = fc.integer({ min: 256, max: 263 });

export const identity: fc.Arbitrary<OracleIdentity> = fc.record({
  id: identityId,
  network_id: networkId,
  namespace: fc.constantFrom(...NAMESPACES),
  labels,
});

/** At least one network and one identity; every identity's network exists. */
export const world: fc.Arbitrary<OracleWorld> = fc
  .record({
    networks: fc.uniqueArray(network, { minLength: 1, selector: ({ id }) => id }),
    namespaces: fc.uniqueArray(namespace, { selector: ({ name }) => name }),
    identities: fc.uniqueArray(identity, { minLength: 1, maxLength: 6, selector: ({ id }) => id }),
    policies: fc.uniqueArray(policy, { maxLength: 5, selector: policyId }),
  })
  .map((made) => ({
    ...made,
    identities: made.identities.map((one, index) => ({
      ...one,
      network_id: (made.networks[(one.network_id + index) % made.networks.length] ?? { id: 0 }).id,
    })),
  }));

export function policyId({ metadata }: OraclePolicy): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}`;
}

/** Port numbers at which the policies' rules begin and end, those beside them, and a few others. */
export function interestingPorts(policies: OraclePolicy[]): number[] {
  const found = new Set([0, 1, 8080, 65535]);
  for (const { spec } of policies) {
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
      for (const { port: first, endPort } of rule.ports ?? []) {
        if (first === undefined) continue;
        for (const edge of [first, endPort ?? first])
          for (const one of [edge - 1, edge, edge + 1]) found.add(one);
      }
    }
  }
  return [...found].filter((one) => one >= 0 && one <= 65535);
}
