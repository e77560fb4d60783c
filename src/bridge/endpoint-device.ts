/**
 * The veth pair of an endpoint. Made in steps, so that whoever makes it can put the programs and the policy in
 * place between them: the pair exists and is down; the host's side is up; the container gets its address
 * (container-side.ts).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import { KernelError } from '../native/errors.js';
import type { LinkInfo, NetnsHandle, Rtnl, VethIndexes } from '../native/net.js';
import { expediteGracePeriods } from '../native/rcu.js';
import { endpointAlias, ownerOf } from './aliases.js';
import { legsOf } from './endpoint-legs.js';
import { GUARD_IPV4, guardInterface, guardIpv6 } from './guard.js';
import type { HostNeighbour, HostPaths, HostRoute } from './host-paths.js';
import { networkMtu } from './network-device.js';

/** Where the container's side of a pair is made, and what it is called there. */
export interface ContainerEnd {
  netns: NetnsHandle;
  name: string;
}

/**
 * Creates both ends, down. INTERFACE_EXISTS when the container has that name.
 *
 * The host's side has a random MAC address that nobody learns: containers only ever see the gateway's. The kernel takes
 * a frame to another address for somebody else's, and the program says otherwise of those that may pass. So a frame that
 * gets past the program (the kernel lets a container mark frames as classified, by an ifb device of its own) ends here.
 */
export function createPair(host: Rtnl, end: ContainerEnd, endpoint: Endpoint, network: Network): VethIndexes {
  try {
    return host.createVeth({
      name: endpoint.host_interface,
      alias: endpointAlias(endpoint.id),
      mtu: networkMtu(network),
      peerName: end.name,
      peerNetns: end.netns,
      peerMac: endpoint.mac_address,
      addrGenMode: 'none',
      ipv4Conf: GUARD_IPV4,
    });
  } catch (error) {
    if (error instanceof KernelError && error.code === 'EEXIST') throw interfaceExists(end.name, error);
    throw error;
  }
}

/**
 * Lets the container's side take frames from the driver of the uplink, which a veth does with GRO alone. What the stack
 * sends there does not pass GRO either way.
 */
export function takeFrames({ netns, name }: ContainerEnd): void {
  netns.setGro(name, true);
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
 * Removes the pair; an interface of that name that is somebody else's stays. Resolves with what is left to wait for as
 * soon as nobody sees the interface any more, in the host or in the container; the kernel takes tens of milliseconds more
 * to free it, which nobody needs to wait for.
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

/** What the other end of the pair is called in that namespace; undefined: it is not there. */
export function containerInterface(host: Rtnl, inside: Rtnl, endpoint: Endpoint): string | undefined {
  const outer = host.link(endpoint.host_interface);
  if (!isOwn(outer, endpoint) || outer.peerIndex === undefined) return undefined;
  const inner = inside.link(outer.peerIndex);
  // Indexes are of a namespace: in another one that number is another interface.
  const isPeer =
    inner?.kind === 'veth' && inner.peerIndex === outer.index && inner.mac === endpoint.mac_address;
  return isPeer ? inner.name : undefined;
}
