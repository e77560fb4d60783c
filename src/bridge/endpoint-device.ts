/**
 * The veth pair of an endpoint. Made in steps, so that whoever makes it can put the programs and the policy in
 * place between them: the pair exists and is down; the host's side is up; the container gets its address.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { formatCidr, parseCidr } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import { KernelError } from '../native/errors.js';
import type { LinkInfo, NetnsHandle, RouteInfo, Rtnl, VethIndexes } from '../native/net.js';
import { expediteGracePeriods } from '../native/rcu.js';
import { endpointAlias, ownerOf } from './aliases.js';
import { GUARD_IPV4, guardInterface, guardIpv6 } from './guard.js';
import type { HostNeighbour, HostPaths, HostRoute } from './host-paths.js';
import { networkMtu } from './network-device.js';

/** Of `lo`, the first interface of every network namespace (LOOPBACK_IFINDEX of linux/net_namespace.h). */
const LOOPBACK_INDEX = 1;

/** Of one family, that a container may have: it can make as many as it likes, and we would read them all. */
const ROUTES_MAX = 4096;

/** A route inside the container, as CNI writes it; without `gw` by the network's gateway. */
export interface ContainerRoute {
  dst: string;
  gw?: string | undefined;
}

/** A route as the kernel has its destination, and as CNI writes it. */
interface WantedRoute {
  destination: string;
  dst: string;
  gw: string;
}

/** One of the endpoint's addresses, with what belongs to it. */
interface Leg {
  address: string;
  hostRoute: string;
  prefixLength: number;
  gateway: string;
  defaultRoute: 'default4' | 'default6';
  anywhere: '0.0.0.0/0' | '::/0';
}

/**
 * Creates both ends, down. INTERFACE_EXISTS when the container has that name.
 *
 * The host's side has a random MAC address that nobody learns: containers only ever see the gateway's. The kernel takes
 * a frame to another address for somebody else's, and the program says otherwise of those that may pass. So a frame that
 * gets past the program (the kernel lets a container mark frames as classified, by an ifb device of its own) ends here.
 */
export function createPair(
  host: Rtnl,
  netns: NetnsHandle,
  endpoint: Endpoint,
  network: Network,
): VethIndexes {
  try {
    return host.createVeth({
      name: endpoint.host_interface,
      alias: endpointAlias(endpoint.id),
      mtu: networkMtu(network),
      peerName: endpoint.interface_name,
      peerNetns: netns,
      peerMac: endpoint.mac_address,
      addrGenMode: 'none',
      ipv4Conf: GUARD_IPV4,
    });
  } catch (error) {
    if (error instanceof KernelError && error.code === 'EEXIST')
      throw interfaceExists(endpoint.interface_name, error);
    throw error;
  }
}

export function interfaceExists(name: string, cause?: unknown): AppError {
  return new AppError('INTERFACE_EXISTS', `the container has an interface ${name} already`, { cause });
}

/**
 * Takes the host's side that createPair() has made up, with the routes and neighbours that lead to the container.
 *
 * The host speaks from the gateway's address, the one that containers know. Left to itself the kernel would take the
 * first address of the node's first interface, so that a UDP server asked at the gateway would answer from elsewhere.
 */
export function configureHostSide(host: Rtnl, index: number, endpoint: Endpoint, network: Network): void {
  guardIpv6(endpoint.host_interface);
  host.setLink(index, { up: true });
  for (const { neighbour, route } of hostSideOf(index, endpoint, network)) {
    host.setNeighbour({ ...neighbour, permanent: true });
    host.addRoute({ ...route, scope: 'link', replace: true });
  }
}

/**
 * The same of a pair that was found, and of which somebody may have changed what createPair() has set. What `present`
 * has is not written again: with a thousand containers that is most of what a start does.
 */
export function restoreHostSide(
  host: Rtnl,
  link: LinkInfo,
  endpoint: Endpoint,
  network: Network,
  present: HostPaths,
): void {
  if (link.addrGenMode !== 'none') host.setLink(link.index, { addrGenMode: 'none' });
  guardInterface(endpoint.host_interface);
  if (!link.up) host.setLink(link.index, { up: true });
  for (const { neighbour, route } of hostSideOf(link.index, endpoint, network)) {
    if (!present.hasNeighbour(neighbour)) host.setNeighbour({ ...neighbour, permanent: true });
    if (!present.hasRoute(route)) host.addRoute({ ...route, scope: 'link', replace: true });
  }
}

