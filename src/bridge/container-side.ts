/** The container's side of a veth pair: its addresses and routes. */
import { formatCidr, parseCidr } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import { KernelError } from '../native/errors.js';
import type { Rtnl } from '../native/net.js';
import { type Leg, legsOf } from './endpoint-legs.js';

/** Of `lo`, the first interface of every network namespace (LOOPBACK_IFINDEX of linux/net_namespace.h). */
const LOOPBACK_INDEX = 1;

/** Of one family, that a container may have: it can make as many as it likes, and we would read them all. */
export const ROUTES_MAX = 4096;

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
