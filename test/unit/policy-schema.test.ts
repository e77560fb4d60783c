import { expect, test } from 'vitest';
import { z } from 'zod';
import { modeOf } from '../../src/model/kubernetes.js';
import {
  EXCEPT_MAX,
  effectivePolicyTypes,
  type NetworkPolicy,
  networkPolicy,
  RULE_ITEMS_MAX,
  RULES_MAX,
} from '../../src/model/network-policy.js';
import { parsePolicy } from '../../src/model/policy.js';
import { policyWith, problems } from '../support/bad-policy.js';

const parsed = (value: unknown) => parsePolicy(value) as NetworkPolicy;

test('defaults are those of Kubernetes and are filled in', () => {
  expect(parsePolicy(policyWith({ ingress: [{ ports: [{ port: 80 }] }] }))).toEqual({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'default' },
    spec: {
      podSelector: {},
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ protocol: 'TCP', port: 80 }] }],
    },
  });
});

test('a policy that was parsed parses to itself', () => {
  const once = parsePolicy(policyWith({ egress: [{ to: [{ namespaceSelector: {} }], ports: [{}] }] }));
  expect(parsePolicy(JSON.parse(JSON.stringify(once)))).toEqual(once);
});

test.each([
  [{}, ['Ingress']],
  [{ policyTypes: [] }, ['Ingress']],
  [{ egress: [] }, ['Ingress']],
  [{ egress: [{}] }, ['Ingress', 'Egress']],
  [{ policyTypes: ['Egress' as const] }, ['Egress']],
  [{ policyTypes: ['Ingress' as const], egress: [{}] }, ['Ingress']],
  [{ policyTypes: ['Egress' as const, 'Egress' as const] }, ['Egress']],
])('policyTypes of %j are %j', (spec, types) => {
  expect(effectivePolicyTypes(spec)).toEqual(types);
  expect(parsed(policyWith({ podSelector: {}, ...spec })).spec.policyTypes).toEqual(types);
});

test('null means missing, except as the value of a label', () => {
  const spec = { podSelector: null, ingress: [{ from: null, ports: null }], egress: null, policyTypes: null };
  expect(parsed(policyWith(spec, { labels: null })).spec).toEqual({
    podSelector: {},
    ingress: [{}],
    policyTypes: ['Ingress'],
  });
  expect(problems(policyWith({ podSelector: { matchLabels: { app: null } } }))).toEqual([
    'spec.podSelector.matchLabels.app: must be a text',
  ]);
  expect(problems(policyWith({ ingress: [{ from: [{ podSelector: null }] }] }))).toEqual([
    'spec.ingress[0].from[0]: must have either an ipBlock, or a podSelector, a namespaceSelector or both',
  ]);
});

test('what kubectl exports is accepted, and what belongs to the other cluster is dropped', () => {
  const exported = {
    ...policyWith(
      { podSelector: {} },
      {
        uid: '7d0',
        resourceVersion: '12',
        creationTimestamp: '2024-01-01T00:00:00Z',
        generation: 3,
        managedFields: [{ manager: 'kubectl' }],
        generateName: 'p-',
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'd', uid: '7d1' }],
        finalizers: ['example.org/x'],
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}\n' },
        labels: { team: 'a' },
      },
    ),
    status: { conditions: [] },
  };
  const exportless = parsePolicy(exported);
  expect(Object.keys(exportless)).toEqual(['apiVersion', 'kind', 'metadata', 'spec']);
  expect(exportless.metadata).toEqual({
    name: 'p',
    namespace: 'default',
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}\n' },
    labels: { team: 'a' },
  });
});

test('every unknown field is refused with its path', () => {
  const value = {
    ...policyWith(
      {
        podSelector: { matchLabel: {} },
        ingress: [{ to: [], from: [{ podSelector: {}, cidr: 'x' }], ports: [{ Port: 1 }] }],
        rules: [],
      },
      { clusterName: '' },
    ),
    extra: null,
  };
  expect(problems(value).sort()).toEqual(
    [
      'extra: unknown field',
      'metadata.clusterName: unknown field',
      'spec.ingress[0].from[0].cidr: unknown field',
      'spec.ingress[0].ports[0].Port: unknown field',
      'spec.ingress[0].to: unknown field',
      'spec.podSelector.matchLabel: unknown field',
      'spec.rules: unknown field',
    ].sort(),
  );
});

