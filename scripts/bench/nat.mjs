/**
 * Between a container and a host outside, through the node: the container's connections under the node's address, and
 * those from outside to a port of the node that leads to the container. Beside a node that forwards and has nftables
 * translate, without any policy; and beside one that forwards alone, which is as fast as the kernel's own way through a
 * node can be.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { gatewayMac } from '../../dist/bridge/mac.js';
import { createVethPair, Netns } from '../../dist/netns/index.js';
import { Cleanup } from './cleanup.mjs';
import { Node, namedNamespaces } from './node.mjs';
import { FAR, FAR_BITS, openings } from './openings.mjs';
import { compile } from './processes.mjs';
import { PORTS } from './sites.mjs';
import { compareSites, serve } from './traffic.mjs';

/** Of nodes whose flows are many, and all of one container. */
export const SETTINGS = {
  'flows-per-endpoint': 0,
  'inbound-flows': 0,
  'inbound-new-per-second': 0,
};
const OTHER = 'nftables';
const LIMIT = 'forwarding';
const GOALS = {
  throughput: { [OTHER]: '>= 1' },
  connections: { [OTHER]: '>= 1.2' },
};
const NODE = { 4: '198.19.8.1', 6: 'fd00:be:8::1' };
export const WORLD = { 4: '198.19.8.2', 6: 'fd00:be:8::2' };
const GATEWAY = { 4: '198.19.9.1', 6: 'fd00:be:9::1' };
const CONTAINER = { 4: '198.19.9.2', 6: 'fd00:be:9::2' };

export function nat({ rounds, seconds }) {
  return Cleanup.during(async (cleanup) => {
    const node = new Node(cleanup, { ...SETTINGS, uplink: 'uplink' });
    const ours = await ourNode(cleanup, node);
    const sites = [ours, nftNode(cleanup), plainNode(cleanup)];
    const tool = compile('traffic', node.directory);
    for (const { container, outside } of sites) {
      await serve(cleanup, container, tool);
      await serve(cleanup, outside, tool);
    }
    const options = { rounds, seconds, tool };
    const out = ({ name, container, outside }) => ({
      name,
      client: container,
      server: outside,
      address: WORLD,
    });
    const back = ({ name, container, outside, address }) => ({
      name,
      client: outside,
      server: container,
      address,
    });
    const programs = { rounds, directory: node.directory };
    return [
      ...(await compareSites('masquerade', sites.map(out), GOALS, options)),
      ...(await compareSites('port mapping', sites.map(back), GOALS, options)),
      ...(await openings('masquerade', sites, GOALS.connections, programs)),
      ...(await openings('port mapping', sites, GOALS.connections, programs)),
    ];
  });
}

/** Another host, which knows nothing of containers, unless it has routes to them. */
function outsideOf(cleanup, node, routes = []) {
  const outside = Netns.create();
  cleanup.add(() => outside.close());
  const end = (netns, name, address) => ({
    netns,
    name,
    addresses: [`${address[4]}/24`, `${address[6]}/64`],
  });
  createVethPair(end(node, 'uplink', NODE), { ...end(outside, 'eth0', WORLD), routes });
  const { index } = node.link('uplink');
  const { mac } = outside.link('eth0');
  for (const family of [4, 6]) {
    node.rtnl.addRoute({ destination: `${FAR[family]}/${FAR_BITS[family]}`, via: WORLD[family], index });
    node.rtnl.setNeighbour({ index, address: WORLD[family], mac, permanent: true });
  }
  return outside;
}

/** A node of ours that is not started yet, with a container and somebody outside. */
export async function ourNode(cleanup, node) {
  const outside = outsideOf(cleanup, node.netns);
  await node.start();
  const { rest } = node;
  await rest.call('POST', '/networks', {
    name: 'bench',
    cidr: '198.18.0.0/24',
    cidr6: 'fd00:be:1::/64',
    isolation_mode: 'none',
  });
  const [path] = namedNamespaces(cleanup, 1, `nat-${node.name}`);
  const container = Netns.open(path);
  cleanup.add(() => container.close());
  await rest.call('POST', '/networks/bench/containers', { container_id: 'server', netns_path: path });
  for (const port of Object.values(PORTS)) {
    await rest.call('POST', '/nat/port-mappings', {
      network: 'bench',
      container_id: 'server',
      protocol: 'TCP',
      host_port: port,
      container_port: port,
    });
  }
  const macs = { gatewayMac: gatewayMac(1), uplinkMac: node.netns.link('uplink').mac };
  return { name: 'ours', container, outside, address: NODE, ...macs };
}

/** A node that forwards between a container and the outside, as the kernel does. */
function forwardingNode(cleanup, routes) {
  const node = Netns.create();
  const container = Netns.create();
  cleanup.add(() => {
    container.close();
    node.close();
  });
  const outside = outsideOf(cleanup, node, routes);
  createVethPair(
    { netns: node, name: 'host0', addresses: [`${GATEWAY[4]}/24`, `${GATEWAY[6]}/64`] },
    {
      netns: container,
      name: 'eth0',
      addresses: [`${CONTAINER[4]}/24`, `${CONTAINER[6]}/64`],
      routes: [
        { destination: '0.0.0.0/0', via: GATEWAY[4] },
        { destination: '::/0', via: GATEWAY[6] },
      ],
    },
  );
  node.run(() => {
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
    writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', '1');
  });
  const { index } = node.link('host0');
  for (const family of [4, 6]) {
    const { mac } = container.link('eth0');
    node.rtnl.setNeighbour({ index, address: CONTAINER[family], mac, permanent: true });
  }
  const macs = { gatewayMac: node.link('host0').mac, uplinkMac: node.link('uplink').mac };
  return { node, container, outside, ...macs };
}

/** Without translation: either end knows the other by its own address. */
function plainNode(cleanup) {
  const { node: _, ...site } = forwardingNode(cleanup, [
    { destination: '198.19.9.0/24', via: NODE[4] },
    { destination: 'fd00:be:9::/64', via: NODE[6] },
  ]);
  return { name: LIMIT, ...site, address: CONTAINER };
}

function nftNode(cleanup) {
  const { node, ...site } = forwardingNode(cleanup);
  const ports = Object.values(PORTS).join(', ');
  node.run(() => {
    execFileSync('nft', ['-f', '-'], {
      input: `table inet bench {
        chain prerouting {
          type nat hook prerouting priority dstnat;
          iifname uplink meta nfproto ipv4 tcp dport { ${ports} } dnat ip to ${CONTAINER[4]}
          iifname uplink meta nfproto ipv6 tcp dport { ${ports} } dnat ip6 to ${CONTAINER[6]}
        }
        chain postrouting {
          type nat hook postrouting priority srcnat;
          oifname uplink masquerade
        }
      }`,
    });
  });
  return { name: OTHER, ...site, address: NODE };
}