/** For each of its addresses what the host needs to reach it. */
function hostSideOf(
  index: number,
  endpoint: Endpoint,
  network: Network,
): { neighbour: HostNeighbour; route: HostRoute }[] {
  return legsOf(endpoint, network).map(({ address, hostRoute, gateway }) => ({
    neighbour: { index, address, mac: endpoint.mac_address },
    route: { destination: hostRoute, index, source: gateway },
  }));
}

/**
 * Gives the container its addresses and routes and takes its side up; last of all steps. Returns the routes that it
 * got. A default route that the container has already (of another network) stays, and ours is left out.
 */
export function configureContainer(
  inside: Rtnl,
  index: number,
  endpoint: Endpoint,
  network: Network,
  routes: readonly ContainerRoute[],
): ContainerRoute[] {
  const legs = legsOf(endpoint, network);
  // Without IPv6 on the network a link-local address would only cause packets that are dropped.
  if (!legs.some(({ defaultRoute }) => defaultRoute === 'default6'))
    inside.setLink(index, { addrGenMode: 'none' });
  for (const { address, prefixLength } of legs) {
    inside.addAddress({ index, address: `${address}/${prefixLength}`, noDad: true });
  }
  inside.setLink(LOOPBACK_INDEX, { up: true });
  inside.setLink(index, { up: true });

  return wantedRoutes(legs, routes).flatMap(({ destination, dst, gw }) =>
    addRoute(inside, { destination, via: gw, index }) ? [{ dst, gw }] : [],
  );
}

/**
 * What configureContainer() with these routes has returned, or would return if it was carried out to its end;
 * undefined: it was not.
 */
export function configuredRoutes(
  inside: Rtnl,
  endpoint: Endpoint,
  network: Network,
  routes: readonly ContainerRoute[],
): ContainerRoute[] | undefined {
  const index = inside.link(endpoint.interface_name)?.index;
  const present = inside.routes(undefined, ROUTES_MAX);
  const made: ContainerRoute[] = [];
  for (const { destination, dst, gw } of wantedRoutes(legsOf(endpoint, network), routes)) {
    const found = present.filter((route) => route.destination === destination);
    if (found.length === 0) return undefined;
    if (found.some((route) => route.index === index && route.via === gw)) made.push({ dst, gw });
  }
  return made;
}

/**
 * Removes the pair; an interface of that name that is somebody else's stays. Resolves with what is left to wait for as soon as nobody sees the interface any more, in the
 * host or in the container; the kernel takes tens of milliseconds more to free it, which nobody needs to wait for.
 */
export async function removePair(host: Rtnl, endpoint: Endpoint): Promise<{ freed: Promise<void> }> {
  const name = endpoint.host_interface;
  if (!isOwn(host.link(name), endpoint)) return { freed: Promise.resolve() };
  using _ = expediteGracePeriods();
  let ended = false;
  const deletion = host.deleteLinkAsync(name).finally(() => {
    ended = true;
  });
  const freed = deletion.then(() => undefined);
  // Whoever waits for it sees a failure; until then it must not end the process.
  freed.catch(() => undefined);
  while (!ended && host.link(name) !== undefined) await nextTurn();
  if (ended) await freed;
  return { freed };
}

/** Whether an interface is the host's side of the endpoint. */
export function isOwn(link: LinkInfo | undefined, endpoint: Endpoint): link is LinkInfo {
  const owner = link && ownerOf(link);
  return owner?.kind === 'endpoint' && owner.id === endpoint.id;
}

