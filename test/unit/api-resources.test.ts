import type { InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeApi, fakeApi, VERSION } from '../support/fake-api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await fakeApi();
});
afterEach(() => api.close());

async function ask(method: InjectOptions['method'], url: string, payload?: object) {
  const answer = await api.app.inject({
    method: method ?? 'GET',
    url,
    ...(payload === undefined ? {} : { payload }),
  });
  return {
    status: answer.statusCode,
    headers: answer.headers,
    body: answer.body === '' ? undefined : answer.json(),
  };
}

const POLICY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'allow-web', namespace: 'shop' },
  spec: { podSelector: {} },
};
const web = { container_id: 'web1', netns_path: '/proc/7/ns/net', labels: { app: 'web' } };
const makeNetwork = () => ask('POST', '/networks', { name: 'front', cidr: '10.1.0.0/16' });
const connect = (more: object = {}) => ask('POST', '/networks/front/containers', { ...web, ...more });

describe('networks', () => {
  it('are made with the defaults filled in', async () => {
    const { status, headers, body } = await makeNetwork();
    expect(status).toBe(201);
    expect(headers.location).toBe('/networks/front');
    expect(body).toMatchObject({
      name: 'front',
      gateway: '10.1.0.1',
      driver: 'bridge',
      isolation_mode: 'full',
    });
  });

  it('are listed, shown and removed', async () => {
    const { body } = await makeNetwork();
    expect(await ask('GET', '/networks')).toMatchObject({ status: 200, body: { networks: [body] } });
    expect(await ask('GET', '/networks/front')).toMatchObject({ status: 200, body });
    expect(await ask('DELETE', '/networks/front')).toMatchObject({ status: 204, body: undefined });
    expect(await ask('GET', '/networks')).toMatchObject({ body: { networks: [] } });
  });
});

describe('containers', () => {
  beforeEach(makeNetwork);

  it('are connected, and the answer has what the container needs', async () => {
    const { status, headers, body } = await connect();
    expect(status).toBe(201);
    expect(headers.location).toBe('/networks/front/containers/web1');
    expect(body).toMatchObject({
      network: 'front',
      container_id: 'web1',
      interface_name: 'eth0',
      namespace: 'default',
      gateway: '10.1.0.1',
      state: 'ready',
    });
    expect(body.ip_address).toMatch(/^10\.1\./);
  });

  it('are listed, shown and disconnected', async () => {
    const { body } = await connect();
    const url = '/networks/front/containers';
    expect(await ask('GET', url)).toMatchObject({ status: 200, body: { containers: [body] } });
    expect(await ask('GET', `${url}/web1`)).toMatchObject({ status: 200, body });
    expect(await ask('DELETE', `${url}/web1`)).toMatchObject({ status: 204 });
    expect(await ask('GET', url)).toMatchObject({ body: { containers: [] } });
  });

  it('with several interfaces are told apart by interface_name', async () => {
    await connect();
    await connect({ interface_name: 'eth1' });
    const url = '/networks/front/containers/web1?interface_name=eth1';
    expect((await ask('GET', url)).body.interface_name).toBe('eth1');
    await ask('PATCH', url, { labels: { app: 'changed' } });
    await ask('DELETE', '/networks/front/containers/web1?interface_name=eth0');
    const { containers } = (await ask('GET', '/networks/front/containers')).body;
    expect(containers).toMatchObject([{ interface_name: 'eth1', labels: { app: 'changed' } }]);
  });

  it('get another identity with other labels', async () => {
    const before = (await connect()).body;
    const after = await ask('PATCH', '/networks/front/containers/web1', {
      labels: { app: 'db' },
      namespace: 'shop',
    });
    expect(after).toMatchObject({ status: 200, body: { labels: { app: 'db' }, namespace: 'shop' } });
    expect(after.body.identity).not.toBe(before.identity);
  });

  it('appear among endpoints and identities', async () => {
    const { body } = await connect();
    expect(await ask('GET', '/endpoints')).toMatchObject({ status: 200, body: { endpoints: [body] } });
    const { identities } = (await ask('GET', '/identities')).body;
    expect(identities).toMatchObject([{ id: body.identity, labels: { app: 'web' }, endpoints: 1 }]);
  });
});

describe('namespaces', () => {
  it('are set, listed, shown and removed', async () => {
    const { status, body } = await ask('PUT', '/namespaces/shop', { labels: { team: 'a' } });
    expect(status).toBe(200);
    expect(body).toMatchObject({ labels: { team: 'a', 'kubernetes.io/metadata.name': 'shop' } });
    expect((await ask('GET', '/namespaces')).body.namespaces).toContainEqual(body);
    expect(await ask('GET', '/namespaces/shop')).toMatchObject({ status: 200, body });
    expect(await ask('DELETE', '/namespaces/shop')).toMatchObject({ status: 204 });
    expect(await ask('GET', '/namespaces/shop')).toMatchObject({ status: 404 });
  });
});

