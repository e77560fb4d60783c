/** Whether somebody outside may reach a port of a container, by the rules in force. */
import type { InForce } from '../../firewall/in-force.js';
import type { PacketPeer } from '../../firewall/lookup.js';
import { type Outsider, outsiders } from '../../firewall/outsiders.js';
import { judgeSides, passes } from '../../firewall/sides.js';
import { type Address, cidrContains } from '../../model/address.js';
import type { Endpoint } from '../../model/endpoint.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../../model/names.js';
import { networkRanges } from '../../model/network.js';
import type { Reader } from '../../store/store.js';
import { networks } from '../../store/tables.js';
import { portNames } from '../parties.js';

export type IsReachable = (endpoint: Endpoint, protocol: Protocol, port: number) => boolean;

/** As it is at the moment of the call, for what is asked before anything changes. Ranges of networks are not outside. */
export function reachableNow(inForce: InForce, reader: Reader): IsReachable {
  const inside = reader.list(networks).flatMap(networkRanges);
  const isOutside = (address: Address) => !inside.some(({ cidr }) => cidrContains(cidr, address));
  const known = new Map<number, readonly Outsider[]>();
  const outsidersOf = (identity: number): readonly Outsider[] => {
    const view = inForce.view(identity);
    const found = known.get(identity) ?? (view === undefined ? [] : outsiders(view, isOutside));
    known.set(identity, found);
    return found;
  };
  return (endpoint, protocol, port) => {
    const { identity: id, network_id, ip_address, ip6_address } = endpoint;
    const number = PROTOCOL_NUMBERS[protocol];
    const names = portNames(endpoint, number, port);
    return outsidersOf(id).some(({ family, peer, rules }) => {
      const own = family === 4 ? ip_address : ip6_address;
      if (own === undefined) return false;
      const destination: PacketPeer = { kind: 'identity', id, network_id, address: own };
      const flow = { source: peer, destination, protocol: number, port, names };
      return passes(judgeSides(() => rules, flow, { audit: false }));
    });
  };
}
