import type { InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeApi, fakeApi } from '../support/fake-api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await fakeApi();
  await ask('POST', '/networks', { name: 'front', cidr: '10.1.0.0/16' });
  await ask('POST', '/networks/front/containers', { container_id: 'web1', netns_path: '/proc/7/ns/net' });
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

const MAPPINGS = '/nat/port-mappings';
const mapping = { network: 'front', container_id: 'web1', host_port: 8080, container_port: 80 };
const map = (more: object = {}) => ask('POST', MAPPINGS, { ...mapping, ...more });
const SERVICE = { name: 'web', ports: [{ port: 80 }], selector: { matchLabels: { app: 'web' } } };
const apply = (more: object = {}) => ask('POST', '/services', { ...SERVICE, ...more });

/** Paths of the fields that a refused request has wrong. */
const badFields = ({ status, body }: Awaited<ReturnType<typeof ask>>) => {
  expect({ status, code: body.error.code }).toEqual({ status: 400, code: 'INVALID_REQUEST' });
  return body.error.details.map(({ path }: { path: string }) => path);
};

describe('port mappings', () => {
  it('are made, and the answer tells whether the outside may come in', async () => {
    const { status, headers, body } = await map();
    expect(status).toBe(201);
    expect(headers.location).toBe(`${MAPPINGS}/${body.id}`);
    expect(body).toMatchObject({
      ...{ network: 'front', container_id: 'web1', interface_name: 'eth0', protocol: 'TCP' },
      ...{ host_port: 8080, container_port: 80, reachable_from_outside: false },
    });
    expect(body.hint).toMatch(/outside/);
  });

  it('are listed, shown and removed', async () => {
    const { body } = await map();
    expect(await ask('GET', MAPPINGS)).toMatchObject({ status: 200, body: { port_mappings: [body] } });
    expect(await ask('GET', `${MAPPINGS}/${body.id}`)).toMatchObject({ status: 200, body });
    expect(await ask('DELETE', `${MAPPINGS}/${body.id}`)).toMatchObject({ status: 204, body: undefined });
    expect(await ask('GET', MAPPINGS)).toMatchObject({ body: { port_mappings: [] } });
    expect(await ask('GET', `${MAPPINGS}/${body.id}`)).toMatchObject({
      ...{ status: 404, body: { error: { code: 'PORT_MAPPING_NOT_FOUND' } } },
    });
  });

  it('to a container or network that is not known are refused', async () => {
    expect(await map({ container_id: 'other' })).toMatchObject({
      ...{ status: 404, body: { error: { code: 'CONTAINER_NOT_FOUND' } } },
    });
    expect(await map({ network: 'other' })).toMatchObject({
      ...{ status: 404, body: { error: { code: 'NETWORK_NOT_FOUND' } } },
    });
  });

  it('of a port that is taken are refused, and the answer names the owner', async () => {
    await map();
    expect(await map()).toMatchObject({ status: 409, body: { error: { code: 'NODE_PORT_IN_USE' } } });
  });

  it.each([
    [{ host_port: 0 }, 'host_port'],
    [{ host_port: 65536 }, 'host_port'],
    [{ host_port: 80.5 }, 'host_port'],
    [{ host_port: '80' }, 'host_port'],
    [{ container_port: 0 }, 'container_port'],
    [{ container_port: 65536 }, 'container_port'],
    [{ protocol: 'ICMP' }, 'protocol'],
    [{ host_ip: '1.2.3' }, 'host_ip'],
    [{ colour: 'red' }, 'colour'],
  ])('with a bad field name it: %j', async (more, path) => {
    expect(badFields(await map(more))).toEqual([path]);
    expect(await ask('GET', MAPPINGS)).toMatchObject({ body: { port_mappings: [] } });
  });

  it('have numbers', async () => {
    expect(badFields(await ask('GET', `${MAPPINGS}/first`))).toEqual(['id']);
    expect(badFields(await ask('DELETE', `${MAPPINGS}/0`))).toEqual(['id']);
  });
});

describe('services', () => {
  it('are made with the defaults filled in, and replaced', async () => {
    const { status, headers, body } = await apply();
    expect(status).toBe(201);
    expect(headers.location).toBe('/services/default/web');
    expect(body).toMatchObject({
      ...{ namespace: 'default', session_affinity: 'none', session_affinity_seconds: 10800 },
      ports: [{ port: 80, target_port: 80, protocol: 'TCP' }],
    });
    expect(await apply({ session_affinity: 'client_ip' })).toMatchObject({ status: 200 });
  });

  it('are listed, shown and removed', async () => {
    const { body } = await apply({ namespace: 'shop' });
    expect(await ask('GET', '/services')).toMatchObject({ status: 200, body: { services: [body] } });
    expect(await ask('GET', '/services/shop/web')).toMatchObject({ status: 200, body });
    expect(await ask('DELETE', '/services/shop/web')).toMatchObject({ status: 204, body: undefined });
    expect(await ask('GET', '/services')).toMatchObject({ body: { services: [] } });
    expect(await ask('DELETE', '/services/shop/web')).toMatchObject({
      ...{ status: 404, body: { error: { code: 'SERVICE_NOT_FOUND' } } },
    });
  });

  it.each([
    ['without a selector', { selector: undefined }, ['selector']],
    ['with one that selects everything', { selector: {} }, ['selector']],
    ['with one that selects by nothing', { selector: { matchLabels: {} } }, ['selector']],
    ['without a port', { ports: [] }, ['ports']],
    ['with a port of 0', { ports: [{ port: 0 }] }, ['ports[0].port']],
    ['with a port beyond 65535', { ports: [{ port: 65536 }] }, ['ports[0].port']],
    ['with a port twice', { ports: [{ port: 1 }, { port: 1, target_port: 2 }] }, ['ports[1].port']],
    ['with a target that is neither number nor name', { ports: [{ port: 1, target_port: '-' }] }, undefined],
    ['with a node port beyond 65535', { ports: [{ port: 1, node_port: 65536 }] }, undefined],
    [
      'with one node port for two ports',
      {
        ports: [
          { port: 1, node_port: 30000 },
          { port: 2, node_port: 30000 },
        ],
      },
      ['ports[1].node_port'],
    ],
    ['with an IPv6 address for an IPv4 one', { ip_address: 'fd00::1' }, ['ip_address']],
    ['with an affinity of no time', { session_affinity_seconds: 0 }, ['session_affinity_seconds']],
  ])('%s are refused', async (_, more, paths) => {
    const fields = badFields(await apply(more));
    if (paths !== undefined) expect(fields).toEqual(paths);
    expect(await ask('GET', '/services')).toMatchObject({ body: { services: [] } });
  });

  it('may have the same port of another protocol', async () => {
    const ports = [{ port: 53 }, { port: 53, protocol: 'UDP' }];
    expect(await apply({ ports })).toMatchObject({ status: 201 });
  });
});
