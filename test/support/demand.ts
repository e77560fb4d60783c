/**
 * What the records of the store demand of the node, a line for each thing: presence.ts tells in the same words what
 * the node has. Neither knows how the node came to be as it is.
 */
import { join } from 'node:path';
import { gatewayMac } from '../../src/bridge/mac.js';
import { networkMtu } from '../../src/bridge/network-device.js';
import { queueKinds } from '../../src/bridge/queue-kinds.js';
import { conflistText, hasConflist } from '../../src/cni/conflist.js';
import { BandwidthDeparture, Direction } from '../../src/datapath/abi/generated.js';
import { findCgroupRoot } from '../../src/datapath/hooks/cgroup-root.js';
import { SOCKET_PROGRAMS } from '../../src/datapath/hooks/socket-hooks.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import type { PolicyDelta } from '../../src/firewall/types.js';
import { formatCidr } from '../../src/model/address.js';
import { type Endpoint, stagedInterface } from '../../src/model/endpoint.js';
import type { Network } from '../../src/model/network.js';
import { CGROUP_ROOT_AUTO } from '../../src/model/settings.js';
import { type FrontendState, targetText } from '../../src/nat/frontend.js';
import type { Reader } from '../../src/store/store.js';
import {
  attachments,
  cidrNumbers,
  denyParts,
  endpoints,
  identities,
  type NumberTable,
  namespaces,
  networks,
  portNames,
  ruleKeys,
  ruleText,
  services,
} from '../../src/store/tables.js';
import { endpointState } from '../../src/vnet/endpoints/endpoint-state.js';
import { limitsOf } from '../../src/vnet/endpoints/limits.js';
import { takenRanges } from '../../src/vnet/host-prefixes.js';
import { addressesOf } from '../../src/vnet/nat/published.js';
import { Publishing } from '../../src/vnet/nat/publishing.js';
import { storedPolicies } from '../../src/vnet/policy/policies.js';
import { encodeDelta } from '../../src/vnet/policy/policy-encoding.js';
import { finish } from '../../src/work/steps.js';
import type { Daemon } from './daemon.js';
import type { TestNetns } from './netns.js';
import {
  deniedLine,
  frontendLine,
  limitLine,
  namedPortLine,
  queueLine,
  rangeLine,
  ruleLine,
  subjectLine,
} from './presence.js';

/** Of the containers, only those given are looked into. */
export async function demandOf(
  records: Reader,
  daemon: Daemon,
  containers: readonly TestNetns[],
): Promise<string[]> {
  const hooks = 'path' in findCgroupRoot(CGROUP_ROOT_AUTO) ? SOCKET_PROGRAMS : [];
  return [
    ...hooks.map((name) => `pin links/${name}`),
    ...records.list(networks).flatMap((network) => demandOfNetwork(network, daemon)),
    ...records.list(endpoints).flatMap((endpoint) => demandOfEndpoint(endpoint, records, containers)),
    ...demandOfPolicies(records),
    ...(await frontendsOf(records)).map((one) => frontendLine(one, one.backends.map(targetText))),
    ...records
      .list(services)
      .flatMap(addressesOf)
      .map((address) => `prefix ${address}/${address.includes(':') ? 128 : 32} of services`),
    ...records.list(denyParts).flatMap(({ cidrs }) => cidrs.map(deniedLine)),
    ...new Set(
      takenRanges(records.list(networks), daemon.netns.net.rtnl.addresses()).map(
        (range) => `prefix ${formatCidr(range)} of the node`,
      ),
    ),
  ];
}

function demandOfNetwork(network: Network, daemon: Daemon): string[] {
  const { id, name, bridge_interface: bridge } = network;
  const file = conflistText(name, { socket: join(daemon.path('run'), 'cni.sock'), version: '1.0.0' });
  const families = [
    { cidr: network.cidr, gateway: network.gateway },
    { cidr: network.cidr6, gateway: network.gateway6 },
  ];
  return [
    `interface ${bridge} ${gatewayMac(id)} true ${networkMtu(network)} quantum:network:${id}`,
    ...(hasConflist(network) ? [`file ${name}.conflist ${file}`] : []),
    ...families.flatMap(({ cidr, gateway }) => {
      if (cidr === undefined) return [];
      return [
        `address ${bridge} ${gateway}/${cidr.split('/')[1]}`,
        `route unreachable ${cidr}`,
        `prefix ${cidr} of network ${id}`,
      ];
    }),
  ];
}

