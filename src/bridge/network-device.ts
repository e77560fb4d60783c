/**
 * The host's side of a network: a bridge that holds the gateway addresses. Containers are not ports of it. They
 * are reached by host routes over their own veth, so nothing can be flooded or learned, and the kernel's limit of
 * 1023 ports does not apply.
 */

import { AppError } from '../model/errors.js';
import { type Network, networkRanges } from '../model/network.js';
import type { AddressInfo, LinkInfo, Rtnl } from '../native/net.js';
import { networkAlias, ownerOf } from './aliases.js';
import { gatewayMac } from './mac.js';

/** MTU of a network that says nothing of it, bytes. */
export const DEFAULT_MTU = 1500;

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
  const gateways = networkRanges(network).map(({ cidr, gateway }) => ({
    address: gateway,
    prefixLength: cidr.prefixLength,
  }));
  for (const gateway of gateways) {
    if (present.some((address) => isSame(address, gateway))) continue;
    // No duplicate address detection: it needs a carrier, which a bridge without ports does not have.
    rtnl.addAddress({
      index: link.index,
      address: `${gateway.address}/${gateway.prefixLength}`,
      noDad: true,
    });
  }
  rtnl.setLink(link.index, { addrGenMode: 'none', up: true });
}

/** Removes the bridge; nothing there is fine, and what is somebody else's stays. */
export function removeNetworkDevice(rtnl: Rtnl, network: Network): void {
  const found = rtnl.link(network.bridge_interface);
  if (isOwn(found, network)) rtnl.deleteLink(found.index);
}

function isOwn(link: LinkInfo | undefined, network: Network): link is LinkInfo {
  const owner = link && ownerOf(link);
  return owner?.kind === 'network' && owner.id === network.id;
}

function isSame(found: AddressInfo, wanted: { address: string; prefixLength: number }): boolean {
  return found.address === wanted.address && found.prefixLength === wanted.prefixLength;
}
