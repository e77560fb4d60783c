import { expect, test } from 'vitest';
import {
  CLUSTER_RULES_MAX,
  type ClusterNetworkPolicy,
  PRIORITY_MAX,
} from '../../src/model/cluster-network-policy.js';
import { parsePolicy, policyRef } from '../../src/model/policy.js';
import { problems } from '../support/bad-policy.js';

const BASE = { tier: 'Admin', priority: 10, subject: { namespaces: {} } };

function clusterPolicy(spec: object, metadata: object = {}) {
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'c', ...metadata },
    spec: { ...BASE, ...spec },
  };
}

const parsed = (spec: object) => parsePolicy(clusterPolicy(spec)) as ClusterNetworkPolicy;
const everybody = [{ namespaces: {} }];
const ingress = (rule: object) => ({ ingress: [{ action: 'Accept', from: everybody, ...rule }] });
const egress = (rule: object) => ({ egress: [{ action: 'Accept', to: everybody, ...rule }] });

test('everything that it can say is taken and kept', () => {
  const spec = {
    tier: 'Baseline',
    priority: PRIORITY_MAX,
    subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'web' } } } },
    ingress: [
      {
        name: 'from the team, to its web ports',
        action: 'Pass',
        from: [
          { namespaces: { matchLabels: { team: 'a' } } },
          {
            pods: {
              namespaceSelector: {},
              podSelector: { matchExpressions: [{ key: 'a', operator: 'Exists' }] },
            },
          },
        ],
        protocols: [
          { tcp: { destinationPort: { number: 80 } } },
          { udp: { destinationPort: { range: { start: 1, end: 65535 } } } },
          { sctp: { destinationPort: { number: 9 } } },
          { destinationNamedPort: 'http' },
        ],
      },
    ],
    egress: [
      { action: 'Accept', to: [{ nodes: {} }, { networks: ['10.0.0.0/8', 'fd00::/8'] }] },
      { action: 'Deny', to: everybody },
    ],
  };
  const policy = parsePolicy(clusterPolicy(spec));
  expect(policy).toEqual(clusterPolicy(spec));
  expect(parsePolicy(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
  expect(policyRef(policy)).toEqual({ namespace: '-', name: 'c' });
});

test('pods of every namespace are those whose namespaces nobody selects', () => {
  expect(parsed({ subject: { pods: { podSelector: {} } } }).spec.subject).toEqual({
    pods: { namespaceSelector: {}, podSelector: {} },
  });
});

test('networks are kept as their base', () => {
  expect(parsed(egress({ to: [{ networks: ['10.1.2.3/8'] }] })).spec.egress?.[0]?.to).toEqual([
    { networks: ['10.0.0.0/8'] },
  ]);
});

