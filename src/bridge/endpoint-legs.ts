/** The addresses of an endpoint, each with what its network says about it. */
import { parseCidr } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Network } from '../model/network.js';

/** One of the endpoint's addresses, with what belongs to it. */
export interface Leg {
  address: string;
  hostRoute: string;
  prefixLength: number;
  gateway: string;
  defaultRoute: 'default4' | 'default6';
  anywhere: '0.0.0.0/0' | '::/0';
}

export function legsOf(endpoint: Endpoint, network: Network): Leg[] {
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
