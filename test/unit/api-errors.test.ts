import type { InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeApi, fakeApi } from '../support/fake-api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await fakeApi();
  await post('/networks', { name: 'front', cidr: '10.1.0.0/16' });
  await post('/networks/front/containers', { container_id: 'c1', netns_path: '/proc/7/ns/net' });
});
afterEach(() => api.close());

const post = (url: string, payload: object) => api.app.inject({ method: 'POST', url, payload });
const container = { container_id: 'c2', netns_path: '/proc/7/ns/net' };
const policy = (spec: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'p' },
  spec,
});

interface Row {
  name: string;
  request: InjectOptions;
  status: number;
  code: string;
  /** Paths of the bad fields. */
  paths?: string[];
}

const postRow = (
  name: string,
  url: string,
  payload: object,
  expected: Omit<Row, 'name' | 'request'>,
): Row => ({
  name,
  request: { method: 'POST', url, payload },
  ...expected,
});
const bad = (...paths: string[]) => ({ status: 400, code: 'INVALID_REQUEST', paths });
const invalid = (...paths: string[]) => ({ status: 422, code: 'INVALID_POLICY', paths });
const typed = (url: string, type: string, payload: string): InjectOptions => ({
  method: 'POST',
  url,
  payload,
  headers: { 'content-type': type },
});

