/** The records of an endpoint in the store: written and erased together, whatever the kernel has of it. */
import type { ContainerRoute } from '../bridge/container-side.js';
import { randomMac } from '../bridge/mac.js';
import { type Endpoint, type EndpointRequest, hostInterface } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import type { Reader, Transaction } from '../store/store.js';
import {
  type AttachmentRecord,
  attachments,
  endpointKeys,
  endpoints,
  portNames,
  requireGiven,
  stagedEndpoints,
} from '../store/tables.js';
import { type AddressSpan, allocateAddress, allocateWithin, releaseAddress } from './ipam.js';
import { requireNetwork } from './networks.js';
import { requireIdentity } from './policy/identities.js';
import { claimNumber } from './policy/stored-numbers.js';
import { releaseReservation } from './reservations.js';

export type Origin = AttachmentRecord['origin'];

export interface RecordOptions {
  origin: Origin;
  /** Routes beside the default ones. */
  routes: readonly ContainerRoute[];
  /** The endpoint is made before its container is there. */
  staged?: { key: string; runtimeNetwork: string };
  /** Where an address that is not asked for by name is to be taken from; none of a family: the whole range. */
  spans?: readonly AddressSpan[];
  /** The container's side is made to take frames from XDP. */
  takesFrames?: boolean;
}

/** Throws ENDPOINT_EXISTS; `but`: number of an endpoint that may be it. */
export function requireNewEndpoint(
  reader: Reader,
  network: Pick<Network, 'id' | 'name'>,
  { container_id, interface_name }: Pick<Endpoint, 'container_id' | 'interface_name'>,
  but?: number,
): void {
  const holder = reader.get(endpointKeys, [network.id, container_id, interface_name]);
  if (holder === undefined || holder.endpoint_id === but) return;
  throw new AppError(
    'ENDPOINT_EXISTS',
    `container ${container_id} has the interface ${interface_name} on network ${network.name} already`,
  );
}

/** What an endpoint is given before it is recorded. */
export type EndpointNumbers = Pick<Endpoint, 'id' | 'identity'>;

/** Records an endpoint that is about to be made: names, addresses. All or nothing; STORE_ERROR: its numbers are lost. */
export function recordEndpoint(
  transaction: Transaction,
  networkName: string,
  request: EndpointRequest,
  { id, identity }: EndpointNumbers,
  options: RecordOptions,
): { endpoint: Endpoint; network: Network } {
  const { origin, routes, staged } = options;
  requireGiven(transaction, 'endpoint', id);
  requireIdentity(transaction, identity);
  const network = requireNetwork(transaction, networkName);
  requireNewEndpoint(transaction, network, request);
  const { container_id, interface_name, namespace, labels } = request;
  const now = new Date().toISOString();
  const endpoint: Endpoint = {
    id,
    network: network.name,
    network_id: network.id,
    container_id,
    interface_name,
    netns_path: request.netns_path,
    namespace,
    labels,
    ...address(transaction, network, 4, id, request.ip_address, options),
    ...address(transaction, network, 6, id, request.ip6_address, options),
    mac_address: request.mac_address ?? randomMac(),
    ...(network.gateway === undefined ? {} : { gateway: network.gateway }),
    ...(network.gateway6 === undefined ? {} : { gateway6: network.gateway6 }),
    identity,
    host_interface: hostInterface(id),
    ports: request.ports,
    ...(request.options === undefined ? {} : { options: request.options }),
    created_at: now,
    state: 'creating',
  };
  for (const { name } of request.ports) if (name !== undefined) claimNumber(transaction, portNames, name);
  transaction.put(endpoints, [id], endpoint);
  transaction.put(endpointKeys, [network.id, container_id, interface_name], {
    network_id: network.id,
    container_id,
    interface_name,
    endpoint_id: id,
  });
  transaction.put(attachments, [id], {
    endpoint_id: id,
    origin,
    routes: [...routes],
    takes_frames: options.takesFrames,
    ...(staged === undefined ? {} : { staged_key: staged.key }),
  });
  if (staged !== undefined) {
    const { key, runtimeNetwork } = staged;
    const record = { key, endpoint_id: id, runtime_network: runtimeNetwork, joined: false };
    transaction.put(stagedEndpoints, [key], record);
  }
  return { endpoint, network };
}

