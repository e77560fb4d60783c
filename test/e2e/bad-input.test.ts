/** Bad input: the right answer, nothing changed, nothing left behind, and the daemon goes on. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Container, unlike } from '../support/containers.js';
import type { NodeState } from '../support/node-state.js';
import { errorOf, policyObject } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** A network with a container on it, and things that are no network namespaces. */
let connected: Container;
let free: Container;
let before: NodeState;
const scratch = mkdtempSync(join(tmpdir(), 'quantum-bad-'));

beforeAll(() => {
  writeFileSync(join(scratch, 'file'), '');
  execFileSync('mkfifo', [join(scratch, 'fifo')]);
});
afterAll(() => rmSync(scratch, { recursive: true }));

beforeEach(async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  await site().rest.createNetwork({ name: 'tiny', cidr: '10.61.0.0/30' });
  connected = await site().container('connected', 'blue');
  await connected.connect('tiny', { interface_name: 'eth1' });
  free = site().bare('free');
  before = await site().state();
});

/** Asks, and proves that nothing has changed by it. */
async function refused(method: string, path: string, body?: unknown, headers?: Record<string, string>) {
  const answer = await site().rest.call(method, path, body, headers);
  const { code, details } = errorOf(answer);
  expect(await site().state()).toEqual(before);
  expect(free.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
  await site().rest.expect('GET', '/healthz');
  return { status: answer.status, code, paths: details.map(({ path: at }) => at) };
}

const invalid = (...paths: string[]) => ({ status: 400, code: 'INVALID_REQUEST', paths });

describe('POST /networks', () => {
  const rows: [what: string, body: object, expected: object][] = [
    ['no range', { name: 'x' }, invalid('cidr')],
    ['a range that is none', { name: 'x', cidr: '10.70.0.0' }, invalid('cidr')],
    ['a range with host bits', { name: 'x', cidr: '10.70.0.1/24' }, invalid('cidr')],
    ['a prefix that is too long', { name: 'x', cidr: '10.70.0.0/31' }, invalid('cidr')],
    ['a range of the loopback', { name: 'x', cidr: '127.1.0.0/16' }, invalid('cidr')],
    ['a range of multicast', { name: 'x', cidr: '224.1.0.0/16' }, invalid('cidr')],
    ['IPv6 as IPv4', { name: 'x', cidr: 'fd00:70::/64' }, invalid('cidr')],
    ['IPv4 as IPv6', { name: 'x', cidr6: '10.70.0.0/24' }, invalid('cidr6')],
    [
      'a gateway outside of the range',
      { name: 'x', cidr: '10.70.0.0/24', gateway: '10.71.0.1' },
      invalid('gateway'),
    ],
    [
      'a gateway that is the broadcast address',
      { name: 'x', cidr: '10.70.0.0/24', gateway: '10.70.0.255' },
      invalid('gateway'),
    ],
    ['a name with a slash', { name: 'a/b', cidr: '10.70.0.0/24' }, invalid('name')],
    ['no name', { cidr: '10.70.0.0/24' }, invalid('name')],
    ['an unknown field', { name: 'x', cidr: '10.70.0.0/24', colour: 'red' }, invalid('colour')],
    [
      'an unknown isolation mode',
      { name: 'x', cidr: '10.70.0.0/24', isolation_mode: 'some' },
      invalid('isolation_mode'),
    ],
    ['peers without mesh', { name: 'x', cidr: '10.70.0.0/24', peers: ['blue'] }, invalid('peers')],
    [
      'itself as peer',
      { name: 'x', cidr: '10.70.0.0/24', isolation_mode: 'mesh', peers: ['x'] },
      invalid('peers[0]'),
    ],
    [
      'an MTU too small for IPv6',
      { name: 'x', cidr6: 'fd00:70::/64', options: { mtu: 1000 } },
      invalid('options.mtu'),
    ],
    [
      'an unknown driver',
      { name: 'x', cidr: '10.70.0.0/24', driver: 'vxlan' },
      { status: 422, code: 'UNSUPPORTED_DRIVER' },
    ],
    ['a name that exists', { name: 'blue', cidr: '10.70.0.0/24' }, { status: 409, code: 'NETWORK_EXISTS' }],
    [
      'a range that exists',
      { name: 'x', cidr: '10.60.1.0/24' },
      { status: 409, code: 'CIDR_OVERLAP', paths: ['cidr'] },
    ],
    [
      'a range around one',
      { name: 'x', cidr: '10.60.0.0/16' },
      { status: 409, code: 'CIDR_OVERLAP', paths: ['cidr'] },
    ],
    ['a range inside of one', { name: 'x', cidr: '10.60.1.128/25' }, { status: 409, code: 'CIDR_OVERLAP' }],
    [
      'an IPv6 range inside of one',
      { name: 'x', cidr: '10.70.0.0/24', cidr6: 'fd00:60:1::/80' },
      { status: 409, code: 'CIDR_OVERLAP', paths: ['cidr6'] },
    ],
  ];

  it.each(rows)('%s', async (_, body, expected) => {
    expect(await refused('POST', '/networks', body)).toMatchObject(expected);
  });

  it("a range of the node's own interfaces", async () => {
    await site().outside();
    before = await site().state();
    for (const body of [
      { name: 'x', cidr: '198.18.0.0/24' },
      { name: 'x', cidr: '198.18.0.128/25' },
      { name: 'x', cidr: '198.16.0.0/13' },
      { name: 'x', cidr6: 'fd00:198::/64' },
    ]) {
      expect(await refused('POST', '/networks', body)).toMatchObject({ status: 409, code: 'CIDR_OVERLAP' });
    }
  });
});

describe('POST /networks/{name}/containers', () => {
  /** A request of which only one thing is wrong. */
  const good = () => ({ container_id: 'free', netns_path: free.netns.path });
  const rows: [what: string, change: () => object, expected: object][] = [
    ['no container_id', () => ({ container_id: undefined }), invalid('container_id')],
    ['a container_id with a slash', () => ({ container_id: '../etc' }), invalid('container_id')],
    ['no netns_path', () => ({ netns_path: undefined }), invalid('netns_path')],
    ['a relative netns_path', () => ({ netns_path: 'run/netns/x' }), invalid('netns_path')],
    ['an unknown field', () => ({ colour: 'red' }), invalid('colour')],
    [
      'an interface name that is too long',
      () => ({ interface_name: 'a'.repeat(16) }),
      invalid('interface_name'),
    ],
    ['an interface name with a slash', () => ({ interface_name: 'a/b' }), invalid('interface_name')],
    ['the name of the loopback interface', () => ({ interface_name: 'lo' }), invalid('interface_name')],
    ['an interface name with a pattern', () => ({ interface_name: 'eth%d' }), invalid('interface_name')],
    ['the name of a folder of sysctls', () => ({ interface_name: 'all' }), invalid('interface_name')],
    ['the name of the other one', () => ({ interface_name: 'default' }), invalid('interface_name')],
    ['an address outside of the range', () => ({ ip_address: '10.70.0.9' }), invalid('ip_address')],
    ['the address of the gateway', () => ({ ip_address: '10.60.1.1' }), invalid('ip_address')],
    ['the broadcast address', () => ({ ip_address: '10.60.1.255' }), invalid('ip_address')],
    ['a multicast MAC address', () => ({ mac_address: '01:00:5e:00:00:01' }), invalid('mac_address')],
    ['a label that is none', () => ({ labels: { 'a b': 'c' } }), invalid('labels["a b"]')],
    ['an address in use', () => ({ ip_address: '10.60.1.2' }), { status: 409, code: 'ADDRESS_IN_USE' }],
    [
      'a path that is missing',
      () => ({ netns_path: join(scratch, 'missing') }),
      { status: 422, code: 'NETNS_INVALID' },
    ],
    [
      'a path that is a file',
      () => ({ netns_path: join(scratch, 'file') }),
      { status: 422, code: 'NETNS_INVALID' },
    ],
    ['a path that is a folder', () => ({ netns_path: scratch }), { status: 422, code: 'NETNS_INVALID' }],
    [
      'a path that is a pipe nobody writes to',
      () => ({ netns_path: join(scratch, 'fifo') }),
      { status: 422, code: 'NETNS_INVALID' },
    ],
    ['a path that is a device', () => ({ netns_path: '/dev/zero' }), { status: 422, code: 'NETNS_INVALID' }],
    [
      'a namespace of another kind',
      () => ({ netns_path: '/proc/self/ns/mnt' }),
      { status: 422, code: 'NETNS_INVALID' },
    ],
    [
      'a process that has ended',
      () => ({ netns_path: '/proc/4194304/ns/net' }),
      { status: 422, code: 'NETNS_INVALID' },
    ],
    [
      'the namespace of the node',
      () => ({ netns_path: `/proc/${site().daemon.pid}/ns/net` }),
      { status: 422, code: 'NETNS_INVALID' },
    ],
    [
      'a container that is connected',
      () => ({ container_id: 'connected' }),
      { status: 409, code: 'ENDPOINT_EXISTS' },
    ],
    [
      'a container that is connected, once more',
      () => ({ container_id: 'connected', netns_path: connected.netns.path }),
      { status: 409, code: 'ENDPOINT_EXISTS' },
    ],
    [
      'an interface that the container has',
      () => ({ netns_path: connected.netns.path }),
      { status: 409, code: 'INTERFACE_EXISTS' },
    ],
  ];

  it.each(rows)('%s', async (_, change, expected) => {
    const body = { ...good(), ...change() };
    expect(await refused('POST', '/networks/blue/containers', body)).toMatchObject(expected);
  });

  it('an unknown network', async () => {
    const expected = { status: 404, code: 'NETWORK_NOT_FOUND' };
    expect(await refused('POST', '/networks/green/containers', good())).toMatchObject(expected);
  });

  it('a network without a free address', async () => {
    const expected = { status: 409, code: 'POOL_EXHAUSTED' };
    expect(await refused('POST', '/networks/tiny/containers', good())).toMatchObject(expected);
  });

  it('an IPv6 address on a network without IPv6', async () => {
    await site().rest.createNetwork({ name: 'four', cidr: '10.62.0.0/24' });
    before = await site().state();
    const body = { ...good(), ip6_address: 'fd00::9' };
    expect(await refused('POST', '/networks/four/containers', body)).toMatchObject(invalid('ip6_address'));
  });

  it('a host port that is none', async () => {
    const ports = [{ container_port: 80, host_port: 70000 }];
    const body = { ...good(), ports };
    expect(await refused('POST', '/networks/blue/containers', body)).toMatchObject(
      invalid('ports[0].host_port'),
    );
  });
});

describe('POST /policies', () => {
  const rows: [what: string, spec: object, path: string][] = [
    ['an unknown field', { podSelector: {}, ingres: [] }, 'spec.ingres'],
    [
      'a port that is none',
      { ingress: [{ ports: [{ port: 80 }, { port: 70000 }] }] },
      'spec.ingress[0].ports[1].port',
    ],
    [
      'a range that ends before it begins',
      { egress: [{}, { ports: [{ port: 9, endPort: 8 }] }] },
      'spec.egress[1].ports[0].endPort',
    ],
    [
      'an unknown protocol',
      { ingress: [{ ports: [{ protocol: 'ICMP' }] }] },
      'spec.ingress[0].ports[0].protocol',
    ],
    ['an empty peer', { ingress: [{ from: [{}] }] }, 'spec.ingress[0].from[0]'],
    [
      'an unknown operator',
      { podSelector: { matchExpressions: [{ key: 'a', operator: 'Like', values: ['x'] }] } },
      'spec.podSelector.matchExpressions[0].operator',
    ],
    [
      'In without values',
      { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
      'spec.podSelector.matchExpressions[0].values',
    ],
    ['an unknown type', { policyTypes: ['Sideways'] }, 'spec.policyTypes[0]'],
    [
      'a label that is none',
      { podSelector: { matchLabels: { app: 'a b' } } },
      'spec.podSelector.matchLabels.app',
    ],
    ['rules that are no list', { ingress: {} }, 'spec.ingress'],
  ];

  it.each(rows)('%s', async (_, spec, path) => {
    const body = policyObject({ name: 'bad', spec });
    const answer = await refused('POST', '/policies', body);
    expect(answer).toEqual({ status: 422, code: 'INVALID_POLICY', paths: [path] });
  });

  it('another kind of object', async () => {
    const body = { ...policyObject({ name: 'bad', spec: {} }), kind: 'Pod' };
    expect(await refused('POST', '/policies', body)).toMatchObject({ status: 422, paths: ['kind'] });
  });

  it('a policy that replaces a good one leaves it in force', async () => {
    const spec = { podSelector: {}, policyTypes: ['Ingress'] };
    await site().rest.apply({ name: 'deny', spec });
    before = await site().state();
    const other = await site().container('other', 'blue');
    before = await site().state();
    const bad = policyObject({ name: 'deny', spec: { ...spec, ingress: [{ ports: [{ port: -1 }] }] } });
    expect(await refused('POST', '/policies', bad)).toMatchObject({ status: 422 });
    expect(await unlike('blocked', 4, [other, connected])).toEqual([]);
  });
});

it('PUT /namespaces/{name}: a label more than there is room for beside its name', async () => {
  const labels = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`k${index}`, 'v']));
  expect(await refused('PUT', '/namespaces/full', { labels })).toMatchObject(invalid('labels'));
  await site().rest.setNamespace('full', Object.fromEntries(Object.entries(labels).slice(1)));
});