const ROWS: Row[] = [
  postRow('a CIDR that is none', '/networks', { name: 'x', cidr: '10.9.0.0/99' }, bad('cidr')),
  postRow('a CIDR with host bits', '/networks', { name: 'x', cidr: '10.9.0.1/16' }, bad('cidr')),
  postRow('no CIDR at all', '/networks', { name: 'x' }, bad('cidr')),
  postRow(
    'a gateway outside of the CIDR',
    '/networks',
    { name: 'x', cidr: '10.9.0.0/16', gateway: '10.8.0.1' },
    bad('gateway'),
  ),
  postRow('a name that is none', '/networks', { name: 'Not_a_name', cidr: '10.9.0.0/16' }, bad('name')),
  postRow('an unknown field', '/networks', { name: 'x', cidr: '10.9.0.0/16', colour: 'red' }, bad('colour')),
  postRow(
    'an unknown field further down',
    '/networks',
    { name: 'x', cidr: '10.9.0.0/16', options: { mtuu: 1500 } },
    bad('options.mtuu'),
  ),
  postRow('several bad fields, all named', '/networks', { name: 'X', cidr: 'x' }, bad('cidr', 'name')),
  postRow(
    'a network that exists',
    '/networks',
    { name: 'front', cidr: '10.9.0.0/16' },
    { status: 409, code: 'NETWORK_EXISTS' },
  ),
  postRow(
    'a range in use',
    '/networks',
    { name: 'x', cidr: '10.1.2.0/24' },
    { status: 409, code: 'CIDR_OVERLAP' },
  ),
  postRow(
    'an unknown driver',
    '/networks',
    { name: 'x', cidr: '10.9.0.0/16', driver: 'vlan' },
    { status: 422, code: 'UNSUPPORTED_DRIVER', paths: ['driver'] },
  ),
  postRow('a container on an unknown network', '/networks/nope/containers', container, {
    status: 404,
    code: 'NETWORK_NOT_FOUND',
  }),
  postRow(
    'a container without network namespace',
    '/networks/front/containers',
    { container_id: 'c2' },
    bad('netns_path'),
  ),
  postRow(
    'a bad label',
    '/networks/front/containers',
    { ...container, labels: { a: 'not ok' } },
    bad('labels.a'),
  ),
  postRow(
    'an address outside of the network',
    '/networks/front/containers',
    { ...container, ip_address: '10.2.0.1' },
    bad('ip_address'),
  ),
  postRow(
    'a container that is connected',
    '/networks/front/containers',
    { ...container, container_id: 'c1' },
    {
      status: 409,
      code: 'ENDPOINT_EXISTS',
    },
  ),
  postRow(
    'a policy with a bad port',
    '/policies',
    policy({ ingress: [{ ports: [{ port: 70000 }] }] }),
    invalid('spec.ingress[0].ports[0].port'),
  ),
  postRow('a policy with an unknown field', '/policies', policy({ ingres: [] }), invalid('spec.ingres')),
  postRow('a policy without a name', '/policies', { ...policy({}), metadata: {} }, invalid('metadata.name')),
  postRow('a policy of another kind', '/policies', { ...policy({}), kind: 'Pod' }, invalid('kind')),
  postRow(
    'a policy of ten thousand rules',
    '/policies',
    policy({ ingress: Array.from({ length: 10_000 }, () => ({})) }),
    invalid('spec.ingress'),
  ),
  {
    name: 'a policy of ten thousand rules, as YAML',
    request: typed(
      '/policies',
      'application/yaml',
      `${JSON.stringify(policy({})).slice(0, -2)}"ingress":[${'{},'.repeat(10_000)}]}}`,
    ),
    ...invalid('spec.ingress'),
  },
  {
    name: 'documents of which one is bad',
    request: typed(
      '/policies',
      'application/yaml',
      [policy({}), { ...policy({ ingress: [{ ports: [{}, { port: 0 }] }] }), metadata: { name: 'q' } }]
        .map((one) => JSON.stringify(one))
        .join('\n---\n'),
    ),
    ...invalid('[1].spec.ingress[0].ports[1].port'),
  },
  {
    name: 'YAML without a policy in it',
    request: typed('/policies', 'application/yaml', '---\n# nothing\n---\n'),
    ...invalid(''),
  },
  postRow('policies as an array', '/policies', [policy({})], invalid('')),
  postRow('a CNI call without input', '/cni', { env: {} }, bad('stdin')),
  {
    name: 'broken JSON',
    request: typed('/networks', 'application/json', '{"name":'),
    status: 400,
    code: 'INVALID_JSON',
    paths: [''],
  },
  {
    name: 'an empty body that is said to be JSON',
    request: typed('/networks', 'application/json', ''),
    status: 400,
    code: 'INVALID_JSON',
  },
  { name: 'no body', request: { method: 'POST', url: '/networks' }, ...bad('') },
  { name: 'a body that is no object', request: typed('/networks', 'application/json', '[1]'), ...bad('') },
  {
    name: '__proto__ as a field',
    request: typed('/networks', 'application/json', '{"name":"x","cidr":"10.9.0.0/16","__proto__":{"a":1}}'),
    ...bad('__proto__'),
  },
  {
    name: '__proto__ as a label',
    request: typed(
      '/policies',
      'application/json',
      JSON.stringify(policy({})).replace('{}', '{"podSelector":{"matchLabels":{"__proto__":"x"}}}'),
    ),
    ...invalid('spec.podSelector.matchLabels.__proto__'),
  },
  {
    name: 'a key that is given twice',
    request: typed('/policies', 'application/json', '{"spec":{"ingress":[],"ingress":[{}]}}'),
    status: 400,
    code: 'INVALID_JSON',
    paths: ['spec.ingress'],
  },
  {
    name: 'broken YAML',
    request: typed('/policies', 'application/yaml', 'a: [1'),
    status: 400,
    code: 'INVALID_JSON',
  },
  {
    name: 'YAML with aliases',
    request: typed('/policies', 'text/yaml', 'a: &x [1]\nb: *x'),
    status: 400,
    code: 'INVALID_JSON',
  },
  {
    name: 'a body of 2 MiB',
    request: typed('/networks', 'application/json', `"${'x'.repeat(2 << 20)}"`),
    status: 413,
    code: 'PAYLOAD_TOO_LARGE',
  },
  {
    name: 'policies of more than a MiB',
    request: typed('/policies', 'application/yaml', `# ${'x'.repeat(1 << 20)}`),
    status: 413,
    code: 'PAYLOAD_TOO_LARGE',
  },
  {
    name: 'a form',
    request: typed('/networks', 'application/x-www-form-urlencoded', '{"name":"x"}'),
    status: 415,
    code: 'UNSUPPORTED_MEDIA_TYPE',
  },
  {
    name: 'JSON that is not UTF-8',
    request: {
      method: 'POST',
      url: '/policies',
      payload: Buffer.from(
        JSON.stringify({
          ...policy({ podSelector: {} }),
          metadata: { name: 'p', annotations: { note: 'é' } },
        }),
        'latin1',
      ),
      headers: { 'content-type': 'application/json' },
    },
    status: 400,
    code: 'INVALID_JSON',
  },
  {
    name: 'YAML where only JSON is taken',
    request: typed('/networks', 'application/yaml', 'name: x'),
    status: 415,
    code: 'UNSUPPORTED_MEDIA_TYPE',
  },
  { name: 'an unknown path', request: { method: 'GET', url: '/nope' }, status: 404, code: 'NOT_FOUND' },
  {
    name: 'an unknown path with a body of any kind',
    request: typed('/nope', 'text/plain', 'x'),
    status: 404,
    code: 'NOT_FOUND',
  },
  {
    name: 'a wrong method',
    request: { method: 'PUT', url: '/networks' },
    status: 405,
    code: 'METHOD_NOT_ALLOWED',
  },
  {
    name: 'a wrong method below a parameter',
    request: { method: 'POST', url: '/networks/front' },
    status: 405,
    code: 'METHOD_NOT_ALLOWED',
  },
  { name: 'a path that is not encoded well', request: { method: 'GET', url: '/networks/%zz' }, ...bad() },
  {
    name: 'a name in the path that is none',
    request: { method: 'GET', url: '/networks/Not_a_name' },
    ...bad('name'),
  },
  { name: 'an unknown parameter', request: { method: 'GET', url: '/networks?colour=red' }, ...bad('colour') },
  {
    name: 'an unknown network',
    request: { method: 'GET', url: '/networks/nope' },
    status: 404,
    code: 'NETWORK_NOT_FOUND',
  },
  {
    name: 'a network in use',
    request: { method: 'DELETE', url: '/networks/front' },
    status: 409,
    code: 'NETWORK_IN_USE',
  },
  {
    name: 'an unknown container',
    request: { method: 'GET', url: '/networks/front/containers/c9' },
    status: 404,
    code: 'CONTAINER_NOT_FOUND',
  },
  {
    name: 'a patch of nothing',
    request: { method: 'PATCH', url: '/networks/front/containers/c1', payload: {} },
    ...bad(''),
  },
  {
    name: 'an unknown namespace',
    request: { method: 'GET', url: '/namespaces/nope' },
    status: 404,
    code: 'NAMESPACE_NOT_FOUND',
  },
  {
    name: 'a namespace in use',
    request: { method: 'DELETE', url: '/namespaces/default' },
    status: 409,
    code: 'NAMESPACE_IN_USE',
  },
  {
    name: 'an unknown policy',
    request: { method: 'GET', url: '/policies/default/nope' },
    status: 404,
    code: 'POLICY_NOT_FOUND',
  },
  {
    name: 'an unknown cluster-wide policy',
    request: { method: 'DELETE', url: '/policies/-/nope' },
    status: 404,
    code: 'POLICY_NOT_FOUND',
  },
  {
    name: 'a change if there is none of that name',
    request: {
      method: 'POST',
      url: '/networks',
      payload: { name: 'x', cidr: '10.9.0.0/16' },
      headers: { 'if-none-match': '*' },
    },
    ...bad(),
  },
  {
    name: 'a change if it is still the same',
    request: {
      method: 'DELETE',
      url: '/networks/front/containers/c1',
      headers: { 'if-match': '"1"' },
    },
    ...bad(),
  },
  {
    name: 'a change if it is as old',
    request: {
      method: 'PUT',
      url: '/namespaces/shop',
      payload: { labels: {} },
      headers: { 'if-unmodified-since': 'Mon, 30 Nov 2026 00:00:00 GMT' },
    },
    ...bad(),
  },
  {
    name: 'a name in the path that is longer than any',
    request: { method: 'GET', url: `/networks/${'a'.repeat(300)}` },
    ...bad(),
  },
  {
    name: 'an id in the path that only Number() takes for one',
    request: { method: 'DELETE', url: '/nat/port-mappings/1e0' },
    ...bad('id'),
  },
  {
    name: 'a limit of flows that is none',
    request: { method: 'GET', url: '/flows?limit=many' },
    ...bad('limit'),
  },
];