test('ranges are kept as their base, whatever address of them was written', () => {
  const ipBlock = { cidr: '10.1.2.3/8', except: ['10.9.9.9/16', '10.1.2.3/32'] };
  expect(parsed(policyWith({ ingress: [{ from: [{ ipBlock }] }] })).spec.ingress?.[0]?.from).toEqual([
    { ipBlock: { cidr: '10.0.0.0/8', except: ['10.9.0.0/16', '10.1.2.3/32'] } },
  ]);
  const six = { cidr: 'FD00:0:0::/8', except: ['fd00:1::/32'] };
  expect(parsed(policyWith({ egress: [{ to: [{ ipBlock: six }] }] })).spec.egress?.[0]?.to).toEqual([
    { ipBlock: { cidr: 'fd00::/8', except: ['fd00:1::/32'] } },
  ]);
});

test.each([
  [{}, { protocol: 'TCP' }],
  [{ port: 80 }, { protocol: 'TCP', port: 80 }],
  [{ port: 'http' }, { protocol: 'TCP', port: 'http' }],
  [
    { protocol: 'UDP', port: 'dns' },
    { protocol: 'UDP', port: 'dns' },
  ],
  [{ protocol: 'SCTP' }, { protocol: 'SCTP' }],
  [
    { port: 80, endPort: 80 },
    { protocol: 'TCP', port: 80, endPort: 80 },
  ],
  [
    { port: 1, endPort: 65535 },
    { protocol: 'TCP', port: 1, endPort: 65535 },
  ],
])('takes the port %j', (port, kept) => {
  expect(parsed(policyWith({ ingress: [{ ports: [port] }] })).spec.ingress?.[0]?.ports).toEqual([kept]);
});

const MODE = 'quantum.network/mode';

test('a policy is enforced unless its annotation says that it is audited', () => {
  const mode = (annotations?: object) => modeOf(parsePolicy(policyWith({}, { annotations })));
  expect(mode()).toBe('enforce');
  expect(mode({ other: 'audit' })).toBe('enforce');
  expect(mode({ [MODE]: 'enforce' })).toBe('enforce');
  expect(mode({ [MODE]: 'audit' })).toBe('audit');
});

test.each(['Audit', 'audited', '', 'warn'])('the mode %j is refused with its path', (mode) => {
  expect(problems(policyWith({}, { annotations: { [MODE]: mode } }))).toEqual([
    `metadata.annotations["${MODE}"]: must be one of enforce, audit`,
  ]);
});

test('a mistyped annotation of ours is refused, not taken for a note', () => {
  expect(problems(policyWith({}, { annotations: { 'quantum.network/modes': 'audit' } }))).toEqual([
    `metadata.annotations["quantum.network/modes"]: is no annotation of ours; there is ${MODE}`,
  ]);
});