function demandOfEndpoint(endpoint: Endpoint, records: Reader, containers: readonly TestNetns[]): string[] {
  const { id, network_id, identity, host_interface: host, mac_address: mac } = endpoint;
  const network = records.get(networks, [endpoint.network]);
  const isStaged = records.get(attachments, [id])?.staged_key !== undefined;
  const isKnown = endpoint.state === 'ready';
  if (!isKnown && !isStaged) return [`endpoint ${id} in a state other than ${endpoint.state}`];
  if (network === undefined) return [`network ${endpoint.network} of endpoint ${id}`];
  const families = [
    { ip: endpoint.ip_address, cidr: network.cidr, bits: 32 },
    { ip: endpoint.ip6_address, cidr: network.cidr6, bits: 128 },
  ].flatMap(({ ip, cidr, bits }) =>
    ip === undefined || cidr === undefined ? [] : [{ ip, bits, length: cidr.split('/')[1] }],
  );
  // What is made before its container waits in the node: no test of ours takes it along.
  const isSeen = !isStaged && containers.some(({ path }) => path === endpoint.netns_path);
  const inside = `${endpoint.netns_path} ${endpoint.interface_name}`;
  const ips = families.map(({ ip }) => ip).join(' ');
  const { egress, ingress, departure } = limitsOf(endpoint, network);
  const kinds = queueKinds();
  return [
    ...(ingress === undefined ? [] : [queueLine(host, kinds.host, ingress.rate)]),
    ...(egress === undefined || !isSeen ? [] : [queueLine(inside, kinds.container, egress.rate)]),
    ...(isKnown && egress !== undefined ? [limitLine(id, Direction.EGRESS)] : []),
    ...(isKnown && ingress !== undefined ? [limitLine(id, Direction.INGRESS)] : []),
    ...(isKnown && departure !== undefined ? [limitLine(id, BandwidthDeparture.DEPARTURE)] : []),
    `interface ${host} * true ${networkMtu(network)} quantum:endpoint:${id}`,
    `pin links/${host}_from_container`,
    `pin links/${host}_to_container`,
    `pin links/${host}_leave_container`,
    ...(isStaged ? [`interface ${stagedInterface(id)} ${mac} false ${networkMtu(network)} undefined`] : []),
    ...(isKnown
      ? [
          `entry of ${host}: endpoint ${id} network ${network_id} identity ${identity} ${mac} ${gatewayMac(network_id)} ${ips}`,
          ...endpointState(records, endpoint, network, 0).namedPorts.map((port) => namedPortLine(id, port)),
        ]
      : []),
    ...families.flatMap(({ ip, bits, length }) => [
      `route ${ip}/${bits} via undefined dev ${host}`,
      `neighbour ${ip} ${mac} dev ${host}`,
      ...(isKnown ? [`entry of ${ip} in network ${network_id}: ${host} endpoint ${id}`] : []),
      ...(isSeen ? [`container address ${inside} ${ip}/${length}`] : []),
    ]),
    ...(isSeen ? [`container interface ${inside} ${mac} true ${networkMtu(network)}`] : []),
  ];
}

/** What a compiler that has never seen another state makes of the records. */
function demandOfPolicies(records: Reader): string[] {
  const engine = new PolicyEngine();
  for (const network of records.list(networks)) engine.upsertNetwork(network);
  for (const namespace of records.list(namespaces)) engine.setNamespace(namespace);
  for (const identity of records.list(identities)) engine.upsertIdentity(identity);
  for (const policy of storedPolicies(records)) engine.upsertPolicy(policy);
  const { entries, subjects, cidrs } = engine.snapshot();
  const everything: PolicyDelta = {
    set: entries,
    delete: [],
    subjects: { set: subjects, delete: [] },
    cidrs: { set: cidrs, delete: [] },
  };
  const numbersIn = (table: NumberTable) =>
    new Map(records.list(table).map(({ text, number }) => [text, number]));
  const change = finish(
    encodeDelta(everything, {
      rules: new Map(entries.map(({ rule }) => [rule, records.get(ruleKeys, [ruleText(rule)])?.cookie ?? 0])),
      names: numbersIn(portNames),
      cidrs: numbersIn(cidrNumbers),
    }),
  );
  return [
    ...change.set.map(({ key, decision }) => ruleLine(key, decision)),
    ...change.subjects.set.map(({ identity, slot }) => subjectLine(identity, slot)),
    ...change.cidrs.set.map((range) => rangeLine(range, range.cidrClass)),
  ];
}

/** What port mappings and services ask for where nobody has ever asked before. */
async function frontendsOf(records: Reader): Promise<readonly FrontendState[]> {
  let asked: readonly FrontendState[] = [];
  const frontends = {
    sync: async (wanted: readonly FrontendState[]) => {
      asked = wanted;
    },
    change: async () => undefined,
    isInForce: () => true,
  };
  await new Publishing(records, frontends).start();
  return asked;
}