describe('is refused', () => {
  it.each(ROWS)('$name: $status $code', async ({ request, status, code, paths }) => {
    const answer = await api.app.inject(request);
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    const body = answer.json();
    expect(Object.keys(body)).toEqual(['error']);
    expect(Object.keys(body.error)).toEqual(['code', 'message', 'details']);
    expect(body.error.code).toBe(code);
    expect(body.error.message).not.toBe('');
    if (paths !== undefined) {
      expect(body.error.details.map(({ path }: { path: string }) => path).sort()).toEqual(paths);
    }
  });

  it('changes nothing', async () => {
    for (const { request } of ROWS) await api.app.inject(request);
    expect(api.node.networks.list()).toHaveLength(1);
    expect(api.node.endpoints.list()).toHaveLength(1);
    expect(api.node.policies.list()).toEqual([]);
  });
});

it('a form is answered with what to send instead', async () => {
  const { error } = (
    await api.app.inject(typed('/networks', 'application/x-www-form-urlencoded', '{}'))
  ).json();
  expect(error.message).toContain("-H 'content-type: application/json'");
});

it('what reads only is answered whatever its conditions are', async () => {
  const headers = { 'if-match': '"1"', 'if-none-match': '*' };
  expect((await api.app.inject({ url: '/networks/front', headers })).statusCode).toBe(200);
});

it('a wrong method is answered with the right ones', async () => {
  const answer = await api.app.inject({ method: 'PUT', url: '/networks/front' });
  expect(answer.headers.allow).toBe('DELETE, GET, HEAD');
});
