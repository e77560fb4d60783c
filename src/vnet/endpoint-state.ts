import { gatewayMac } from '../bridge/mac.js';
import type { EndpointState } from '../datapath/endpoint-table.js';
import { parseCidr } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Network } from '../model/network.js';

/** An endpoint as the programs see it. */
export function endpointState(endpoint: Endpoint, network: Network, ifindex: number): EndpointState {
  return {
    ifindex,
    id: endpoint.id,
    networkId: network.id,
    identity: endpoint.identity,
    ...(endpoint.ip_address === undefined || network.cidr === undefined
      ? {}
      : { ip4: { address: endpoint.ip_address, prefixLength: parseCidr(network.cidr).prefixLength } }),
    ...(endpoint.ip6_address === undefined || network.cidr6 === undefined
      ? {}
      : { ip6: { address: endpoint.ip6_address, prefixLength: parseCidr(network.cidr6).prefixLength } }),
    mac: endpoint.mac_address,
    gatewayMac: gatewayMac(network.id),
    multicast: network.options.multicast,
    broadcast: network.options.broadcast,
  };
}
