/**
 * What the CNI server needs from the rest of the daemon. The virtual network service provides it; tests
 * provide one in memory. Every method may throw AppError; its code decides the code of the CNI error.
 */
import type { Endpoint, EndpointRequest } from '../model/endpoint.js';
import type { Network, NetworkRequest } from '../model/network.js';

/** What the CNI specification identifies an attachment by. */
export interface AttachmentKey {
  network: string;
  container_id: string;
  interface_name: string;
}

/** A route inside the container; `gw` is absent where the network's gateway is meant. */
export interface Route {
  /** Destination in CIDR notation, `0.0.0.0/0` and `::/0` for the default routes. */
  dst: string;
  gw?: string | undefined;
}

/** Addresses from the first to the last. */
export interface AddressSpan {
  family: 4 | 6;
  first: string;
  last: string;
  /** The gateway that whoever asks takes for granted. */
  gateway?: string;
}

export interface AttachRequest extends EndpointRequest {
  network: string;
  /** Where an address that is not given by name is to be taken from; none of a family: the network's whole range. */
  spans: AddressSpan[];
  /** Routes that the container gets beside its default routes. */
  routes: Route[];
}

/** An attachment as it is made. */
export interface Attachment {
  endpoint: Endpoint;
  network: Network;
  /** MTU of both sides of the veth pair, bytes. */
  mtu: number;
  /** MAC address of the host's side. */
  host_mac?: string | undefined;
  /** Every route that was made inside the container, default routes included. */
  routes: Route[];
}

/** An attachment as the kernel has it now. */
export interface Inspection extends Attachment {
  /** What is missing, different or unfinished, a sentence each; empty when all is as it should be. */
  problems: string[];
}

export interface NodeStatus {
  /** Whether ADD can be served. */
  ready: boolean;
  /** Whether containers that are attached already are served as they should be. */
  connectivity: boolean;
  /** Why not, for the operator. */
  message?: string;
}

export interface CniNetworks {
  findNetwork(name: string): Promise<Network | undefined>;
  /** Throws NETWORK_EXISTS when there is one of that name, CIDR_OVERLAP, UNSUPPORTED_DRIVER, INVALID_REQUEST. */
  createNetwork(request: NetworkRequest): Promise<Network>;
}

export interface CniEndpoints {
  /**
   * Connects a container and remembers that CNI did it. All or nothing: when it throws, nothing stays.
   * Throws ENDPOINT_EXISTS, INTERFACE_EXISTS, NETNS_INVALID, ADDRESS_IN_USE, POOL_EXHAUSTED, NETWORK_NOT_FOUND, …
   */
  attach(request: AttachRequest): Promise<Attachment>;
  /**
   * Disconnects a container, however far it was connected, whether or not its network namespace still exists.
   * False: there was nothing. May throw NETWORK_NOT_FOUND and CONTAINER_NOT_FOUND, which mean the same.
   */
  detach(key: AttachmentKey): Promise<boolean>;
  /**
   * Compares an attachment with the kernel; of its routes only those to the given destinations, because later plugins of
   * a chain may have changed the others. Throws CONTAINER_NOT_FOUND, NETWORK_NOT_FOUND.
   */
  inspect(key: AttachmentKey, routesTo: ReadonlySet<string>): Promise<Inspection>;
  /** The attachments of a network that were made by `attach` above, and by no other interface of the daemon. */
  attachments(network: string): Promise<AttachmentKey[]>;
  /** Whether ADD can be served, for all networks or for one (a full address pool, for example). */
  status(network?: string): Promise<NodeStatus>;
}

export type CniPorts = CniNetworks & CniEndpoints;

/** As much of a logger as is used here; pino's has it. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
