// What has to hold on every kernel: the promises in the order in which a user meets them.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { Container } from './container.mjs';
import { Daemon, request, requestText } from './daemon.mjs';

const OPEN = 8080;
const CLOSED = 8081;
/** An emulated CPU is slow: what is expected to work may take this long ... */
const PATIENCE_MS = 30_000;
/** ... and what is still silent after this has been dropped. */
const SILENCE_MS = 3_000;

/** Datagrams: more than the buffer of a socket holds, and than waits for a slow receiver. */
const MANY = 500;
const SLOW = { ingress_rate: 1_000 };

const NETWORK = { name: 'lab', cidr: '10.77.0.0/16', cidr6: 'fd77::/64' };
const PORTS = ['TCP', 'UDP'].map((protocol) => ({ protocol, port: OPEN }));
const POLICY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    podSelector: {},
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ from: [{ podSelector: {} }], ports: PORTS }],
    egress: [{ to: [{ podSelector: {} }], ports: PORTS }],
  },
};

const daemon = new Daemon();
let client;
let server;
/** The server's addresses, IPv4 and IPv6. */
let addresses;
let hostInterfaces;

async function join(container) {
  const body = { container_id: container.name, netns_path: container.path, labels: { app: container.name } };
  return request('POST', `/networks/${NETWORK.name}/containers`, body);
}

async function expectPort(port, verdict) {
  for (const address of addresses) {
    const outcome = await client.connect(address, port, verdict === 'open' ? PATIENCE_MS : SILENCE_MS);
    assert.equal(outcome, verdict === 'open' ? 'connected' : 'timeout', `[${address}]:${port}`);
  }
}

async function expectAlive(text) {
  assert.deepEqual(
    await client.echo(text, PATIENCE_MS),
    addresses.map(() => text),
  );
}

async function limitServer(bandwidth) {
  await request('PATCH', `/networks/${NETWORK.name}/containers/server`, { options: { bandwidth } });
}

export const steps = [
  ['the daemon starts and gets ready', () => daemon.start()],
  [
    "the sockets of the node's own processes are led",
    async () => {
      const { node_connect } = await request('GET', '/readyz');
      assert.deepEqual(node_connect, { cgroup: '/sys/fs/cgroup' });
    },
  ],
  [
    'two namespaces join a network',
    async () => {
      client = new Container('client');
      server = new Container('server');
      await request('POST', '/networks', NETWORK);
      const endpoints = [await join(server), await join(client)];
      addresses = [endpoints[0].ip_address, endpoints[0].ip6_address];
      hostInterfaces = endpoints.map((endpoint) => endpoint.host_interface);
      for (const name of hostInterfaces) assert.ok(readdirSync('/sys/class/net').includes(name), name);
      for (const port of [OPEN, CLOSED]) assert.equal(await server.listen(port), 'listening');
    },
  ],
  ['without a policy nothing passes', () => expectPort(OPEN, 'closed')],
  [
    'one policy opens one port and nothing else',
    async () => {
      await request('POST', '/policies', POLICY);
      await expectPort(OPEN, 'open');
      await expectPort(CLOSED, 'closed');
    },
  ],
  [
    'what a slow receiver is sent is cut to its limit, and the socket goes on',
    async () => {
      await limitServer(SLOW);
      for (const address of addresses)
        assert.equal(await client.spray(address, OPEN, MANY, PATIENCE_MS), MANY, address);
      const dropped = /reason="BANDWIDTH_INGRESS".*} ([0-9]+)$/m.exec(await requestText('/metrics'));
      assert.ok(Number(dropped?.[1]) > MANY, dropped?.[0]);
      await limitServer({});
      await expectPort(OPEN, 'open');
    },
  ],
  [
    'connections and rules outlive the daemon',
    async () => {
      for (const address of addresses) {
        assert.equal(await client.open(address, OPEN, PATIENCE_MS), 'connected', address);
      }
      await expectAlive('before');
      await daemon.kill();
      await expectAlive('without the daemon');
      await expectPort(OPEN, 'open');
      await expectPort(CLOSED, 'closed');
    },
  ],
  [
    'a new daemon takes over without an interruption',
    async () => {
      await daemon.start();
      await expectAlive('after');
      await expectPort(OPEN, 'open');
      await expectPort(CLOSED, 'closed');
    },
  ],
  [
    'without the policy the port is closed and the connections are cut',
    async () => {
      await request('DELETE', '/policies/default/web');
      await expectPort(OPEN, 'closed');
      assert.deepEqual(
        await client.echo('cut', SILENCE_MS),
        addresses.map(() => 'timeout'),
      );
    },
  ],
  [
    'leaving removes the interfaces',
    async () => {
      for (const { name } of [client, server])
        await request('DELETE', `/networks/${NETWORK.name}/containers/${name}`);
      await request('DELETE', `/networks/${NETWORK.name}`);
      for (const name of hostInterfaces) assert.ok(!readdirSync('/sys/class/net').includes(name), name);
    },
  ],
];
