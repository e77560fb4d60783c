import { expect, test } from 'vitest';
import { POLICIES_MAX, parsePolicies } from '../../src/model/policy-request.js';
import { policyWith, problemsOf } from '../support/bad-policy.js';

const named = (name: string, spec: object = {}, more: object = {}) => policyWith(spec, { name, ...more });
const list = (items: unknown[], more: object = {}) => ({ apiVersion: 'v1', kind: 'List', items, ...more });
const badPort = { ingress: [{ ports: [{ port: 80 }, { port: 70_000 }] }] };
const namesOf = (...documents: unknown[]) =>
  parsePolicies(documents).policies.map(({ metadata }) => metadata.name);

test('one object is a single policy, its paths are plain', () => {
  expect(parsePolicies([named('a')])).toMatchObject({
    isSingle: true,
    policies: [{ metadata: { name: 'a' } }],
  });
  expect(problemsOf(named('a', badPort))[0]).toMatch(/^spec\.ingress\[0\]\.ports\[1\]\.port: /);
});

test('several documents are several policies, in their order', () => {
  expect(namesOf(named('b'), named('a'))).toEqual(['b', 'a']);
  expect(parsePolicies([named('b'), named('a')]).isSingle).toBe(false);
});

test('the path of a bad field names its document', () => {
  expect(problemsOf(named('a'), named('b', badPort))).toEqual([
    expect.stringMatching(/^\[1\]\.spec\.ingress\[0\]\.ports\[1\]\.port: /),
  ]);
  expect(
    problemsOf('text', named('b'), { ...named('c'), kind: 'Pod' }).map((one) => one.split(':')[0]),
  ).toEqual(['[0]', '[2].kind']);
});

test('every bad document is told', () => {
  const paths = problemsOf(named('a', badPort), named('b'), named('C')).map((one) => one.split(':')[0]);
  expect(paths).toEqual(['[0].spec.ingress[0].ports[1].port', '[2].metadata.name']);
});

test('a list of kubectl is the policies in it, and its paths name the item', () => {
  const metadata = { resourceVersion: '' };
  expect(namesOf(list([named('a'), named('b')], { metadata }))).toEqual(['a', 'b']);
  expect(parsePolicies([list([named('a')])]).isSingle).toBe(false);
  expect(problemsOf(list([named('a'), named('b', badPort)]))[0]).toMatch(/^items\[1\]\.spec\.ingress\[0\]/);
  expect(problemsOf(named('x'), list([named('a'), named('b', badPort)]))[0]).toMatch(
    /^\[1\]\.items\[1\]\.spec/,
  );
});

test('items of a list of one kind need not say their kind, and may say no other', () => {
  const { kind: _kind, apiVersion, ...item } = named('a');
  const listed = (items: unknown[]) => list(items, { apiVersion, kind: 'NetworkPolicyList' });
  expect(namesOf(listed([item, named('b')]))).toEqual(['a', 'b']);
  expect(problemsOf(listed([{ ...item, kind: 'ClusterNetworkPolicy' }]))[0]).toMatch(/^items\[0\]\.kind: /);
});

test.each([
  [
    'metadata that says something of what is listed',
    list([named('a')], {
      metadata: { resourceVersion: '1', annotations: { 'quantum.network/mode': 'audit' } },
    }),
    'metadata.annotations: unknown field',
  ],
  ['another version of it', list([named('a')], { apiVersion: 'v2' }), 'apiVersion: must be v1 of a List'],
  ['an unknown field', list([named('a')], { extra: 1 }), 'extra: unknown field'],
  ['no items', list([]), 'items: needs at least one policy'],
  ['items that are no list', { ...list([]), items: {} }, 'items: '],
  ['an item that is none', list([named('a'), 5]), 'items[1]: must be an object of Kubernetes'],
  ['a list in a list', list([list([named('a')])]), 'items[0].kind: must be one of'],
  [
    'a list of another kind',
    list([named('a')], { kind: 'PodList' }),
    'kind: must be one of NetworkPolicy, ClusterNetworkPolicy',
  ],
])('a list with %s is refused', (_what, value, start) => {
  expect(problemsOf(value).map((one) => one.slice(0, start.length))).toEqual([start]);
});

test('an array is no request: a list says what it is', () => {
  expect(problemsOf([named('a')])).toEqual([': must be an object of Kubernetes']);
});

test('two policies of one name are refused; of two namespaces they are two names', () => {
  expect(problemsOf(named('a'), named('b'), named('a'))).toEqual([
    '[2].metadata.name: there is another policy default/a in the request',
  ]);
  expect(problemsOf(list([named('a'), named('a')]))).toEqual([
    'items[1].metadata.name: there is another policy default/a in the request',
  ]);
  expect(namesOf(named('a'), named('a', {}, { namespace: 'other' }))).toEqual(['a', 'a']);
});

test('kinds that are kept as one share their names', () => {
  const spec = { tier: 'Admin', priority: 1, subject: { namespaces: {} } };
  const kept = {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'a' },
    spec,
  };
  const given = {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'a' },
    spec: { priority: 1, subject: { namespaces: {} } },
  };
  expect(problemsOf(kept, given)).toEqual(['[1].metadata.name: there is another policy -/a in the request']);
});

test('policies of one request are bounded, in documents and in lists', () => {
  const many = Array.from({ length: POLICIES_MAX }, (_none, index) => named(`p${index}`));
  expect(namesOf(...many)).toHaveLength(POLICIES_MAX);
  expect(problemsOf(...many, named('one-more'))).toEqual([`: at most ${POLICIES_MAX} policies`]);
  expect(problemsOf(list([...many, named('one-more')]))).toEqual([`items: at most ${POLICIES_MAX} policies`]);
  expect(problemsOf(list(many), named('one-more'))).toEqual([`: at most ${POLICIES_MAX} policies`]);
});

test('no documents are no policies', () => {
  expect(problemsOf()).toEqual([': there is no policy in it']);
});
