import { gatewayMac } from '../../bridge/mac.js';
import type { EndpointState, NamedPort } from '../../datapath/endpoint-table.js';
import { parseCidr } from '../../model/address.js';
import type { Endpoint } from '../../model/endpoint.js';
import { PROTOCOL_NUMBERS } from '../../model/names.js';
import { hasSourceAddress, type Network } from '../../model/network.js';
import type { Reader } from '../../store/store.js';
import { attachments, portNames } from '../../store/tables.js';
import { numberOf } from '../policy/stored-numbers.js';
import { limitsOf } from './limits.js';

/** An endpoint as the programs see it. Names of its ports have their numbers since it was recorded. */
export function endpointState(
  reader: Reader,
  endpoint: Endpoint,
  network: Network,
  ifindex: number,
): EndpointState {
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
    masquerade: network.options.masquerade,
    sourceAddress: hasSourceAddress(network),
    takesFrames: reader.get(attachments, [endpoint.id])?.takes_frames ?? false,
    bandwidth: limitsOf(endpoint, network),
    namedPorts: namedPorts(reader, endpoint),
  };
}

function namedPorts(reader: Reader, { ports }: Endpoint): NamedPort[] {
  const found = new Map<string, NamedPort & { names: number[] }>();
  for (const { name, container_port: port, protocol } of ports) {
    if (name === undefined) continue;
    const number = numberOf(reader, portNames, name);
    if (number === undefined) throw new Error(`the name ${name} of a port has no number`);
    const key = `${protocol} ${port}`;
    const known = found.get(key) ?? { protocol: PROTOCOL_NUMBERS[protocol], port, names: [] };
    known.names.push(number);
    found.set(key, known);
  }
  return [...found.values()];
}
