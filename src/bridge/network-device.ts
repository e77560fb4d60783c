/**
 * The host's side of a network: a bridge that holds the gateway addresses. Containers are not ports of it. They
 * are reached by host routes over their own veth, so nothing can be flooded or learned, and the kernel's limit of
 * 1023 ports does not apply.
 *
 * No route leads to the bridge. The network's ranges are unreachable but for those host routes: whoever asks for an
 * address that nobody has is refused at once, and fills no neighbour table by asking.
 */

import { formatCidr } from '../model/address.js';
import { AppError } from '../model/errors.js';
import { type Network, networkRanges } from '../model/network.js';
import type { AddressInfo, LinkInfo, Rtnl } from '../native/net.js';
import { networkAlias, ownerOf } from './aliases.js';
import { gatewayMac } from './mac.js';

/** MTU of a network that says nothing of it, bytes. */
export const DEFAULT_MTU = 1500;

/** Tells our unreachable routes from others'. */
export const RANGE_METRIC = 0x716e;

export function networkMtu(network: Network): number {
  return network.options.mtu ?? DEFAULT_MTU;
}

/** Makes the bridge as it should be, whatever is there of it. INTERFACE_EXISTS: its name is somebody else's. */
export function ensureNetworkDevice(rtnl: Rtnl, network: Network): void {
  const name = network.bridge_interface;
  const wanted = { mac: gatewayMac(network.id), mtu: networkMtu(network), alias: networkAlias(network.id) };
  const found = rtnl.link(name);
  if (found === undefined) rtnl.createBridge({ name, ...wanted });
  else if (!isOwn(found, network)) {
    throw new AppError('INTERFACE_EXISTS', `the node has an interface ${name} that is not ours`);
  } else if (found.mac !== wanted.mac || found.mtu !== wanted.mtu || found.alias !== wanted.alias) {
    rtnl.setLink(name, wanted);
  }
  const link = rtnl.link(name);
  if (link === undefined) throw new Error(`bridge ${name} vanished`);
  const present = rtnl.addresses(link.index);
  for (const { cidr, gateway } of networkRanges(network)) {
    const { prefixLength } = cidr;
    const range = formatCidr(cidr);
    rtnl.addRoute({ destination: range, type: 'unreachable', metric: RANGE_METRIC, replace: true });
    if (!present.some((address) => isSame(address, { address: gateway, prefixLength }))) {
      // No duplicate address detection: it needs a carrier, which a bridge without ports does not have.
      rtnl.addAddress({
        index: link.index,
        address: `${gateway}/${prefixLength}`,
        noDad: true,
        noPrefixRoute: true,
      });
    }
    while (rtnl.deleteRoute({ destination: range, index: link.index }));
  }
  rtnl.setLink(link.index, { addrGenMode: 'none', up: true });
}

/** Removes the bridge and the routes; nothing there is fine, and what is somebody else's stays. */
export function removeNetworkDevice(rtnl: Rtnl, network: Network): void {
  const found = rtnl.link(network.bridge_interface);
  if (isOwn(found, network)) rtnl.deleteLink(found.index);
  for (const { cidr } of networkRanges(network)) removeRange(rtnl, formatCidr(cidr));
}

/** Removes the routes of networks that are not among these; returns their destinations. */
export function sweepRanges(rtnl: Rtnl, networks: readonly Network[]): string[] {
  const wanted = new Set(
    networks.flatMap((network) => networkRanges(network).map(({ cidr }) => formatCidr(cidr))),
  );
  const strangers = rtnl.unreachable(RANGE_METRIC).filter((range) => !wanted.has(range));
  for (const range of strangers) removeRange(rtnl, range);
  return strangers;
}

function removeRange(rtnl: Rtnl, range: string): void {
  rtnl.deleteRoute({ destination: range, type: 'unreachable', metric: RANGE_METRIC });
}

function isOwn(link: LinkInfo | undefined, network: Network): link is LinkInfo {
  const owner = link && ownerOf(link);
  return owner?.kind === 'network' && owner.id === network.id;
}

function isSame(found: AddressInfo, wanted: { address: string; prefixLength: number }): boolean {
  return found.address === wanted.address && found.prefixLength === wanted.prefixLength;
}
