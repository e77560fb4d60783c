/** The success result of CNI's ADD, made from what the kernel really has. */
import type { LinkInfo, RouteInfo } from '../native/net.js';
import type { Netns } from './netns.js';

/** Versions of the specification whose results have this form. */
export const CNI_VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

export interface CniInterface {
  name: string;
  mac?: string;
  /** Since 1.1.0. */
  mtu?: number;
  /** Path of the namespace; absent for interfaces of the host. */
  sandbox?: string;
}

export interface CniIp {
  /** Before 1.0.0. */
  version?: '4' | '6';
  /** With prefix length. */
  address: string;
  gateway?: string;
  /** Position in `interfaces`. */
  interface?: number;
}

export interface CniRoute {
  dst: string;
  gw?: string;
  /** Since 1.1.0; the metric. */
  priority?: number;
  /** Since 1.1.0; 253 is `link`. */
  scope?: number;
}

export interface CniDns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

export interface CniResult {
  cniVersion: CniVersion;
  interfaces: CniInterface[];
  ips: CniIp[];
  routes: CniRoute[];
  dns?: CniDns;
}

export interface CniResultInterface {
  netns: Netns;
  name: string;
  /** Path that the container's interfaces are reported under; unset for interfaces of the host. */
  sandbox?: string;
}

export interface CniResultOptions {
  cniVersion?: CniVersion;
  /** In the order in which they shall appear; usually the host's end first. */
  interfaces: readonly CniResultInterface[];
  dns?: CniDns;
}

/** RT_SCOPE_LINK of linux/rtnetlink.h. */
const SCOPE_LINK = 253;
const DEFAULT_DESTINATION: Record<string, string> = { default4: '0.0.0.0/0', default6: '::/0' };

/**
 * Reads interfaces, addresses and routes. Addresses and routes are those of the sandboxes; link-local addresses, and
 * routes that merely follow from an address, are left out as CNI expects.
 * @throws Error when an interface is not there.
 */
export function cniResult(options: CniResultOptions): CniResult {
  const cniVersion = options.cniVersion ?? '1.1.0';
  const result: CniResult = { cniVersion, interfaces: [], ips: [], routes: [] };
  for (const [position, { netns, name, sandbox }] of options.interfaces.entries()) {
    const link = netns.link(name);
    if (link === undefined) throw new Error(`CNI result: no interface ${name} in netns ${netns.inode}`);
    result.interfaces.push(interfaceEntry(link, sandbox, cniVersion));
    if (sandbox === undefined) continue;
    const routes = netns.rtnl
      .routes()
      .filter((route) => route.index === link.index && route.protocol !== 'kernel');
    result.ips.push(...ipEntries(netns, link, routes, position, cniVersion));
    result.routes.push(...routes.map((route) => routeEntry(route, cniVersion)));
  }
  if (options.dns !== undefined) result.dns = options.dns;
  return result;
}

function interfaceEntry(link: LinkInfo, sandbox: string | undefined, version: CniVersion): CniInterface {
  const entry: CniInterface = { name: link.name };
  if (link.mac !== '') entry.mac = link.mac;
  if (version === '1.1.0') entry.mtu = link.mtu;
  if (sandbox !== undefined) entry.sandbox = sandbox;
  return entry;
}

function ipEntries(
  netns: Netns,
  link: LinkInfo,
  routes: readonly RouteInfo[],
  position: number,
  version: CniVersion,
): CniIp[] {
  return netns.rtnl
    .addresses(link.index)
    .filter((address) => address.scope === 'global')
    .map(({ address, prefixLength, family }) => {
      const entry: CniIp = { address: `${address}/${prefixLength}`, interface: position };
      if (version.startsWith('0.')) entry.version = family === 4 ? '4' : '6';
      const gateway = routes.find((route) => route.destination === `default${family}`)?.via;
      if (gateway !== undefined) entry.gateway = gateway;
      return entry;
    });
}

function routeEntry(route: RouteInfo, version: CniVersion): CniRoute {
  const entry: CniRoute = { dst: DEFAULT_DESTINATION[route.destination] ?? route.destination };
  if (route.via !== undefined) entry.gw = route.via;
  if (version !== '1.1.0') return entry;
  if (route.metric !== undefined) entry.priority = route.metric;
  if (route.scope === 'link') entry.scope = SCOPE_LINK;
  return entry;
}
