// What has to hold on every kernel: the promises in the order in which a user meets them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { Container } from './container.mjs';
import { Daemon, request, requestText } from './daemon.mjs';

const OPEN = 8080;
const CLOSED = 8081;
const COUNTED = 8082;
/** Bits a second that an emulated CPU sends without effort, and how near to them the limits are to be kept. */
const LIMIT = 2_000_000;
/** Bits: what an emulated CPU may miss while the real one does something else, and make up for. */
const BURST = 512_000;
const WITHIN = 0.05;
/** Packets that the queue of that limit has room for: one for each 256 bytes, and some to spare. */
const QUEUE_PACKETS = 1024 + 64;
/** Bits a second: an emulated CPU sends many more of the smallest datagrams than that. */
const TINY_LIMIT = 200_000;
/** Bytes: more than waits, of the smallest. */
const TINY = { payload: 18, after: 100_000, over: 200_000, limitMs: 60_000 };
const ATTEMPTS = 3;
/** Bytes: after a bucket is empty and TCP has found its pace, many times a large packet of the kernel (64 KiB). */
const MEASURED = { after: 320_000, over: 2_500_000, limitMs: 60_000 };
/** Kernels with TCX links: there the container's own queue goes by departure times, too. */
const [MAJOR, MINOR] = release().split('.').map(Number);
const HAS_TCX = MAJOR > 6 || (MAJOR === 6 && MINOR >= 6);
/** An emulated CPU is slow: what is expected to work may take this long ... */
const PATIENCE_MS = 30_000;
/** ... and what is still silent after this has been dropped. */
const SILENCE_MS = 3_000;

/** Datagrams: more than the buffer of a socket holds, and than waits for a slow receiver. */
const MANY = 500;
const SLOW = { ingress_rate: 1_000 };

const NETWORK = { name: 'lab', cidr: '10.77.0.0/16', cidr6: 'fd77::/64' };
const PORTS = [
  ...['TCP', 'UDP'].map((protocol) => ({ protocol, port: OPEN })),
  ...['TCP', 'UDP'].map((protocol) => ({ protocol, port: COUNTED })),
];
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
let clientAddress;
/** A container with limits of bandwidth, and its endpoint. */
let limited;
let limitedEndpoint;

