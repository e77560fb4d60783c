/** What port mappings and services are in the kernel, by their records. */

import type { Endpoint } from '../../model/endpoint.js';
import type { Protocol } from '../../model/names.js';
import type { PortMappingRecord } from '../../model/port-mapping.js';
import type { ServicePort, ServiceRecord } from '../../model/service.js';
import { type FrontendPlace, type FrontendState, placeText, type Target } from '../../nat/frontend.js';
import { nodePorts, type TakenPort } from '../../nat/ports.js';
import type { Reader, Transaction } from '../../store/store.js';
import { frontendNumbers, portMappings, services } from '../../store/tables.js';
import { claimNumber, forgetNumbersOf, numberOf } from '../policy/stored-numbers.js';

export function serviceName({ namespace, name }: Pick<ServiceRecord, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

export function addressesOf({
  ip_address,
  ip6_address,
}: Pick<ServiceRecord, 'ip_address' | 'ip6_address'>): string[] {
  return [ip_address, ip6_address].filter((address) => address !== undefined);
}

/** A port of the service, at each of its addresses and at its node port. */
function servicePlaces(service: ServiceRecord, port: ServicePort): FrontendPlace[] {
  const { protocol } = port;
  const own = [service.ip_address, service.ip6_address].flatMap((address) =>
    address === undefined ? [] : nodePorts(protocol, port.port, address),
  );
  return port.node_port === undefined ? own : [...own, ...nodePorts(protocol, port.node_port, undefined)];
}

/** Every place of the service. */
export function placesOfService(service: ServiceRecord): FrontendPlace[] {
  return service.ports.flatMap((port) => servicePlaces(service, port));
}

/** Every place of the mapping that its container can serve. */
export function placesOfMapping(
  { protocol, host_port, host_ip }: PortMappingRecord,
  endpoint: Pick<Endpoint, 'ip_address' | 'ip6_address'>,
): FrontendPlace[] {
  return nodePorts(protocol, host_port, host_ip).filter(({ family }) => addressOf(endpoint, family));
}

export function mappingFrontends(
  reader: Reader,
  mapping: PortMappingRecord,
  endpoint: Endpoint,
): FrontendState[] {
  const { container_port: port } = mapping;
  return placesOfMapping(mapping, endpoint).map((place) => ({
    ...place,
    id: requireNumber(reader, place),
    affinitySeconds: 0,
    isServiceAddress: false,
    backends: targets([endpoint], place.family, () => port),
  }));
}

/** A container that serves at a place, and the port that it does so at. */
export interface Serving {
  readonly endpoint: Endpoint;
  readonly port: number;
}

/** Who serves at a place; undefined: nothing of the service is there. */
export function servingOf(
  service: ServiceRecord,
  members: readonly Endpoint[],
  at: FrontendPlace,
): Serving[] | undefined {
  const port = service.ports.find((candidate) => hasPlace(servicePlaces(service, candidate), at));
  if (port === undefined) return undefined;
  return members.flatMap((endpoint) => {
    const target = targetPort(endpoint, port);
    return target === undefined ? [] : [{ endpoint, port: target }];
  });
}

/** The same of a port mapping. */
export function servingMapping(
  mapping: PortMappingRecord,
  endpoint: Endpoint,
  at: FrontendPlace,
): Serving[] | undefined {
  return hasPlace(placesOfMapping(mapping, endpoint), at)
    ? [{ endpoint, port: mapping.container_port }]
    : undefined;
}

function hasPlace(places: readonly FrontendPlace[], at: FrontendPlace): boolean {
  return places.some((place) => placeText(place) === placeText(at));
}

/** `members`: who serves. */
export function serviceFrontends(
  reader: Reader,
  service: ServiceRecord,
  members: readonly Endpoint[],
): FrontendState[] {
  const affinitySeconds = service.session_affinity === 'none' ? 0 : service.session_affinity_seconds;
  return service.ports.flatMap((port) =>
    servicePlaces(service, port).map((place) => ({
      ...place,
      id: requireNumber(reader, place),
      affinitySeconds,
      isServiceAddress: place.address !== undefined,
      backends: targets(members, place.family, (endpoint) => targetPort(endpoint, port)),
    })),
  );
}

function targets(
  members: readonly Endpoint[],
  family: 4 | 6,
  portOf: (endpoint: Endpoint) => number | undefined,
): Target[] {
  const found = new Map<string, Target>();
  for (const endpoint of members) {
    const [address, port] = [addressOf(endpoint, family), portOf(endpoint)];
    if (address !== undefined && port !== undefined) found.set(`${address} ${port}`, { address, port });
  }
  return [...found.values()];
}

export function addressOf(
  endpoint: Pick<Endpoint, 'ip_address' | 'ip6_address'>,
  family: 4 | 6,
): string | undefined {
  return family === 4 ? endpoint.ip_address : endpoint.ip6_address;
}

/** Undefined: the container calls none of its ports so. */
function targetPort({ ports }: Endpoint, { target_port, protocol }: ServicePort): number | undefined {
  if (typeof target_port === 'number') return target_port;
  return ports.find((port) => port.name === target_port && port.protocol === protocol)?.container_port;
}

export function claimPlaces(transaction: Transaction, places: readonly FrontendPlace[]): void {
  for (const place of places) claimNumber(transaction, frontendNumbers, placeText(place));
}

/** What comes to be at one of these places later is something else. */
export function forgetPlaces(transaction: Transaction, places: readonly FrontendPlace[]): void {
  forgetNumbersOf(transaction, frontendNumbers, places.map(placeText));
}

function requireNumber(reader: Reader, place: FrontendPlace): number {
  const number = numberOf(reader, frontendNumbers, placeText(place));
  if (number === undefined) throw new Error(`${placeText(place)} has no number`);
  return number;
}

/** Ports of the node, and of addresses of services, that are given away. `except`: of that service. */
export function takenPorts(reader: Reader, except?: Pick<ServiceRecord, 'namespace' | 'name'>): TakenPort[] {
  return ownersOf(
    reader.list(portMappings),
    reader
      .list(services)
      .filter((service) => except === undefined || serviceName(service) !== serviceName(except)),
  );
}

/** Those of them that have one port: each container that publishes it asks, however many do. */
export function takenPortsAt(reader: Reader, protocol: Protocol, port: number): TakenPort[] {
  return ownersOf(
    reader.where(portMappings, (mapping) => mapping.host_port === port && mapping.protocol === protocol),
    reader.where(services, ({ ports }) =>
      ports.some((one) => one.protocol === protocol && (one.port === port || one.node_port === port)),
    ),
  );
}

function ownersOf(mappings: readonly PortMappingRecord[], published: readonly ServiceRecord[]): TakenPort[] {
  const mapped = mappings.flatMap((mapping) => {
    const { protocol, host_port, host_ip, container_id, network } = mapping;
    const owner = `the port mapping ${mapping.id} of container ${container_id} in network ${network}`;
    return nodePorts(protocol, host_port, host_ip).map((place) => ({ ...place, owner }));
  });
  const served = published.flatMap((service) =>
    placesOfService(service).map((place) => ({ ...place, owner: `the service ${serviceName(service)}` })),
  );
  return [...mapped, ...served];
}
