/** Compares an endpoint's interfaces, addresses and routes with what they were made to be. */
import { formatCidr, parseCidr } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Network } from '../model/network.js';
import { KernelError } from '../native/errors.js';
import type { LinkInfo, RouteInfo, Rtnl } from '../native/net.js';
import { type ContainerRoute, ROUTES_MAX } from './container-side.js';
import { legsOf } from './endpoint-legs.js';

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
