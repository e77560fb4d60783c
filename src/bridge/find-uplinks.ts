/** Which interfaces lead to the outside, and under which addresses containers leave by them: as the kernel has it now. */
import { cidrContains, type Family, parseAddress, parseCidr } from '../model/address.js';
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
  /** What containers leave under. */
  ip4: Address | undefined;
  ip6: Address | undefined;
  /** What they may leave under too, where the node would. */
  others: Address[];
  /** Where what leaves by it goes that is for nobody there. */
  gateway6: string | undefined;
  /** The node's routes prefer another way for what is for nobody here, of a family of which it has an address. */
  isSecond: boolean;
}

export type Address = Pick<AddressInfo, 'address' | 'prefixLength' | 'family'>;

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

/** Whether the node's routes are to be asked by which uplink a flow leaves, over whom, and under which address. */
export function needsRoutes(uplinks: readonly FoundUplink[]): boolean {
  return uplinks.length > 1 || uplinks.some((uplink) => uplink.isSecond || hasChoice(uplink));
}

/** Which address is right depends on who is spoken to, as it has some in several subnets of a family. */
function hasChoice({ ip4, ip6, others }: FoundUplink): boolean {
  return [ip4, ip6].some(
    (first) =>
      first !== undefined &&
      others.some((other) => other.family === first.family && !isIn(other, first) && !isIn(first, other)),
  );
}

function isIn({ address }: Address, subnet: Address): boolean {
  return cidrContains(parseCidr(`${subnet.address}/${subnet.prefixLength}`, 'mask'), parseAddress(address));
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
    .filter(({ scope, tentative }) => scope === 'global' && !tentative)
    .map(({ address, prefixLength, family, deprecated }) => ({ address, prefixLength, family, deprecated }))
    .sort((left, right) => Number(left.deprecated) - Number(right.deprecated))
    .map(({ deprecated: _, ...address }) => address);
  const [ip4, ip6] = FAMILIES.map((family) => preferred(usable, family, link, routes[family]));
  return {
    link,
    ip4,
    ip6,
    others: usable.filter((address) => address !== ip4 && address !== ip6),
    gateway6: host.routeTo(ANYWHERE[6], link.index).find(({ index }) => index === link.index)?.via,
    isSecond: [ip4, ip6].some(
      (address) =>
        address !== undefined &&
        routes[address.family].length > 0 &&
        !routes[address.family].some(({ index }) => index === link.index),
    ),
  };
}

/** The address that the node itself would speak from there, or the first one that others can answer. */
function preferred(
  usable: readonly Address[],
  family: Family,
  link: LinkInfo,
  routes: readonly RouteInfo[],
): Address | undefined {
  const candidates = usable.filter((address) => address.family === family);
  const source = routes.find(({ index }) => index === link.index)?.source;
  return candidates.find(({ address }) => address === source) ?? candidates[0];
}