test.each<[string, unknown, string]>([
  ['no spec', undefined, 'spec: '],
  ['an empty peer', { ingress: [{ from: [{}] }] }, 'spec.ingress[0].from[0]: must have'],
  [
    'an ipBlock and a podSelector in one peer',
    { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }] }] },
    'spec.ingress[0].from[0]: must have either',
  ],
  [
    'an ipBlock and a namespaceSelector in one peer',
    {
      egress: [{}, { to: [{ podSelector: {} }, { ipBlock: { cidr: '10.0.0.0/8' }, namespaceSelector: {} }] }],
    },
    'spec.egress[1].to[1]: must have either',
  ],
  [
    'an ipBlock without cidr',
    { ingress: [{ from: [{ ipBlock: {} }] }] },
    'spec.ingress[0].from[0].ipBlock.cidr: ',
  ],
  ...[
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0/8',
    '300.0.0.0/8',
    '010.0.0.0/8',
    'fd00::/129',
    '::ffff:10.0.0.0/104',
    'fe80::%eth0/64',
    'any',
    '',
  ].map((cidr): [string, unknown, string] => [
    `the range ${JSON.stringify(cidr)}`,
    { ingress: [{ from: [{ ipBlock: { cidr } }] }] },
    'spec.ingress[0].from[0].ipBlock.cidr: ',
  ]),
  ...['11.0.0.0/16', '10.0.0.0/8', '0.0.0.0/0', 'fd00::/16', '10.0.0.0/7'].map(
    (except): [string, unknown, string] => [
      `${except} as an exception of 10.0.0.0/8`,
      { egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16', except] } }] }] },
      'spec.egress[0].to[0].ipBlock.except[1]: must be a part of 10.0.0.0/8, and not all of it',
    ],
  ),
  [
    'an exception that is no range',
    { egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0'] } }] }] },
    'spec.egress[0].to[0].ipBlock.except[0]: ',
  ],
  ...['HTTP', 'a_b', '-a', 'a-', 'a--b', '80', 'a'.repeat(16), ''].map((port): [string, unknown, string] => [
    `the port name ${JSON.stringify(port)}`,
    { ingress: [{ ports: [{ port }] }] },
    'spec.ingress[0].ports[0].port: ',
  ]),
  ['a port that is true', { ingress: [{ ports: [{ port: true }] }] }, 'spec.ingress[0].ports[0].port: '],
  [
    'a range of named ports',
    { ingress: [{ ports: [{ port: 'http', endPort: 90 }] }] },
    'spec.ingress[0].ports[0].endPort: needs a number as `port`, not a name',
  ],
  [
    'an end that is none',
    { ingress: [{ ports: [{ port: 80, endPort: 65536 }] }] },
    'spec.ingress[0].ports[0].endPort: ',
  ],
  [
    'an end that is a name',
    { ingress: [{ ports: [{ port: 80, endPort: 'https' }] }] },
    'spec.ingress[0].ports[0].endPort: ',
  ],
  ['port 0', { ingress: [{ ports: [{ port: 0 }] }] }, 'spec.ingress[0].ports[0].port: '],
  ['port 65536', { egress: [{ ports: [{ port: 65536 }] }] }, 'spec.egress[0].ports[0].port: '],
  ['half a port', { egress: [{ ports: [{ port: 1.5 }] }] }, 'spec.egress[0].ports[0].port: '],
  [
    'a range backwards',
    { ingress: [{ ports: [{ port: 9, endPort: 8 }] }] },
    'spec.ingress[0].ports[0].endPort: ',
  ],
  ['a range without start', { ingress: [{ ports: [{ endPort: 8 }] }] }, 'spec.ingress[0].ports[0].endPort: '],
  ['protocol ICMP', { ingress: [{ ports: [{ protocol: 'ICMP' }] }] }, 'spec.ingress[0].ports[0].protocol: '],
  ['protocol tcp', { ingress: [{ ports: [{ protocol: 'tcp' }] }] }, 'spec.ingress[0].ports[0].protocol: '],
  ['policy type', { policyTypes: ['ingress'] }, 'spec.policyTypes[0]: '],
  ['a label key', { podSelector: { matchLabels: { '-a': 'b' } } }, 'spec.podSelector.matchLabels["-a"]: '],
  ['a label value', { podSelector: { matchLabels: { a: 'b c' } } }, 'spec.podSelector.matchLabels.a: '],
  [
    'In without values',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
    'spec.podSelector.matchExpressions[0].values: needs',
  ],
  [
    'NotIn with no values',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'NotIn', values: [] }] } },
    'spec.podSelector.matchExpressions[0].values: needs',
  ],
  [
    'Exists with values',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] } },
    'spec.podSelector.matchExpressions[0].values: must be empty',
  ],
  [
    'an operator',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'Gt' }] } },
    'spec.podSelector.matchExpressions[0].operator: ',
  ],
  ['a rule that is null', { ingress: [null] }, 'spec.ingress[0]: '],
])('refuses %s, naming the field', (_what, spec, start) => {
  expect(new Set(problems(policyWith(spec)).map((one) => one.slice(0, start.length)))).toEqual(
    new Set([start]),
  );
});

