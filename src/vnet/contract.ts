/**
 * What the edges (REST, CNI) may ask of the node. Every method validates nothing about syntax (the schemas of
 * model/ did), everything about state, and throws AppError. A promise that resolves means: durable in the store
 * and in force in the kernel. A promise that is rejected means: nothing has changed.
 */
import type { Family } from '../model/address.js';
import type { ConnectionFilter, ConnectionList, ConnectionQuery } from '../model/connection.js';
import type { LabelledCutOff } from '../model/cut-off.js';
import type { DenyList, DenyListChange, DenyListQuery } from '../model/deny-list.js';
import type { Endpoint, EndpointPatch, EndpointRequest } from '../model/endpoint.js';
import type { ExplainRequest, Explanation } from '../model/explanation.js';
import type { Readiness } from '../model/health.js';
import type { Identity } from '../model/identity.js';
import type { Labels } from '../model/names.js';
import type { Namespace, NamespaceRequest } from '../model/namespace.js';
import type { Network, NetworkRequest } from '../model/network.js';
import type { Policy } from '../model/policy.js';
import type { PolicyChange } from '../model/policy-preview.js';
import type { PortMapping, PortMappingRecord, PortMappingRequest } from '../model/port-mapping.js';
import type { Service, ServiceRequest } from '../model/service.js';
import type { AuditedVerdict } from '../model/verdict.js';

export interface NetworkService {
  /** NETWORK_EXISTS, CIDR_OVERLAP, UNSUPPORTED_DRIVER, INSUFFICIENT_CAPACITY. Its peers may be made later. */
  create(request: NetworkRequest): Promise<Network>;
  list(): Network[];
  /** NETWORK_NOT_FOUND. */
  get(name: string): Network;
  /** NETWORK_NOT_FOUND, NETWORK_IN_USE. */
  delete(name: string): Promise<void>;
}

export interface EndpointService {
  /** NETWORK_NOT_FOUND, ENDPOINT_EXISTS, ADDRESS_IN_USE, POOL_EXHAUSTED, NETNS_INVALID, INTERFACE_EXISTS, INSUFFICIENT_CAPACITY; of its published ports as PortMappingService.create(). */
  connect(network: string, request: EndpointRequest): Promise<Endpoint>;
  /** All of the node, or of a network (NETWORK_NOT_FOUND). */
  list(network?: string): Endpoint[];
  /** The endpoint; without an interface name the container's only or first one. NETWORK_NOT_FOUND, CONTAINER_NOT_FOUND. */
  get(network: string, containerId: string, interfaceName?: string): Endpoint;
  /** NETWORK_NOT_FOUND, CONTAINER_NOT_FOUND. */
  patch(
    network: string,
    containerId: string,
    patch: EndpointPatch,
    interfaceName?: string,
  ): Promise<Endpoint>;
  /** Every endpoint of the container in the network, or the one of that interface. NETWORK_NOT_FOUND, CONTAINER_NOT_FOUND. */
  disconnect(network: string, containerId: string, interfaceName?: string): Promise<void>;
  /** What of the endpoint's state in the kernel is not as it should be; empty: all as it should be. */
  inspect(endpoint: Endpoint): Promise<string[]>;
}

export interface NamespaceService {
  put(name: string, request: NamespaceRequest): Promise<Namespace>;
  list(): Namespace[];
  /** NAMESPACE_NOT_FOUND. `default` always exists, and so does every namespace that an endpoint or policy is in. */
  get(name: string): Namespace;
  /** NAMESPACE_NOT_FOUND, NAMESPACE_IN_USE. */
  delete(name: string): Promise<void>;
}

/** A policy as it is in force now. */
export interface AppliedPolicy {
  readonly policy: Policy;
  /** Whether there was none of its name before. */
  readonly created: boolean;
}

export interface PolicyPreview {
  /** Of new connections. */
  readonly changes: PolicyChange[];
  /** Recorded flows that were allowed and would have been dropped, the newest first. */
  readonly flows: FlowEvent[];
  /** Whose rules would not fit into the kernel. */
  readonly cut_off: LabelledCutOff[];
  /** There may be more of any. */
  readonly truncated: boolean;
}

/** Cluster-wide policies have the namespace `-`. */
export interface PolicyService {
  /**
   * Creates or replaces them, in the order given: all of them or none, and for packets from the same moment on. No two
   * may have one name. INSUFFICIENT_CAPACITY.
   */
  apply(policies: readonly Policy[]): Promise<AppliedPolicy[]>;
  /** What apply() would change; nothing changes. INSUFFICIENT_CAPACITY. */
  preview(policies: readonly Policy[]): Promise<PolicyPreview>;
  list(): Policy[];
  /** POLICY_NOT_FOUND. */
  get(namespace: string, name: string): Policy;
  /** POLICY_NOT_FOUND. */
  delete(namespace: string, name: string): Promise<void>;
}