describe('policies', () => {
  it('are made with 201 and replaced with 200', async () => {
    const made = await ask('POST', '/policies', POLICY);
    expect(made.status).toBe(201);
    expect(made.headers.location).toBe('/policies/shop/allow-web');
    expect(made.body.spec.policyTypes).toEqual(['Ingress']);
    expect((await ask('POST', '/policies', POLICY)).status).toBe(200);
  });

  it('are listed, shown and removed', async () => {
    const { body } = await ask('POST', '/policies', POLICY);
    expect(await ask('GET', '/policies')).toMatchObject({ status: 200, body: { policies: [body] } });
    expect(await ask('GET', '/policies/shop/allow-web')).toMatchObject({ status: 200, body });
    expect(await ask('DELETE', '/policies/shop/allow-web')).toMatchObject({ status: 204 });
    expect(await ask('GET', '/policies/shop/allow-web')).toMatchObject({ status: 404 });
  });

  it.each(['application/yaml', 'application/x-yaml', 'text/yaml', 'text/yaml; charset=utf-8'])(
    'are taken as %s',
    async (type) => {
      const payload =
        'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  podSelector: {}\n';
      const answer = await api.app.inject({
        method: 'POST',
        url: '/policies',
        payload,
        headers: { 'content-type': type },
      });
      expect(answer.statusCode).toBe(201);
      expect(answer.json().metadata).toEqual({ name: 'p', namespace: 'default' });
    },
  );

  const yaml = (payload: string) =>
    api.app.inject({
      method: 'POST',
      url: '/policies',
      payload,
      headers: { 'content-type': 'application/yaml' },
    });
  const named = (name: string) => ({ ...POLICY, metadata: { name } });
  const GUARD = {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'guard' },
    spec: { tier: 'Admin', priority: 1, subject: { namespaces: {} } },
  };

  it('of the whole cluster are under -', async () => {
    const { status, headers, body } = await ask('POST', '/policies', GUARD);
    expect({ status, location: headers.location }).toEqual({ status: 201, location: '/policies/-/guard' });
    expect(body).toEqual(GUARD);
    expect(await ask('GET', '/policies')).toMatchObject({ status: 200, body: { policies: [GUARD] } });
    expect(await ask('GET', '/policies/-/guard')).toMatchObject({ status: 200, body: GUARD });
    expect(await ask('DELETE', '/policies/-/guard')).toMatchObject({ status: 204 });
    expect(await ask('GET', '/policies/-/guard')).toMatchObject({ status: 404 });
  });

  it('of the older kinds are kept and answered as ClusterNetworkPolicy', async () => {
    const given = {
      apiVersion: 'policy.networking.k8s.io/v1alpha1',
      kind: 'AdminNetworkPolicy',
      metadata: { name: 'guard' },
      spec: { priority: 1, subject: { namespaces: {} } },
    };
    expect(await ask('POST', '/policies', given)).toMatchObject({ status: 201, body: GUARD });
    expect(await ask('GET', '/policies/-/guard')).toMatchObject({ body: GUARD });
  });

  it('in several documents are answered as a list', async () => {
    const answer = await yaml([named('a'), GUARD].map((one) => JSON.stringify(one)).join('\n---\n'));
    expect(answer.statusCode).toBe(200);
    expect(answer.json().policies).toMatchObject([{ metadata: { name: 'a' } }, GUARD]);
    expect((await ask('GET', '/policies')).body).toEqual(answer.json());
  });

  it('in a list of kubectl are answered as a list', async () => {
    const list = { apiVersion: 'v1', kind: 'List', items: [named('a')], metadata: { resourceVersion: '' } };
    const { status, body } = await ask('POST', '/policies', list);
    expect(status).toBe(200);
    expect(body).toEqual({ policies: [expect.objectContaining({ kind: 'NetworkPolicy' })] });
  });

  it('one of a thousand rules is taken as YAML, as kubectl writes it', async () => {
    const rules = Array.from(
      { length: 1000 },
      (_none, index) =>
        `  - from:\n    - podSelector:\n        matchLabels:\n          app.kubernetes.io/name: client-${index}\n    - ipBlock:\n        cidr: 10.${index % 256}.0.0/16\n        except:\n        - 10.${index % 256}.7.0/24\n    ports:\n    - protocol: TCP\n      port: ${index + 1}\n`,
    );
    const text = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: big\nspec:\n  ingress:\n${rules.join('')}`;
    const answer = await yaml(text);
    expect(answer.statusCode).toBe(201);
    expect(answer.json().spec.ingress).toHaveLength(1000);
  });

  it('may have names as long as DNS allows', async () => {
    const name = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}`;
    await ask('POST', '/policies', { ...POLICY, metadata: { name } });
    expect((await ask('GET', `/policies/default/${name}`)).status).toBe(200);
  });
});

describe('health', () => {
  it('healthz tells the version', async () => {
    expect(await ask('GET', '/healthz')).toMatchObject({
      status: 200,
      body: { status: 'ok', version: VERSION },
    });
  });

  it('readyz is 200 when ready and 503 with the reason until then', async () => {
    expect(await ask('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } });
    api.node.isReady = false;
    const { status, body } = await ask('GET', '/readyz');
    expect(status).toBe(503);
    expect(body.checks).toContainEqual({ name: 'sync', ready: false, message: expect.any(String) });
  });
});

describe('POST /cni', () => {
  it('is carried out by the one who handles CNI', async () => {
    const call = { env: { CNI_COMMAND: 'VERSION' }, stdin: '{}' };
    const { status, body } = await ask('POST', '/cni', call);
    expect(status).toBe(200);
    expect(body.exit_code).toBe(0);
    expect(JSON.parse(body.stdout)).toMatchObject(call);
  });

  it('takes a configuration of one MiB', async () => {
    const stdin = '"'.repeat((1 << 20) - 1);
    expect((await ask('POST', '/cni', { env: {}, stdin })).status).toBe(200);
  });
});

it('answers are not kept by caches and not guessed about by browsers', async () => {
  const { headers } = await ask('GET', '/networks');
  expect(headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
});

it('HEAD answers what GET does, without the body', async () => {
  const { statusCode, body } = await api.app.inject({ method: 'HEAD', url: '/networks' });
  expect({ statusCode, body }).toEqual({ statusCode: 200, body: '' });
});