test.each([
  ['apiVersion', { ...policyWith({}), apiVersion: 'networking.k8s.io/v1beta1' }],
  ['kind', { ...policyWith({}), kind: 'Ingress' }],
  ['metadata.name', policyWith({}, { name: 'Web' })],
  ['metadata.name', policyWith({}, { name: 'a/b' })],
  ['metadata.name', policyWith({}, { name: 'a'.repeat(254) })],
  ['metadata.namespace', policyWith({}, { namespace: 'a.b' })],
  ['metadata.namespace', policyWith({}, { namespace: '-' })],
  ['metadata.labels.a', policyWith({}, { labels: { a: '/' } })],
  ['metadata.annotations', policyWith({}, { annotations: { a: 'x'.repeat(300_000) } })],
  ['metadata.namespace', policyWith({}, { namespace: 'Shop' })],
  ['metadata.name', policyWith({}, { name: '' })],
  ['metadata.name', policyWith({}, { name: 'a..b' })],
  ['kind', { ...policyWith({}), kind: undefined }],
  ['kind', { ...policyWith({}), kind: 'constructor' }],
  ['apiVersion', { ...policyWith({}), apiVersion: undefined }],
  ['', 'text'],
  ['', null],
  ['', [policyWith({})]],
])('refuses a bad %s', (path, value) => {
  expect(new Set(problems(value).map((one) => one.slice(0, path.length + 2)))).toEqual(
    new Set([`${path}: `]),
  );
});

test('a name may be a DNS subdomain, as in Kubernetes', () => {
  expect(parsePolicy(policyWith({}, { name: 'allow.web.v1' })).metadata.name).toBe('allow.web.v1');
});

test('rules, peers, ports, expressions, values and labels are bounded', () => {
  const times = <Item>(count: number, item: Item) => Array.from({ length: count }, () => item);
  const path = (spec: unknown) => problems(policyWith(spec))[0]?.split(':')[0];
  const fits = { ingress: times(RULES_MAX / 2, {}), egress: times(RULES_MAX / 2, {}) };
  expect(parsed(policyWith(fits)).spec.ingress).toHaveLength(RULES_MAX / 2);
  expect(path({ ...fits, ingress: [...fits.ingress, {}] })).toBe('spec');
  expect(path({ ingress: times(RULES_MAX + 1, {}) })).toBe('spec.ingress');
  const peers = times(RULE_ITEMS_MAX + 1, { podSelector: {} });
  expect(path({ ingress: [{ from: peers }] })).toBe('spec.ingress[0].from');
  expect(path({ egress: [{ ports: times(RULE_ITEMS_MAX + 1, { port: 1 }) }] })).toBe('spec.egress[0].ports');
  const except = times(EXCEPT_MAX + 1, '10.1.0.0/16');
  expect(path({ ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except } }] }] })).toBe(
    'spec.ingress[0].from[0].ipBlock.except',
  );
  const expressions = times(65, { key: 'a', operator: 'Exists' });
  expect(path({ podSelector: { matchExpressions: expressions } })).toBe('spec.podSelector.matchExpressions');
  const values = times(101, 'x');
  expect(path({ podSelector: { matchExpressions: [{ key: 'a', operator: 'In', values }] } })).toBe(
    'spec.podSelector.matchExpressions[0].values',
  );
  const labels = Object.fromEntries(times(65, 0).map((_zero, index) => [`k${index}`, 'v']));
  expect(path({ podSelector: { matchLabels: labels } })).toBe('spec.podSelector.matchLabels');
});

test('ten thousand rules are refused in words', () => {
  expect(problems(policyWith({ ingress: Array.from({ length: 10_000 }, () => ({})) }))).toEqual([
    `spec.ingress: at most ${RULES_MAX} rules in a policy`,
  ]);
});

test('the schema can be shown as JSON Schema, for requests and answers', () => {
  for (const io of ['input', 'output'] as const) {
    expect(JSON.stringify(z.toJSONSchema(networkPolicy, { io }))).toContain('podSelector');
  }
});