export interface PortMappingService {
  /**
   * NETWORK_NOT_FOUND, CONTAINER_NOT_FOUND, NODE_PORT_IN_USE (the owner is named), NODE_PORTS_EXHAUSTED,
   * INVALID_REQUEST (the address is not the node's), INSUFFICIENT_CAPACITY.
   */
  create(request: PortMappingRequest): Promise<PortMapping>;
  /** In the order of their ids, as create() describes them. */
  list(): Promise<PortMapping[]>;
  /** The same without what the policy says of them. */
  records(): PortMappingRecord[];
  /** PORT_MAPPING_NOT_FOUND. */
  get(id: number): Promise<PortMapping>;
  /** PORT_MAPPING_NOT_FOUND. Connections that are open go on. */
  delete(id: number): Promise<void>;
}

/** A service as it is in force now. */
export interface AppliedService {
  readonly service: Service;
  /** Whether there was none of its name before. */
  readonly created: boolean;
}

export interface ServiceService {
  /**
   * Creates or replaces; what is not asked for stays as it was given. NETWORK_NOT_FOUND, SERVICE_ADDRESS_INVALID,
   * SERVICE_PORT_IN_USE, POOL_EXHAUSTED, INVALID_REQUEST (no address, and no range), INSUFFICIENT_CAPACITY; of its node
   * ports as PortMappingService.create().
   */
  apply(request: ServiceRequest): Promise<AppliedService>;
  list(): Service[];
  /** SERVICE_NOT_FOUND. */
  get(namespace: string, name: string): Service;
  /** SERVICE_NOT_FOUND. Connections that are open go on. */
  delete(namespace: string, name: string): Promise<void>;
}

export interface ConnectionService {
  /** Those that fit, up to the limit, in no particular order. */
  list(query: ConnectionQuery): Promise<ConnectionList>;
  /** Forgets those that fit; returns how many. What they say next is judged as the first of a new one. */
  flush(filter: ConnectionFilter): Promise<number>;
}

/** Packets and bytes of one endpoint, since it was connected. reason `NONE`: forwarded. */
export interface TrafficSample {
  endpoint_id: number;
  network: string;
  direction: 'egress' | 'ingress';
  reason: string;
  /**
   * These were forwarded, and are in the sample of `NONE` too: the reason is why they would have been dropped, were the
   * audited policies enforced.
   */
  audited: boolean;
  packets: bigint;
  bytes: bigint;
}

/** A verdict, as the loaded program told it. */
export interface FlowEvent {
  time: string;
  verdict: 'allowed' | 'dropped';
  /** Name of the drop reason; `NONE` when allowed. */
  reason: string;
  direction: 'egress' | 'ingress';
  network?: string;
  protocol?: string;
  source: FlowParty;
  destination: FlowParty;
  icmp_type?: number;
  icmp_code?: number;
  /** Text of the rules that decided: `default/allow-web ingress[0]`. */
  egress_rule?: string;
  ingress_rule?: string;
  /** Policies that isolate the side whose default deny dropped it: `default/deny-all`. None: the isolation mode did. */
  isolated_by?: string[];
  /** There when the audited policies, were they enforced, would have decided otherwise. */
  audit?: AuditedVerdict;
  bytes: number;
}

export interface FlowParty {
  kind: 'endpoint' | 'host' | 'world' | 'unknown';
  container_id?: string;
  network?: string;
  namespace?: string;
  labels?: Record<string, string>;
  ip?: string;
  port?: number;
}

/** How often something of a program's links was lost and put back since the daemon has started. */
export interface LinkRepairs {
  program: string;
  /** Its pin alone, the program of the link, or the link. */
  lost: string;
  count: number;
}

/** At how many places programs of others run before one of ours. */
export interface PrecededPrograms {
  program: string;
  count: number;
}

export interface Observation {
  readiness(): Readiness;
  identities(): (Identity & { endpoints: number })[];
  /** Read from the kernel at the moment of the call; endpoints that are gone are summed under endpoint_id 0 of their network. */
  traffic(): Promise<TrafficSample[]>;
  /** Events that never reached the daemon, by cause. */
  lostEvents(): Record<string, bigint>;
  /** Of every program, and everything that can be lost. */
  repairs(): LinkRepairs[];
  /** Of every program that others can be put before. */
  preceded(): PrecededPrograms[];
  /** Live records of the connection table, and its size. */
  connections(): { used: number; max: number };
  /** The same of those whose address is translated. */
  translations(): { used: number; max: number };
  /** Calls back for each event until the signal aborts. */
  watchFlows(listener: (event: FlowEvent) => void, signal: AbortSignal): void;
  /** The last events, oldest first. */
  recentFlows(limit: number): FlowEvent[];
}