async function join(container, options) {
  const body = {
    container_id: container.name,
    netns_path: container.path,
    labels: { app: container.name },
    ...(options === undefined ? {} : { options }),
  };
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

/** What tc tells of the queues of the limited container: on the host's side, and on its own. */
function queues() {
  const show = ['/bin/tc', '-s', 'qdisc', 'show', 'dev']; // by its path, since busybox has a lesser one
  const inside = ['nsenter', `--net=${limited.path}`, ...show, limitedEndpoint.interface_name];
  return [[...show, limitedEndpoint.host_interface], inside].map(([program, ...args]) =>
    execFileSync(program, args, { encoding: 'utf8' }),
  );
}

function expectQueues(kinds) {
  const found = queues();
  assert.deepEqual(
    found.map((text) => text.split(' ')[1]),
    kinds,
  );
  // Of the smallest packets no more wait than there is memory meant for; a token bucket inside counts bytes.
  for (const [side, text] of found.entries()) {
    if (side === 0 || kinds[side] === 'fq') assert.match(text, new RegExp(` limit ${QUEUE_PACKETS}p`), text);
  }
}

/** How often the queue has let a packet wait for its time. */
function waits(text) {
  return Math.max(0, ...[...text.matchAll(/throttled (\d+)/g)].map(([, count]) => Number(count)));
}

/** An emulated CPU that stands still makes it less, and nothing makes it more: so more than once where it was less. */
async function expectLimit(protocol, sender, receiver, address) {
  let share = 0;
  for (let attempt = 1; share < 1 - WITHIN && attempt <= ATTEMPTS; attempt += 1) {
    const measured = receiver.rate(MEASURED);
    await sender.flood(protocol, address, COUNTED);
    share = (await measured) / LIMIT;
    console.log(`${protocol} from ${sender.name}: ${share.toFixed(4)} of the limit`);
    await sender.calm();
  }
  assert.ok(Math.abs(share - 1) < WITHIN, `${protocol} from ${sender.name}: ${share} of the limit`);
}

/** What the limited container has sent faster than it may. */
async function cutPackets() {
  const wanted = [`container_id="${limited.name}"`, 'reason="BANDWIDTH_EGRESS"'];
  return (await requestText('/metrics'))
    .split('\n')
    .filter(
      (line) => line.startsWith('quantum_packets_total{') && wanted.every((part) => line.includes(part)),
    )
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
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
    'three namespaces join a network, one with limits of bandwidth by token buckets',
    async () => {
      client = new Container('client');
      server = new Container('server');
      await request('POST', '/networks', NETWORK);
      const endpoints = [await join(server), await join(client)];
      const bandwidth = {
        ingress_rate: LIMIT,
        ingress_burst: BURST,
        egress_rate: LIMIT,
        egress_burst: BURST,
      };
      limited = new Container('limited');
      limitedEndpoint = await join(limited, { bandwidth });
      expectQueues(['tbf', 'tbf']);
      addresses = [endpoints[0].ip_address, endpoints[0].ip6_address];
      clientAddress = endpoints[1].ip_address;
      hostInterfaces = [...endpoints, limitedEndpoint].map((endpoint) => endpoint.host_interface);
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
      for (const module of readFileSync('/modules.late', 'utf8').trim().split('\n'))
        execFileSync('insmod', [module]);
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
    'a kernel that has gained departure times keeps limits by them from the next start on',
    async () => expectQueues(['fq', HAS_TCX ? 'fq' : 'tbf']),
  ],
  ...['tcp', 'udp'].flatMap((protocol) => [
    [
      `what a container is sent by ${protocol} keeps within 5 % of its limit by departure times`,
      async () => {
        const before = waits(queues()[0]);
        await limited.sink(protocol, COUNTED);
        await expectLimit(protocol, client, limited, limitedEndpoint.ip_address);
        assert.ok(waits(queues()[0]) > before, 'nothing has waited');
      },
    ],
    [
      `what a container sends by ${protocol} keeps within 5 % of its limit${HAS_TCX ? ' by departure times' : ''}`,
      async () => {
        const before = waits(queues()[1]);
        await client.sink(protocol, COUNTED);
        await expectLimit(protocol, limited, client, clientAddress);
        assert.equal(waits(queues()[1]) > before, HAS_TCX, 'what has waited');
      },
    ],
  ]),
  [
    'the smallest datagrams come to the limit, however many there are, and the queue drops none',
    async () => {
      await request('PATCH', `/networks/${NETWORK.name}/containers/${limited.name}`, {
        options: { bandwidth: { ingress_rate: TINY_LIMIT } },
      });
      const measured = limited.rate(TINY);
      await client.flood('udp', limitedEndpoint.ip_address, COUNTED, TINY.payload);
      const share = (await measured) / TINY_LIMIT;
      await client.calm();
      console.log(`the smallest datagrams: ${share.toFixed(4)} of the limit`);
      assert.ok(share > 0.9, `${share} of the limit`);
      assert.match(queues()[0], /dropped 0,/);
    },
  ],
  [
    'with a low limit that says nothing of bursts nothing is lost of what TCP sends in large pieces',
    async () => {
      await request('PATCH', `/networks/${NETWORK.name}/containers/${limited.name}`, {
        options: { bandwidth: { egress_rate: LIMIT / 2 } },
      });
      const before = await cutPackets();
      await client.sink('tcp', COUNTED);
      const measured = client.rate({ ...MEASURED, over: 640_000 });
      await limited.flood('tcp', clientAddress, COUNTED);
      assert.ok((await measured) > 0, 'nothing more came');
      await limited.calm();
      assert.equal((await cutPackets()) - before, 0);
    },
  ],
  [
    'a limit that ends takes its queues away',
    async () => {
      const body = { options: { bandwidth: {} } };
      await request('PATCH', `/networks/${NETWORK.name}/containers/${limited.name}`, body);
      assert.doesNotMatch(queues().join(''), /^qdisc (fq|tbf) /m);
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
      for (const { name } of [client, server, limited])
        await request('DELETE', `/networks/${NETWORK.name}/containers/${name}`);
      await request('DELETE', `/networks/${NETWORK.name}`);
      for (const name of hostInterfaces) assert.ok(!readdirSync('/sys/class/net').includes(name), name);
    },
  ],
];
