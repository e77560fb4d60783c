import type { LinkInfo } from '../native/net.js';
import type { InterfaceSettings, Netns } from './netns.js';

export interface VethEnd extends Omit<InterfaceSettings, 'mtu'> {
  netns: Netns;
  /** 1 to 15 bytes. */
  name: string;
}

export interface VethOptions {
  /** Of both ends, in bytes; 1500 otherwise. */
  mtu?: number;
}

/**
 * Makes a veth pair between two namespaces (or within one), both ends up unless `up` is false. Each end comes into being in its own
 * namespace, with its MAC address and MTU: neither is ever seen elsewhere or under another name.
 * Nothing stays when anything fails.
 * @returns the state of both ends, in the order in which they were given.
 * @throws KernelError EEXIST when a name is taken, and what `Netns.configure` throws.
 */
export function createVethPair(
  first: VethEnd,
  second: VethEnd,
  options: VethOptions = {},
): [LinkInfo, LinkInfo] {
  const { netns, name, ...settings } = first;
  const { netns: peerNetns, name: peerName, ...peerSettings } = second;
  netns.rtnl.createVeth({
    name,
    peerName,
    peerNetns: peerNetns.handle,
    mac: settings.mac,
    peerMac: peerSettings.mac,
    mtu: options.mtu,
  });
  try {
    configureEnd(netns, name, settings);
    configureEnd(peerNetns, peerName, peerSettings);
    return [linkOf(netns, name), linkOf(peerNetns, peerName)];
  } catch (error) {
    netns.rtnl.deleteLink(name);
    throw error;
  }
}

/** The MAC address is there already. */
function configureEnd(netns: Netns, name: string, { mac: _, ...settings }: InterfaceSettings): void {
  netns.configure(name, { up: true, ...settings });
}

function linkOf(netns: Netns, name: string): LinkInfo {
  const link = netns.link(name);
  if (link === undefined)
    throw new Error(`interface ${name} in netns ${netns.inode} disappeared while it was made`);
  return link;
}