export interface ExplanationService {
  /**
   * What would become of a packet, and why; nothing changes, and nothing is counted. CONTAINER_NOT_FOUND,
   * NETWORK_NOT_FOUND, INVALID_REQUEST (what is meant is ambiguous, or cannot be), KERNEL_ERROR.
   */
  explain(request: ExplainRequest): Promise<Explanation>;
}

/** An endpoint that is made before its container is there. */
export interface StagedEndpoint {
  /** What the container runtime calls it. */
  key: string;
  /** What the container runtime calls its network. */
  runtime_network: string;
  /** Whether a container is to have it, and its network namespace is known. */
  joined: boolean;
  endpoint: Endpoint;
}

/** Who a container turned out to be. */
export interface ContainerIdentity {
  container_id: string;
  namespace: string;
  labels: Labels;
}

/** Endpoints of a runtime that makes its containers later, and moves the interfaces into them itself. */
export interface StagedEndpointService {
  find(key: string): StagedEndpoint | undefined;
  list(): StagedEndpoint[];
  /** Makes the interface and all that guards it; nothing passes yet. Errors as of EndpointService.connect(). */
  stage(
    network: string,
    key: string,
    runtimeNetwork: string,
    request: Omit<EndpointRequest, 'container_id' | 'netns_path'>,
  ): Promise<Endpoint>;
  /** The container will have this network namespace. CONTAINER_NOT_FOUND: there is no such endpoint; ENDPOINT_EXISTS. */
  join(key: string, netnsPath: string): Promise<Endpoint>;
  /** Lets pass what policies allow to that container. Undefined: it is gone, or has left. ENDPOINT_EXISTS, INSUFFICIENT_CAPACITY. */
  identify(key: string, who: ContainerIdentity): Promise<Endpoint | undefined>;
  /** Lets nothing pass any more; what is not there is fine. */
  leave(key: string): Promise<void>;
  /** Takes it off; what is not there is fine. */
  remove(key: string): Promise<void>;
  /** Looks for the interface in the container, and records its name there. False: it is not there. */
  locate(key: string): Promise<boolean>;
  /** Whether its interface is still there, wherever the container's side is. */
  hasInterface(key: string): Promise<boolean>;
}

/** A network that a container runtime has a name of its own for. */
export interface RuntimeNetwork {
  network: Network;
  /** Whether it was made for the runtime, and goes with it. */
  owned: boolean;
}

export interface RuntimeNetworkService {
  find(key: string): RuntimeNetwork | undefined;
  /** NETWORK_NOT_FOUND. */
  bind(key: string, network: Network, owned: boolean): Promise<void>;
  /** Whether it was made for any runtime. */
  isOwned(network: Network): boolean;
  forget(key: string): Promise<void>;
}

/** Addresses for endpoints that are about to be made. */
export interface ReservationService {
  /** NETWORK_NOT_FOUND, INVALID_REQUEST, ADDRESS_IN_USE, POOL_EXHAUSTED. */
  reserve(network: string, family: Family, wanted?: string): Promise<string>;
  /** An address that an endpoint has stays its own; what is not reserved is fine. */
  release(network: string, address: string): Promise<void>;
  /** Releases those that nobody came for. */
  collect(): Promise<void>;
}

/** Ranges are canonical; a range that is there already, or is not, is no error. INSUFFICIENT_CAPACITY: more than may be. */
export interface DenyListService {
  readonly size: number;
  list(query: DenyListQuery): DenyList;
  replace(cidrs: readonly string[]): Promise<DenyListChange>;
  add(cidrs: readonly string[]): Promise<DenyListChange>;
  remove(cidrs: readonly string[]): Promise<DenyListChange>;
}

/** The node, as its edges see it. */
export interface Node {
  readonly networks: NetworkService;
  readonly endpoints: EndpointService;
  readonly namespaces: NamespaceService;
  readonly policies: PolicyService;
  readonly portMappings: PortMappingService;
  readonly services: ServiceService;
  readonly connections: ConnectionService;
  readonly observation: Observation;
  readonly explanations: ExplanationService;
  readonly denyList: DenyListService;
}
