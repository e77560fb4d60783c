import { expect, test } from 'vitest';
import { PRIORITY_MAX } from '../../src/model/cluster-network-policy.js';
import { parsePolicy } from '../../src/model/policy.js';
import { problems } from '../support/bad-policy.js';

const everybody = [{ namespaces: {} }];

function adminPolicy(spec: object, metadata: object = {}) {
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'a', ...metadata },
    spec: { priority: 7, subject: { namespaces: {} }, ...spec },
  };
}

function baselinePolicy(spec: object, metadata: object = {}) {
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default', ...metadata },
    spec: { subject: { namespaces: {} }, ...spec },
  };
}

test('an AdminNetworkPolicy becomes the ClusterNetworkPolicy of tier Admin that says the same', () => {
  const peers = [
    { namespaces: { matchLabels: { team: 'a' } } },
    { pods: { namespaceSelector: {}, podSelector: {} } },
  ];
  const given = adminPolicy(
    {
      ingress: [
        {
          name: 'web',
          action: 'Allow',
          from: peers,
          ports: [
            { portNumber: { port: 80 } },
            { portNumber: { protocol: 'SCTP', port: 9 } },
            { portRange: { protocol: 'UDP', start: 1, end: 2 } },
            { portRange: { start: 3, end: 4 } },
            { namedPort: 'http' },
          ],
        },
        { action: 'Pass', from: everybody },
      ],
      egress: [{ action: 'Deny', to: [{ nodes: {} }, { networks: ['10.0.0.0/8'] }] }],
    },
    { labels: { a: 'b' }, annotations: { 'quantum.network/mode': 'audit' } },
  );
  const policy = parsePolicy(given);
  expect(policy).toEqual({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'a', labels: { a: 'b' }, annotations: { 'quantum.network/mode': 'audit' } },
    spec: {
      tier: 'Admin',
      priority: 7,
      subject: { namespaces: {} },
      ingress: [
        {
          name: 'web',
          action: 'Accept',
          from: peers,
          protocols: [
            { tcp: { destinationPort: { number: 80 } } },
            { sctp: { destinationPort: { number: 9 } } },
            { udp: { destinationPort: { range: { start: 1, end: 2 } } } },
            { tcp: { destinationPort: { range: { start: 3, end: 4 } } } },
            { destinationNamedPort: 'http' },
          ],
        },
        { action: 'Pass', from: everybody },
      ],
      egress: [{ action: 'Deny', to: [{ nodes: {} }, { networks: ['10.0.0.0/8'] }] }],
    },
  });
  expect(parsePolicy(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
});

test('a BaselineAdminNetworkPolicy becomes the last one of tier Baseline', () => {
  const rule = { action: 'Deny', from: everybody };
  expect(parsePolicy(baselinePolicy({ ingress: [rule] }))).toEqual({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'default' },
    spec: { tier: 'Baseline', priority: PRIORITY_MAX, subject: { namespaces: {} }, ingress: [rule] },
  });
});

const ingress = (rule: object) => ({ ingress: [{ action: 'Allow', from: everybody, ...rule }] });
const egress = (rule: object) => ({ egress: [{ action: 'Allow', to: everybody, ...rule }] });

test.each<[string, object, string]>([
  [
    'the wrong version',
    { ...adminPolicy({}), apiVersion: 'policy.networking.k8s.io/v1alpha2' },
    'apiVersion: ',
  ],
  ['the name of the baseline', adminPolicy({}, { name: 'default' }), 'metadata.name: must not be default'],
  ['another name of the baseline', baselinePolicy({}, { name: 'b' }), 'metadata.name: must be default'],
  ['a namespace', adminPolicy({}, { namespace: 'x' }), 'metadata.namespace: unknown field'],
  ['a tier', adminPolicy({ tier: 'Admin' }), 'spec.tier: unknown field'],
  ['no priority', adminPolicy({ priority: undefined }), 'spec.priority: '],
  ['a priority beyond the last', adminPolicy({ priority: 1001 }), 'spec.priority: '],
  ['a priority of the baseline', baselinePolicy({ priority: 1 }), 'spec.priority: unknown field'],
  ['Accept', adminPolicy(ingress({ action: 'Accept' })), 'spec.ingress[0].action: '],
  ['Pass in the baseline', baselinePolicy(egress({ action: 'Pass' })), 'spec.egress[0].action: '],
  ['no subject', adminPolicy({ subject: undefined }), 'spec.subject: '],
  [
    'pods without namespaceSelector',
    adminPolicy({ subject: { pods: { podSelector: {} } } }),
    'spec.subject.pods.namespaceSelector: ',
  ],
  ['no peers', adminPolicy(ingress({ from: [] })), 'spec.ingress[0].from: needs at least one'],
  ['no ports', adminPolicy(ingress({ ports: [] })), 'spec.ingress[0].ports: needs at least one'],
  ['protocols', adminPolicy(ingress({ protocols: [] })), 'spec.ingress[0].protocols: unknown field'],
  [
    'an empty port',
    adminPolicy(ingress({ ports: [{}] })),
    'spec.ingress[0].ports[0]: must have exactly one of',
  ],
  [
    'a port without number',
    adminPolicy(ingress({ ports: [{ portNumber: { protocol: 'TCP' } }] })),
    'spec.ingress[0].ports[0].portNumber.port: ',
  ],
  [
    'a protocol that is none',
    adminPolicy(ingress({ ports: [{ portNumber: { protocol: 'ICMP', port: 1 } }] })),
    'spec.ingress[0].ports[0].portNumber.protocol: ',
  ],
  [
    'a range backwards',
    adminPolicy(ingress({ ports: [{ portRange: { start: 2, end: 1 } }] })),
    'spec.ingress[0].ports[0].portRange.end: must be greater than `start`',
  ],
  [
    'a named port of a network',
    baselinePolicy(egress({ to: [{ networks: ['10.0.0.0/8'] }], ports: [{ namedPort: 'http' }] })),
    'spec.egress[0].to[0]: has no named ports',
  ],
  [
    'domain names',
    adminPolicy(egress({ to: [{ domainNames: ['*.example.com'] }] })),
    'spec.egress[0].to[0].domainNames: domain names are not supported yet',
  ],
])('refuses %s, naming the field', (_what, value, start) => {
  expect(problems(value).map((one) => one.slice(0, start.length))).toEqual([start]);
});
