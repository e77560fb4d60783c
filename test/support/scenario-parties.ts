/** Who exists when the programs run, and under which addresses: endpoints, the node, and who is outside. */
import type { Endpoint } from '../../src/datapath/abi/generated.js';
import { addressBytes, macBytes, mappedAddress } from './packet.js';

export type Family = 4 | 6;
export const FAMILIES = [4, 6] as const;

export interface TestEndpoint {
  readonly id: number;
  readonly ifindex: number;
  readonly networkId: number;
  readonly identity: number;
  readonly mac: string;
  readonly gatewayMac: string;
  readonly ip4?: string;
  readonly ip6?: string;
  readonly linkLocal?: string;
  readonly flags?: number;
}

export const NETWORK = { BLUE: 7, RED: 8 } as const;
export const PREFIX_LENGTH = { 4: 24, 6: 64 } as const;

/** Addresses by family. */
export const GATEWAY = { 4: '10.7.0.1', 6: 'fd00:7::1' } as const;
/** In the first network, and nobody's. */
export const NOBODY = { 4: '10.7.0.77', 6: 'fd00:7::77' } as const;
/** The node's, in no network. */
export const NODE = { 4: '10.99.0.5', 6: 'fd00:99::5' } as const;
/** Outside. */
export const WORLD = { 4: '198.18.0.9', 6: 'fd99::9' } as const;
export const WORLD_ROUTER = { 4: '198.19.0.1', 6: 'fd98::1' } as const;
/** An interface that is no endpoint's, as the uplink. */
export const UPLINK = 9999;

const NO_ADDRESS = new Uint8Array(16);

export function mappedOrNone(address: string | undefined): Uint8Array {
  return address === undefined ? NO_ADDRESS : mappedAddress(address);
}

export function endpointOf(id: number, ifindex: number, networkId: number, identity: number): TestEndpoint {
  const hex = id.toString(16).padStart(2, '0');
  return {
    id,
    ifindex,
    networkId,
    identity,
    mac: `02:00:00:00:00:${hex}`,
    gatewayMac: `02:ff:00:00:00:0${networkId}`,
    ip4: `10.${networkId}.0.${id}`,
    ip6: `fd00:${networkId}::${hex}`,
    linkLocal: `fe80::ff:fe00:${hex}`,
  };
}

/** As it is in the map. */
export function endpointValue(endpoint: TestEndpoint): Endpoint {
  const { ip4, ip6, linkLocal, flags = 0 } = endpoint;
  return {
    ifindex: endpoint.ifindex,
    id: endpoint.id,
    networkId: endpoint.networkId,
    identity: endpoint.identity,
    ip4: ip4 ? mappedAddress(ip4) : NO_ADDRESS,
    ip6: ip6 ? addressBytes(ip6) : NO_ADDRESS,
    linkLocal: linkLocal && ip6 ? addressBytes(linkLocal) : NO_ADDRESS,
    mac: macBytes(endpoint.mac),
    gatewayMac: macBytes(endpoint.gatewayMac),
    ip4PrefixLength: ip4 ? PREFIX_LENGTH[4] : 0,
    ip6PrefixLength: ip6 ? PREFIX_LENGTH[6] : 0,
    flags,
  };
}

export function addressOf(endpoint: TestEndpoint, family: Family): string {
  const address = family === 4 ? endpoint.ip4 : endpoint.ip6;
  if (!address) throw new Error(`endpoint ${endpoint.id} has no IPv${family}`);
  return address;
}