test.each<[string, object, string]>([
  ['no tier', { tier: undefined }, 'spec.tier: '],
  ['an unknown tier', { tier: 'NetworkPolicy' }, 'spec.tier: '],
  ['no priority', { priority: undefined }, 'spec.priority: '],
  ['a negative priority', { priority: -1 }, 'spec.priority: '],
  ['a priority beyond the last', { priority: PRIORITY_MAX + 1 }, 'spec.priority: '],
  ['half a priority', { priority: 1.5 }, 'spec.priority: '],
  ['no subject', { subject: undefined }, 'spec.subject: '],
  ['an empty subject', { subject: {} }, 'spec.subject: must have exactly one of namespaces, pods'],
  [
    'two subjects',
    { subject: { namespaces: {}, pods: { namespaceSelector: {}, podSelector: {} } } },
    'spec.subject: must have exactly one of namespaces, pods',
  ],
  [
    'pods without podSelector',
    { subject: { pods: { namespaceSelector: {} } } },
    'spec.subject.pods.podSelector: ',
  ],
  ['an unknown subject', { subject: { nodes: {} } }, 'spec.subject.nodes: unknown field'],
  ['an unknown action', ingress({ action: 'Allow' }), 'spec.ingress[0].action: '],
  ['no action', egress({ action: undefined }), 'spec.egress[0].action: '],
  ['no peers', ingress({ from: undefined }), 'spec.ingress[0].from: '],
  ['an empty list of peers', ingress({ from: [] }), 'spec.ingress[0].from: needs at least one of peers'],
  ['an empty peer', egress({ to: [{}] }), 'spec.egress[0].to[0]: must have exactly one of'],
  [
    'two kinds in a peer',
    egress({ to: [{ namespaces: {}, nodes: {} }] }),
    'spec.egress[0].to[0]: must have exactly one of',
  ],
  [
    'networks as source',
    ingress({ from: [{ networks: ['10.0.0.0/8'] }] }),
    'spec.ingress[0].from[0].networks: unknown field',
  ],
  ['nodes as source', ingress({ from: [{ nodes: {} }] }), 'spec.ingress[0].from[0].nodes: unknown field'],
  ['no networks', egress({ to: [{ networks: [] }] }), 'spec.egress[0].to[0].networks: needs at least one'],
  [
    'a bad network',
    egress({ to: [{ networks: ['10.0.0.0/8', '10/8'] }] }),
    'spec.egress[0].to[0].networks[1]: ',
  ],
  [
    'domain names',
    egress({ to: [{ domainNames: ['example.com'] }] }),
    'spec.egress[0].to[0].domainNames: domain names are not supported yet',
  ],
  ['an empty list of protocols', egress({ protocols: [] }), 'spec.egress[0].protocols: needs at least one'],
  ['an empty protocol', egress({ protocols: [{}] }), 'spec.egress[0].protocols[0]: must have exactly one of'],
  ['TCP without anything', egress({ protocols: [{ tcp: {} }] }), 'spec.egress[0].protocols[0].tcp: needs'],
  [
    'an unknown protocol',
    egress({ protocols: [{ icmp: {} }] }),
    'spec.egress[0].protocols[0].icmp: unknown field',
  ],
  [
    'two protocols in one',
    egress({
      protocols: [{ tcp: { destinationPort: { number: 1 } }, udp: { destinationPort: { number: 1 } } }],
    }),
    'spec.egress[0].protocols[0]: must have exactly one of',
  ],
  [
    'port 0',
    ingress({ protocols: [{ tcp: { destinationPort: { number: 0 } } }] }),
    'spec.ingress[0].protocols[0].tcp.destinationPort.number: ',
  ],
  [
    'a number and a range',
    ingress({ protocols: [{ tcp: { destinationPort: { number: 1, range: { start: 1, end: 2 } } } }] }),
    'spec.ingress[0].protocols[0].tcp.destinationPort: must have exactly one of number, range',
  ],
  [
    'a range of one port',
    ingress({ protocols: [{ tcp: { destinationPort: { range: { start: 2, end: 2 } } } }] }),
    'spec.ingress[0].protocols[0].tcp.destinationPort.range.end: must be greater than `start`',
  ],
  [
    'a bad name of a port',
    ingress({ protocols: [{ destinationNamedPort: 'HTTP' }] }),
    'spec.ingress[0].protocols[0].destinationNamedPort: ',
  ],
  [
    'a named port of a network',
    egress({
      to: [{ namespaces: {} }, { networks: ['10.0.0.0/8'] }],
      protocols: [{ destinationNamedPort: 'http' }],
    }),
    'spec.egress[0].to[1]: has no named ports',
  ],
  [
    'a named port of nodes',
    egress({ to: [{ nodes: {} }], protocols: [{ destinationNamedPort: 'http' }] }),
    'spec.egress[0].to[0]: has no named ports',
  ],
  ['a name that is too long', ingress({ name: 'x'.repeat(101) }), 'spec.ingress[0].name: '],
  ['an unknown field of a rule', ingress({ ports: [] }), 'spec.ingress[0].ports: unknown field'],
  [
    'a bad operator',
    { subject: { namespaces: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] } } },
    'spec.subject.namespaces.matchExpressions[0].operator: ',
  ],
  [
    'too many rules',
    { ingress: Array.from({ length: CLUSTER_RULES_MAX + 1 }, () => ({ action: 'Deny', from: everybody })) },
    `spec.ingress: at most ${CLUSTER_RULES_MAX} rules in one direction`,
  ],
])('refuses %s, naming the field', (_what, spec, start) => {
  expect(problems(clusterPolicy(spec)).map((one) => one.slice(0, start.length))).toEqual([start]);
});

test.each([
  ['apiVersion', { ...clusterPolicy({}), apiVersion: 'policy.networking.k8s.io/v1alpha1' }],
  ['apiVersion', { ...clusterPolicy({}), apiVersion: 'networking.k8s.io/v1' }],
  ['metadata.namespace', clusterPolicy({}, { namespace: 'default' })],
  ['metadata.name', clusterPolicy({}, { name: 'A' })],
  [
    'metadata.annotations["quantum.network/mode"]',
    clusterPolicy({}, { annotations: { 'quantum.network/mode': 'off' } }),
  ],
])('refuses a bad %s', (path, value) => {
  expect(problems(value).map((one) => one.slice(0, path.length + 2))).toEqual([`${path}: `]);
});
