/** Which interfaces lead to the outside, and under which addresses containers leave by them: as the kernel has it now. */
import { type Family, formatCidr, parseCidr } from '../model/address.js';
import { UPLINK_AUTO, UPLINK_NONE, UPLINKS_MAX, uplinkNames } from '../model/settings.js';
import type { AddressInfo, LinkInfo, RouteInfo, Rtnl } from '../native/net.js';

/** Documentation addresses (RFC 5737, RFC 3849), which nothing but a default route leads to. */
const ANYWHERE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
const FAMILIES = [4, 6] as const;
const NO_MAC = /^(?:00(?::00)*)?$/;

/** What is asked of the kernel. */
export type UplinkHost = Pick<Rtnl, 'link' | 'addresses' | 'routeTo'>;

export interface FoundUplink {
  link: LinkInfo;
  ip4: string | undefined;
  ip6: string | undefined;
  /** Where what leaves by it goes that is for nobody there. */
  gateway4: string | undefined;
  gateway6: string | undefined;
  /** It has addresses in several subnets of a family: which is right depends on who is spoken to. */
  hasChoice: boolean;
}

export interface FoundUplinks {
  /** The first is the one of the default route, or of the setting's first name. */
  uplinks: FoundUplink[];
  /** Why others, or all, are missing. */
  problems: string[];
}

export function findUplinks(setting: string, host: UplinkHost): FoundUplinks {
  if (setting === UPLINK_NONE) return { uplinks: [], problems: ['the setting uplink is none'] };
  const routes = { 4: host.routeTo(ANYWHERE[4]), 6: host.routeTo(ANYWHERE[6]) };
  const found: FoundUplinks = { uplinks: [], problems: [] };
  for (const which of setting === UPLINK_AUTO ? defaultInterfaces(routes) : uplinkNames(setting)) {
    const link = host.link(which);
    if (link === undefined) found.problems.push(`there is no interface ${which}`);
    else if (NO_MAC.test(link.mac)) found.problems.push(`${link.name} is no Ethernet interface`);
    else found.uplinks.push(uplinkAt(link, host, routes));
  }
  if (found.uplinks.length === 0 && found.problems.length === 0)
    found.problems.push('the node has no default route');
  return found;
}

/** Whether the node's routes are to say by which uplink a flow leaves, and under which address. */
export function needsRoutes(uplinks: readonly FoundUplink[]): boolean {
  return uplinks.length > 1 || uplinks.some(({ hasChoice }) => hasChoice);
}

function defaultInterfaces(routes: Record<Family, readonly RouteInfo[]>): number[] {
  const indexes = FAMILIES.flatMap((family) => routes[family].map(({ index }) => index));
  return [...new Set(indexes)].filter((index) => index !== undefined).slice(0, UPLINKS_MAX);
}

function uplinkAt(
  link: LinkInfo,
  host: UplinkHost,
  routes: Record<Family, readonly RouteInfo[]>,
): FoundUplink {
  const usable = host
    .addresses(link.index)
    .filter(({ scope, tentative }) => scope === 'global' && !tentative);
  const [of4, of6] = FAMILIES.map((family) => usable.filter((address) => address.family === family));
  return {
    link,
    ip4: preferred(of4 ?? [], link, routes[4]),
    ip6: preferred(of6 ?? [], link, routes[6]),
    gateway4: gatewayAt(link, host, 4),
    gateway6: gatewayAt(link, host, 6),
    hasChoice: [of4, of6].some((addresses) => new Set(addresses?.map(subnetOf)).size > 1),
  };
}

/** The address that the node itself would speak from there, or the first one that others can answer. */
function preferred(
  usable: readonly AddressInfo[],
  link: LinkInfo,
  routes: readonly RouteInfo[],
): string | undefined {
  const source = routes.find(({ index }) => index === link.index)?.source;
  return usable.find(({ address }) => address === source)?.address ?? usable[0]?.address;
}

function gatewayAt({ index }: LinkInfo, host: UplinkHost, family: Family): string | undefined {
  return host.routeTo(ANYWHERE[family], index).find((route) => route.index === index)?.via;
}

function subnetOf({ address, prefixLength }: AddressInfo): string {
  return formatCidr(parseCidr(`${address}/${prefixLength}`, 'mask'));
}
