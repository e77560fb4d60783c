/**
 * A client and a server, connected in three ways: by us, with a policy in force; by Debian's CNI plugin `bridge`,
 * without any; and by nothing but a pair of interfaces, the limit of what two namespaces can do.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createVethPair, Netns } from '../../dist/netns/index.js';
import { namedNamespaces } from './node.mjs';

export const CNI_PLUGINS = '/usr/lib/cni';
/** Of the servers: iperf3, sockperf and traffic.c. */
export const PORTS = { throughput: 5201, latency: 11111, traffic: 7000 };

/** @returns {Promise<{name: string, client: Netns, server: Netns, address: {4: string, 6: string}}>} */
export async function ourSite(cleanup, node) {
  const { rest } = node;
  await rest.call('POST', '/networks', { name: 'bench', cidr: '198.18.0.0/24', cidr6: 'fd00:be:1::/64' });
  for (const policy of policies()) await rest.call('POST', '/policies', policy);
  const [server, client] = await Promise.all(['server', 'client'].map((app) => connect(cleanup, rest, app)));
  const { ip_address, ip6_address } = server.endpoint;
  return {
    name: 'ours',
    client: client.netns,
    server: server.netns,
    address: { 4: ip_address, 6: ip6_address },
  };
}

async function connect(cleanup, rest, app) {
  const [path] = namedNamespaces(cleanup, 1, app);
  const netns = Netns.open(path);
  cleanup.add(() => netns.close());
  const endpoint = await rest.call('POST', '/networks/bench/containers', {
    container_id: app,
    netns_path: path,
    labels: { app },
  });
  return { netns, endpoint };
}

/** The network denies everything; these open the ports that are measured, at both ends. */
function policies() {
  const ports = Object.values(PORTS).map((port) => ({ protocol: 'TCP', port }));
  const select = (app) => ({ podSelector: { matchLabels: { app } } });
  const policy = (name, spec) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec,
  });
  return [
    policy('server', { ...select('server'), ingress: [{ from: [select('client')], ports }] }),
    policy('client', {
      ...select('client'),
      policyTypes: ['Egress'],
      egress: [{ to: [select('server')], ports }],
    }),
  ];
}

export function bridgeSite(cleanup, node) {
  const configuration = bridgeConfiguration(node, 'qbdata', ['198.19.0.0/24', 'fd00:be:2::/64']);
  const [server, client] = ['server', 'client'].map((name) => {
    const [path] = namedNamespaces(cleanup, 1, `bridge-${name}`);
    const netns = Netns.open(path);
    cleanup.add(() => netns.close());
    const call = (command) =>
      node.netns.run(() =>
        execFileSync(join(CNI_PLUGINS, 'bridge'), {
          input: JSON.stringify(configuration),
          env: {
            CNI_COMMAND: command,
            CNI_CONTAINERID: name,
            CNI_NETNS: path,
            CNI_IFNAME: 'eth0',
            CNI_PATH: CNI_PLUGINS,
          },
        }),
      );
    const { ips } = JSON.parse(call('ADD'));
    cleanup.add(() => call('DEL'));
    return { netns, addresses: ips.map(({ address }) => address.split('/')[0]) };
  });
  const [ip4, ip6] = server.addresses;
  return { name: 'bridge', client: client.netns, server: server.netns, address: { 4: ip4, 6: ip6 } };
}

/** The configuration of the plugin `bridge`, with a range for each family that is wanted. */
export function bridgeConfiguration(node, bridge, subnets) {
  const dataDir = join(node.directory, bridge);
  mkdirSync(dataDir, { recursive: true });
  return {
    cniVersion: '1.0.0',
    name: bridge,
    type: 'bridge',
    bridge,
    isGateway: true,
    ipam: {
      type: 'host-local',
      dataDir,
      ranges: subnets.map((subnet) => [{ subnet }]),
      routes: subnets.map((subnet) => ({ dst: subnet.includes(':') ? '::/0' : '0.0.0.0/0' })),
    },
  };
}

export function bareSite(cleanup) {
  const [server, client] = [Netns.create(), Netns.create()];
  cleanup.add(() => {
    server.close();
    client.close();
  });
  const end = (netns, host) => ({
    netns,
    name: 'eth0',
    addresses: [`198.18.9.${host}/24`, `fd00:be:3::${host}/64`],
  });
  createVethPair(end(server, 1), end(client, 2));
  return { name: 'bare veth', client, server, address: { 4: '198.18.9.1', 6: 'fd00:be:3::1' } };
}