/** Marks an endpoint as made, with the routes that the container has got; without any, with those that were asked for. */
export function completeEndpoint(
  transaction: Transaction,
  endpoint: Endpoint,
  routes?: readonly ContainerRoute[],
): Endpoint {
  const ready: Endpoint = { ...endpoint, state: 'ready' };
  transaction.put(endpoints, [endpoint.id], ready);
  const recorded = transaction.get(attachments, [endpoint.id]) ?? {
    endpoint_id: endpoint.id,
    origin: 'rest',
    routes: [],
  };
  transaction.put(attachments, [endpoint.id], { ...recorded, routes: [...(routes ?? recorded.routes)] });
  return ready;
}

/** Marks an endpoint as one that is to go, whatever happens. */
export function condemnEndpoint(transaction: Transaction, endpoint: Endpoint): void {
  transaction.put(endpoints, [endpoint.id], { ...endpoint, state: 'deleting' });
}

/** Gives an endpoint the names of its container, once they are known. Throws ENDPOINT_EXISTS. */
export function renameEndpoint(
  transaction: Transaction,
  endpoint: Endpoint,
  change: Partial<Pick<Endpoint, 'container_id' | 'interface_name' | 'netns_path'>>,
): Endpoint {
  const renamed: Endpoint = { ...endpoint, ...change };
  const { network_id, container_id, interface_name } = renamed;
  requireNewEndpoint(transaction, { id: network_id, name: endpoint.network }, renamed, endpoint.id);
  transaction.delete(endpointKeys, [network_id, endpoint.container_id, endpoint.interface_name]);
  transaction.put(endpointKeys, [network_id, container_id, interface_name], {
    network_id,
    container_id,
    interface_name,
    endpoint_id: endpoint.id,
  });
  transaction.put(endpoints, [endpoint.id], renamed);
  return renamed;
}

/** Forgets an endpoint: its records and its addresses. */
export function eraseEndpoint(transaction: Transaction, endpoint: Endpoint): void {
  const network = requireNetwork(transaction, endpoint.network);
  for (const ip of [endpoint.ip_address, endpoint.ip6_address]) {
    if (ip !== undefined) releaseAddress(transaction, network, ip, endpoint.id);
  }
  transaction.delete(endpoints, [endpoint.id]);
  transaction.delete(endpointKeys, [network.id, endpoint.container_id, endpoint.interface_name]);
  const staged = transaction.get(attachments, [endpoint.id])?.staged_key;
  if (staged !== undefined) transaction.delete(stagedEndpoints, [staged]);
  transaction.delete(attachments, [endpoint.id]);
}

/** The endpoints of a container in a network, or the one of an interface, by id. */
export function endpointsOf(
  reader: Reader,
  network: Network,
  containerId: string,
  interfaceName?: string,
): Endpoint[] {
  const keys =
    interfaceName === undefined
      ? reader.list(endpointKeys, [network.id, containerId])
      : [reader.get(endpointKeys, [network.id, containerId, interfaceName])];
  return keys
    .flatMap((key) => reader.get(endpoints, [key?.endpoint_id ?? 0]) ?? [])
    .sort((left, right) => left.id - right.id);
}

function address(
  transaction: Transaction,
  network: Network,
  family: 4 | 6,
  endpointId: number,
  wanted: string | undefined,
  { staged, spans = [] }: RecordOptions,
): { ip_address?: string; ip6_address?: string } {
  const range = family === 4 ? network.cidr : network.cidr6;
  const ofFamily = spans.filter((span) => span.family === family);
  if (range === undefined && wanted === undefined && ofFamily.length === 0) return {};
  if (staged !== undefined && range !== undefined && wanted !== undefined) {
    releaseReservation(transaction, network, wanted);
  }
  const ip =
    wanted === undefined && ofFamily.length > 0
      ? allocateWithin(transaction, network, family, endpointId, ofFamily)
      : allocateAddress(transaction, network, family, endpointId, wanted);
  return family === 4 ? { ip_address: ip } : { ip6_address: ip };
}