/** What of an endpoint's interfaces, addresses and routes is not as it was made; a sentence each. */
export function inspectEndpointDevice(
  host: Rtnl,
  inside: Rtnl,
  endpoint: Endpoint,
  network: Network,
  routes: readonly ContainerRoute[],
): string[] {
  const problems: string[] = [];
  const outer = host.link(endpoint.host_interface);
  const inner = inside.link(endpoint.interface_name);
  if (outer === undefined) problems.push(`host interface ${endpoint.host_interface} is missing`);
  if (inner === undefined) problems.push(`container interface ${endpoint.interface_name} is missing`);
  if (outer === undefined || inner === undefined) return problems;

  if (!outer.up) problems.push(`${endpoint.host_interface} is down`);
  problems.push(...inspectLink(inner, endpoint.interface_name, endpoint.mac_address));
  if (outer.peerIndex !== inner.index) {
    problems.push(`${endpoint.interface_name} is not the other end of ${endpoint.host_interface}`);
  }
  const present = inside.addresses(inner.index);
  const insideRoutes = routesInside(inside);
  if (insideRoutes === undefined) problems.push('the container has more routes than are looked through');
  for (const leg of legsOf(endpoint, network)) {
    if (!present.some((found) => found.address === leg.address && found.prefixLength === leg.prefixLength)) {
      problems.push(
        `${endpoint.interface_name} does not have the address ${leg.address}/${leg.prefixLength}`,
      );
    }
    const taken = host.routeTo(leg.address);
    if (!taken.some((route) => route.destination === leg.hostRoute && route.index === outer.index)) {
      problems.push(`the host has no route to ${leg.address}`);
    }
  }
  for (const route of routes) {
    if (insideRoutes && !insideRoutes.some((found) => isRoute(found, route, inner.index))) {
      problems.push(`the container has no route to ${route.dst}`);
    }
  }
  return problems;
}

/** Undefined: too many. */
function routesInside(inside: Rtnl): RouteInfo[] | undefined {
  try {
    return inside.routes(undefined, ROUTES_MAX);
  } catch (error) {
    if (error instanceof KernelError && error.code === 'E2BIG') return undefined;
    throw error;
  }
}

function inspectLink(link: LinkInfo, name: string, mac: string): string[] {
  return [
    ...(link.up ? [] : [`${name} is down`]),
    ...(link.mac === mac ? [] : [`${name} has the MAC address ${link.mac} instead of ${mac}`]),
  ];
}

function isRoute(found: RouteInfo, route: ContainerRoute, index: number): boolean {
  const defaults: Record<string, string> = { '0.0.0.0/0': 'default4', '::/0': 'default6' };
  const destination = defaults[route.dst] ?? formatCidr(parseCidr(route.dst, 'mask'));
  return found.index === index && found.destination === destination && (!route.gw || found.via === route.gw);
}

/** The default routes of the endpoint and those asked for, one for each destination. */
function wantedRoutes(legs: readonly Leg[], routes: readonly ContainerRoute[]): WantedRoute[] {
  const wanted = legs.map(
    (leg): WantedRoute => ({ destination: leg.defaultRoute, dst: leg.anywhere, gw: leg.gateway }),
  );
  for (const route of routes) {
    const cidr = parseCidr(route.dst, 'mask');
    const leg = legs.find(({ defaultRoute }) => defaultRoute === `default${cidr.family}`);
    const gw = route.gw ?? leg?.gateway;
    if (gw === undefined) {
      throw new AppError('INVALID_REQUEST', `route ${route.dst}: the network has no IPv${cidr.family}`);
    }
    if (wanted.some(({ dst }) => dst === route.dst)) continue;
    const destination = route.dst === leg?.anywhere ? leg.defaultRoute : formatCidr(cidr);
    wanted.push({ destination, dst: route.dst, gw });
  }
  return wanted;
}

/** False: there is such a route already. */
function addRoute(inside: Rtnl, route: { destination: string; via: string; index: number }): boolean {
  try {
    inside.addRoute(route);
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.code === 'EEXIST') return false;
    throw error;
  }
}

function legsOf(endpoint: Endpoint, network: Network): Leg[] {
  const legs: Leg[] = [];
  if (endpoint.ip_address !== undefined && network.cidr !== undefined && network.gateway !== undefined) {
    legs.push({
      address: endpoint.ip_address,
      hostRoute: `${endpoint.ip_address}/32`,
      prefixLength: parseCidr(network.cidr).prefixLength,
      gateway: network.gateway,
      defaultRoute: 'default4',
      anywhere: '0.0.0.0/0',
    });
  }
  if (endpoint.ip6_address !== undefined && network.cidr6 !== undefined && network.gateway6 !== undefined) {
    legs.push({
      address: endpoint.ip6_address,
      hostRoute: `${endpoint.ip6_address}/128`,
      prefixLength: parseCidr(network.cidr6).prefixLength,
      gateway: network.gateway6,
      defaultRoute: 'default6',
      anywhere: '::/0',
    });
  }
  return legs;
}
