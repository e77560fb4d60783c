/** The result of ADD (section 5 of the CNI specification), and what CHECK expects to find in it. */
import { cidrContains, parseAddress, parseCidr } from '../model/address.js';
import type { CniConfiguration, CniResult } from '../model/cni.js';
import type { Endpoint } from '../model/endpoint.js';
import { networkRanges } from '../model/network.js';
import type { Attachment, Inspection } from './ports.js';
import type { RuntimeConfig } from './runtime-config.js';

/** What ADD gave: the result of earlier plugins of the chain, with ours behind it. */
export function addResult(
  attachment: Attachment,
  configuration: CniConfiguration,
  runtime: RuntimeConfig,
): CniResult {
  const { interfaces = [], ips = [], routes = [], dns } = configuration.prevResult ?? {};
  const own = ownInterfaces(attachment);
  // Ours are the host's side and the container's, in this order.
  const containerIndex = interfaces.length + 1;
  return {
    interfaces: [...interfaces, ...own],
    ips: [...ips, ...ownAddresses(attachment).map((ip) => ({ ...ip, interface: containerIndex }))],
    routes: [...routes, ...ownRoutes(attachment)],
    dns: dnsOf(attachment, configuration, runtime) ?? dns ?? {},
  };
}

function ownInterfaces({ endpoint, mtu, host_mac }: Attachment): NonNullable<CniResult['interfaces']> {
  return [
    { name: endpoint.host_interface, ...(host_mac === undefined ? {} : { mac: host_mac }), mtu },
    {
      name: endpoint.interface_name,
      mac: endpoint.mac_address,
      mtu,
      sandbox: endpoint.netns_path,
    },
  ];
}

/** Addresses with the prefix length of the network, and its gateway. */
function ownAddresses({
  endpoint,
  network,
}: Pick<Attachment, 'endpoint' | 'network'>): { address: string; gateway: string }[] {
  return networkRanges(network).flatMap(({ cidr, gateway }) => {
    const address = addressOf(endpoint, cidr.family);
    return address === undefined ? [] : [{ address: `${address}/${cidr.prefixLength}`, gateway }];
  });
}

function addressOf(endpoint: Endpoint, family: 4 | 6): string | undefined {
  return family === 4 ? endpoint.ip_address : endpoint.ip6_address;
}

function ownRoutes({ routes }: Attachment): NonNullable<CniResult['routes']> {
  return routes.map(({ dst, gw }) => ({ dst, ...(gw === undefined ? {} : { gw }) }));
}

/** The runtime's wish, then the configuration's, then the network's. */
function dnsOf(
  { network }: Attachment,
  configuration: CniConfiguration,
  { dns }: RuntimeConfig,
): CniResult['dns'] {
  const { servers, searches, options } = dns ?? {};
  if (servers?.length || searches?.length || options?.length) {
    return {
      ...(servers == null ? {} : { nameservers: servers }),
      ...(searches == null ? {} : { search: searches }),
      ...(options == null ? {} : { options }),
    };
  }
  const configured = configuration.dns;
  return configured !== undefined && Object.keys(configured).length > 0 ? configured : network.dns;
}

/** How the result of the ADD differs from the attachment as it is now: a sentence for each difference. */
export function resultProblems(
  { endpoint, network }: Inspection,
  previous: CniResult,
  netnsPath: string,
): string[] {
  const problems: string[] = [];
  const interfaces = previous.interfaces ?? [];
  const isContainers = (entry: (typeof interfaces)[number]) =>
    entry.name === endpoint.interface_name && entry.sandbox !== undefined && entry.sandbox !== '';

  if (netnsPath !== endpoint.netns_path) {
    problems.push(`CNI_NETNS is ${netnsPath}, the container was attached with ${endpoint.netns_path}`);
  }
  if (!interfaces.some(({ name, sandbox }) => name === endpoint.host_interface && !sandbox)) {
    problems.push(`prevResult does not have the host's interface ${endpoint.host_interface}`);
  }
  const container = interfaces.find(isContainers);
  if (container === undefined) {
    problems.push(`prevResult does not have the container's interface ${endpoint.interface_name}`);
  } else if (container.mac?.toLowerCase() !== endpoint.mac_address) {
    problems.push(`prevResult has MAC address ${container.mac ?? '(none)'}, it is ${endpoint.mac_address}`);
  }

  const own = new Set(ownAddresses({ endpoint, network }).map(({ address }) => address));
  const listed = (previous.ips ?? []).map((ip) => ip.address);
  for (const address of own) {
    if (!listed.includes(address)) problems.push(`prevResult does not have the address ${address}`);
  }
  for (const ip of previous.ips ?? []) {
    const entry = ip.interface === undefined ? undefined : interfaces[ip.interface];
    if (
      entry !== undefined &&
      isContainers(entry) &&
      !own.has(ip.address) &&
      isOfNetwork(ip.address, network)
    ) {
      problems.push(`prevResult has the address ${ip.address}, which the container does not have`);
    }
  }
  return problems;
}

/** Whether an address (with a prefix length) is one that only this network's plugin gives. */
function isOfNetwork(text: string, network: Inspection['network']): boolean {
  try {
    const address = parseAddress(text.replace(/\/[0-9]+$/, ''));
    return [network.cidr, network.cidr6].some(
      (range) => range !== undefined && cidrContains(parseCidr(range), address),
    );
  } catch {
    return false;
  }
}