describe('bodies and paths', () => {
  it('no JSON', async () => {
    for (const body of ['', '{', '{"name":', 'name: x', '[1,', '\0']) {
      expect(await refused('POST', '/networks', body)).toMatchObject({ status: 400, code: 'INVALID_JSON' });
    }
  });

  it('JSON that is no object', async () => {
    for (const body of ['[]', '"x"', '1', 'null', 'true']) {
      expect(await refused('POST', '/networks', body)).toMatchObject({
        status: 400,
        code: 'INVALID_REQUEST',
      });
    }
  });

  it('2 MB', async () => {
    const body = { name: 'x', cidr: '10.70.0.0/24', labels: { a: 'x'.repeat(2 << 20) } };
    const expected = { status: 413, code: 'PAYLOAD_TOO_LARGE' };
    expect(await refused('POST', '/networks', body)).toMatchObject(expected);
    expect(await refused('POST', '/policies', body)).toMatchObject(expected);
  });

  it('another content type', async () => {
    const expected = { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' };
    const headers = { 'content-type': 'text/plain' };
    expect(await refused('POST', '/networks', '{}', headers)).toMatchObject(expected);
  });

  it('a part of the path that is longer than any name', async () => {
    const path = `/networks/${'a'.repeat(5000)}`;
    expect(await refused('GET', path)).toMatchObject({ status: 400, code: 'INVALID_REQUEST' });
  });

  it('an id that only Number() takes for one', async () => {
    const request = { network: 'blue', container_id: 'connected', container_port: 80 };
    const { id } = await site().rest.expect<{ id: number }>('POST', '/nat/port-mappings', request);
    before = await site().state();
    for (const text of [`${id}e0`, `0x${id.toString(16)}`, `0${id}`, `%20${id}`, `+${id}`, `${id}.0`, '']) {
      expect([text, await refused('DELETE', `/nat/port-mappings/${text}`)]).toEqual([text, invalid('id')]);
    }
    for (const text of ['0x10', '1e2', '%201', '']) {
      expect(await refused('GET', `/nat/connections?limit=${text}`)).toEqual(invalid('limit'));
      expect(await refused('GET', `/nat/connections?port=${text}`)).toEqual(invalid('port'));
      expect(await refused('GET', `/flows?limit=${text}`)).toEqual(invalid('limit'));
      expect(await refused('GET', `/firewall/deny-list?limit=${text}`)).toEqual(invalid('limit'));
    }
  });

  it('what is not there', async () => {
    const rows = [
      ['GET', '/nothing', 'NOT_FOUND'],
      ['GET', '/networks/green', 'NETWORK_NOT_FOUND'],
      ['DELETE', '/networks/green', 'NETWORK_NOT_FOUND'],
      ['GET', '/networks/green/containers', 'NETWORK_NOT_FOUND'],
      ['GET', '/networks/blue/containers/free', 'CONTAINER_NOT_FOUND'],
      ['DELETE', '/networks/blue/containers/free', 'CONTAINER_NOT_FOUND'],
      ['GET', '/policies/default/none', 'POLICY_NOT_FOUND'],
      ['DELETE', '/policies/default/none', 'POLICY_NOT_FOUND'],
      ['GET', '/namespaces/none', 'NAMESPACE_NOT_FOUND'],
      ['DELETE', '/namespaces/none', 'NAMESPACE_NOT_FOUND'],
    ] as const;
    for (const [method, path, code] of rows) {
      expect([path, await refused(method, path)]).toMatchObject([path, { status: 404, code }]);
    }
  });

  it('a patch of a container that is not there, and one without a change', async () => {
    const path = '/networks/blue/containers/free';
    expect(await refused('PATCH', path, { labels: {} })).toMatchObject({
      status: 404,
      code: 'CONTAINER_NOT_FOUND',
    });
    expect(await refused('PATCH', '/networks/blue/containers/connected', {})).toMatchObject({ status: 400 });
    const patch = { labels: { 'a b': '' } };
    expect(await refused('PATCH', '/networks/blue/containers/connected', patch)).toMatchObject({
      status: 400,
    });
  });
});

describe('what is in use', () => {
  it('a network with containers is not deleted', async () => {
    expect(await refused('DELETE', '/networks/blue')).toMatchObject({ status: 409, code: 'NETWORK_IN_USE' });
    const other = await site().container('other', 'blue');
    expect(await unlike('open', 4, [other, '10.60.1.2'])).toEqual([]);
  });

  it('a namespace with endpoints is not deleted', async () => {
    await connected.relabel({ namespace: 'prod' });
    await site().rest.setNamespace('prod', { team: 'ops' });
    before = await site().state();
    const expected = { status: 409, code: 'NAMESPACE_IN_USE' };
    expect(await refused('DELETE', '/namespaces/prod')).toMatchObject(expected);
  });
});

it('hundreds of bad requests leave no descriptor open', async () => {
  const descriptors = () => readdirSync(`/proc/${site().daemon.pid}/fd`).length;
  const ask = async () => {
    await refused('POST', '/networks/green/containers', { container_id: 'x', netns_path: free.netns.path });
    await refused('POST', '/networks/blue/containers', {
      container_id: 'x',
      netns_path: '/proc/self/ns/mnt',
    });
    await refused('POST', '/networks/tiny/containers', { container_id: 'x', netns_path: free.netns.path });
  };
  await ask();
  const count = descriptors();
  for (let round = 0; round < 50; round++) await ask();
  expect(descriptors()).toBeLessThanOrEqual(count + 5);
  expect(existsSync(`/proc/${site().daemon.pid}`)).toBe(true);
});

it('other users may not use the API on loopback, and root may', async () => {
  const body = { name: 'x', cidr: '10.70.0.0/24' };
  const nobody = site().daemon.loopback(9443, [
    'setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
  ]);
  for (const [method, path, content] of [
    ['GET', '/networks', undefined],
    ['POST', '/networks', body],
    ['DELETE', '/networks/blue', undefined],
  ] as const) {
    const answer = await nobody.call(method, path, content);
    expect([answer.status, errorOf(answer).code]).toEqual([403, 'FORBIDDEN']);
  }
  expect(await site().state()).toEqual(before);
  expect((await nobody.call('GET', '/healthz')).status).toBe(200);
  const root = site().daemon.loopback();
  expect((await root.call('GET', '/networks/blue')).status).toBe(200);
  expect((await root.call('GET', '/networks', undefined, { host: 'evil.example' })).status).toBe(403);
});
