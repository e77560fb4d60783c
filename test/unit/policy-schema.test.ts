import { expect, test } from 'vitest';
import { z } from 'zod';
import { AppError } from '../../src/model/errors.js';
import {
  effectivePolicyTypes,
  networkPolicy,
  parsePolicy,
  RULE_ITEMS_MAX,
  RULES_MAX,
} from '../../src/model/policy.js';

function policyWith(spec: unknown, metadata: object = {}) {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', ...metadata },
    spec,
  };
}

function errorOf(run: () => unknown): AppError {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** `path: message` of each bad field. */
function problems(value: unknown): string[] {
  const error = errorOf(() => parsePolicy(value));
  expect(error.code).toBe('INVALID_POLICY');
  expect(error.httpStatus).toBe(422);
  return (error.details ?? []).map(({ path, message }) => `${path}: ${message}`);
}

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
  expect(parsePolicy(policyWith({ podSelector: {}, ...spec })).spec.policyTypes).toEqual(types);
});

test('null means missing, except as the value of a label', () => {
  const spec = { podSelector: null, ingress: [{ from: null, ports: null }], egress: null, policyTypes: null };
  expect(parsePolicy(policyWith(spec, { labels: null })).spec).toEqual({
    podSelector: {},
    ingress: [{}],
    policyTypes: ['Ingress'],
  });
  expect(problems(policyWith({ podSelector: { matchLabels: { app: null } } }))).toEqual([
    'spec.podSelector.matchLabels.app: Invalid input: expected string, received null',
  ]);
  expect(problems(policyWith({ ingress: [{ from: [{ podSelector: null }] }] }))).toEqual([
    'spec.ingress[0].from[0]: must have a podSelector, a namespaceSelector or both',
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
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}\n' },
        labels: { team: 'a' },
      },
    ),
    status: { conditions: [] },
  };
  const parsed = parsePolicy(exported);
  expect(Object.keys(parsed)).toEqual(['apiVersion', 'kind', 'metadata', 'spec']);
  expect(parsed.metadata).toEqual({
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
      { finalizers: [] },
    ),
    extra: null,
  };
  expect(problems(value).sort()).toEqual(
    [
      'extra: unknown field',
      'metadata.finalizers: unknown field',
      'spec.ingress[0].from[0].cidr: unknown field',
      'spec.ingress[0].ports[0].Port: unknown field',
      'spec.ingress[0].to: unknown field',
      'spec.podSelector.matchLabel: unknown field',
      'spec.rules: unknown field',
    ].sort(),
  );
});

test('what is not supported yet is refused by name, not ignored', () => {
  const spec = { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8' } }], ports: [{ port: 'http' }] }] };
  expect(problems(policyWith(spec))).toEqual([
    'spec.ingress[0].from[0].ipBlock: ipBlock is not supported yet',
    'spec.ingress[0].ports[0].port: a named port is not supported yet',
  ]);
});

test.each<[string, unknown, string]>([
  ['no spec', undefined, 'spec: '],
  ['an empty peer', { ingress: [{ from: [{}] }] }, 'spec.ingress[0].from[0]: must have'],
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
  expect(problems(policyWith(spec)).map((one) => one.slice(0, start.length))).toEqual([start]);
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
  ['metadata.annotations', policyWith({}, { annotations: { a: 'x'.repeat(70_000) } })],
  ['', 'text'],
  ['', null],
  ['', [policyWith({})]],
])('refuses a bad %s', (path, value) => {
  expect(problems(value).map((one) => one.slice(0, path.length + 2))).toEqual([`${path}: `]);
});

test('a name may be a DNS subdomain, as in Kubernetes', () => {
  expect(parsePolicy(policyWith({}, { name: 'allow.web.v1' })).metadata.name).toBe('allow.web.v1');
});

test('rules, peers, ports, expressions, values and labels are bounded', () => {
  const times = <Item>(count: number, item: Item) => Array.from({ length: count }, () => item);
  const path = (spec: unknown) => problems(policyWith(spec))[0]?.split(':')[0];
  const fits = { ingress: times(RULES_MAX / 2, {}), egress: times(RULES_MAX / 2, {}) };
  expect(parsePolicy(policyWith(fits)).spec.ingress).toHaveLength(RULES_MAX / 2);
  expect(path({ ...fits, ingress: [...fits.ingress, {}] })).toBe('spec');
  expect(path({ ingress: times(RULES_MAX + 1, {}) })).toBe('spec.ingress');
  const peers = times(RULE_ITEMS_MAX + 1, { podSelector: {} });
  expect(path({ ingress: [{ from: peers }] })).toBe('spec.ingress[0].from');
  expect(path({ egress: [{ ports: times(RULE_ITEMS_MAX + 1, { port: 1 }) }] })).toBe('spec.egress[0].ports');
  const expressions = times(65, { key: 'a', operator: 'Exists' });
  expect(path({ podSelector: { matchExpressions: expressions } })).toBe('spec.podSelector.matchExpressions');
  const values = times(101, 'x');
  expect(path({ podSelector: { matchExpressions: [{ key: 'a', operator: 'In', values }] } })).toBe(
    'spec.podSelector.matchExpressions[0].values',
  );
  const labels = Object.fromEntries(times(65, 0).map((_zero, index) => [`k${index}`, 'v']));
  expect(path({ podSelector: { matchLabels: labels } })).toBe('spec.podSelector.matchLabels');
});

test('the schema can be shown as JSON Schema, for requests and answers', () => {
  for (const io of ['input', 'output'] as const) {
    expect(JSON.stringify(z.toJSONSchema(networkPolicy, { io }))).toContain('podSelector');
  }
});
