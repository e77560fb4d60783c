/** Whether somebody outside may reach a port of a container, as the policies in force have it. */
import { type PacketPeer, RuleTable } from '../firewall/lookup.js';
import { judgeSides, passes } from '../firewall/sides.js';
import { cidrContains, formatAddress, parseAddress, parseCidr } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../model/names.js';
import { networkRanges } from '../model/network.js';
import type { Reader } from '../store/store.js';
import { networks } from '../store/tables.js';
import { portNames } from './parties.js';
import type { PolicySync } from './policy-sync.js';

/** Documentation addresses (RFC 5737, RFC 3849): somebody outside whom no rule names. */
const ANYBODY = ['192.0.2.1', '2001:db8::1'];

export type IsReachable = (endpoint: Endpoint, protocol: Protocol, port: number) => boolean;

/**
 * Anybody, or somebody in one of the ranges that the rules of the container name; ranges of networks are not outside. A
 * range is asked about by its first address: narrower ones inside of it are asked about themselves.
 */
export function reachableFromOutside(policy: Pick<PolicySync, 'rulesInForce'>, reader: Reader): IsReachable {
  return (endpoint, protocol, port) => {
    const rules = policy.rulesInForce(endpoint.identity);
    const table = RuleTable.from(rules);
    const inside = reader.list(networks).flatMap(networkRanges);
    const named = rules.cidrs
      .filter(({ direction }) => direction === 'ingress')
      .map(({ cidr }) => parseCidr(cidr))
      .map(({ family, base }) => ({ family, value: base }))
      .filter((address) => !inside.some(({ cidr }) => cidrContains(cidr, address)));
    const { identity: id, network_id, ip_address, ip6_address } = endpoint;
    const number = PROTOCOL_NUMBERS[protocol];
    const names = portNames(endpoint, number, port);
    return [...ANYBODY.map(parseAddress), ...named].some((address) => {
      const own = address.family === 4 ? ip_address : ip6_address;
      if (own === undefined) return false;
      const source: PacketPeer = { kind: 'world', address: formatAddress(address) };
      const destination: PacketPeer = { kind: 'identity', id, network_id, address: own };
      const flow = { source, destination, protocol: number, port, names };
      return passes(judgeSides(() => table, flow, { audit: false }));
    });
  };
}
