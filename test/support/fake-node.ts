/** A node in memory: the rules of the real one as far as an edge can see them, and no kernel. */
import {
  addressAt,
  cidrContains,
  cidrSize,
  cidrsOverlap,
  formatAddress,
  parseAddress,
  parseCidr,
} from '../../src/model/address.js';
import {
  type Endpoint,
  type EndpointRequest,
  hostInterface,
  patchedLabels,
} from '../../src/model/endpoint.js';
import { AppError } from '../../src/model/errors.js';
import type { PolicyState } from '../../src/model/health.js';
import { FIRST_IDENTITY, type Identity, identityKey } from '../../src/model/identity.js';
import { type Network, networkFrom, networkRanges } from '../../src/model/network.js';
import { policyRef } from '../../src/model/policy.js';
import type {
  DenyListService,
  EndpointService,
  ExplanationService,
  FlowEvent,
  LinkRepairs,
  NetworkService,
  Node,
  Observation,
  PolicyPreview,
  PolicyService,
  PortMappingService,
  PrecededPrograms,
  ServiceService,
  TrafficSample,
} from '../../src/vnet/contract.js';
import { fakeDenyList } from './fake-deny-list.js';
import { FakeNamespaces } from './fake-namespaces.js';
import { fakePolicies } from './fake-policies.js';
import { FakeConnections, fakePortMappings, fakeServices } from './fake-published.js';

export const CREATED_AT = '2026-01-02T03:04:05.000Z';

/** The services, and what a test may set or look at. */
export class FakeNode implements Node {
  readonly networks: NetworkService;
  readonly endpoints: EndpointService;
  readonly namespaces: FakeNamespaces;
  readonly policies: PolicyService;
  readonly portMappings: PortMappingService;
  readonly services: ServiceService;
  readonly observation: Observation;
  readonly explanations: ExplanationService;
  readonly denyList: DenyListService;

  isReady = true;
  cutOff: PolicyState | undefined;
  /** What the next dry runs tell. */
  preview: PolicyPreview = { changes: [], flows: [], cut_off: [], truncated: false };
  traffic: TrafficSample[] = [];
  lost: Record<string, bigint> = { ring_buffer: 0n };
  repairs: LinkRepairs[] = [];
  preceded: PrecededPrograms[] = [];
  connectionCount = { used: 0, max: 262144 };
  translationCount = { used: 0, max: 262144 };
  readonly connections: FakeConnections;
  /** Thrown by the next call that changes something, once. */
  failure: unknown;
  readonly flows: FlowEvent[] = [];
  readonly watchers = new Set<(event: FlowEvent) => void>();

  readonly #networks = new Map<string, Network>();
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #identities = new Map<string, Identity>();
  #lastId = 0;

  constructor() {
    this.networks = this.#networkService();
    this.endpoints = this.#endpointService();
    const fail = () => this.#fail();
    const members = () => [
      ...[...this.#endpoints.values()].map(({ namespace }) => namespace),
      ...this.policies.list().map((policy) => policyRef(policy).namespace),
    ];
    this.denyList = fakeDenyList(fail);
    this.namespaces = new FakeNamespaces(fail, members, CREATED_AT);
    const ensure = (name: string) => this.namespaces.ensure(name);
    this.policies = fakePolicies(fail, ensure, () => this.preview);
    const published = {
      fail,
      find: (...key: Parameters<EndpointService['get']>) => this.endpoints.get(...key),
      createdAt: CREATED_AT,
    };
    this.portMappings = fakePortMappings(published);
    this.services = fakeServices(published);
    this.connections = new FakeConnections();
    this.observation = this.#observation();
    this.explanations = {
      explain: async () => {
        throw new AppError('CONTAINER_NOT_FOUND');
      },
    };
  }

  /** Tells an event to everybody who watches. */
  emit(event: FlowEvent): void {
    this.flows.push(event);
    for (const watcher of this.watchers) watcher(event);
  }

  #fail(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }

  #network(name: string): Network {
    const found = this.#networks.get(name);
    if (found === undefined) throw new AppError('NETWORK_NOT_FOUND', `there is no network "${name}"`);
    return found;
  }

  #networkService(): NetworkService {
    return {
      create: async (request) => {
        this.#fail();
        if (this.#networks.has(request.name)) {
          throw new AppError('NETWORK_EXISTS', `there is a network "${request.name}"`);
        }
        for (const peer of request.peers) this.#network(peer);
        const made = networkFrom(request, { id: this.#lastId + 1, created_at: CREATED_AT });
        const taken = [...this.#networks.values()].flatMap(networkRanges);
        for (const { cidr } of networkRanges(made)) {
          if (taken.some((other) => cidrsOverlap(other.cidr, cidr))) throw new AppError('CIDR_OVERLAP');
        }
        this.#lastId += 1;
        this.#networks.set(made.name, made);
        return made;
      },
      list: () => [...this.#networks.values()],
      get: (name) => this.#network(name),
      delete: async (name) => {
        this.#fail();
        this.#network(name);
        const isUsed = [...this.#endpoints.values()].some((endpoint) => endpoint.network === name);
        if (isUsed) throw new AppError('NETWORK_IN_USE');
        this.#networks.delete(name);
      },
    };
  }

  #find(network: string, containerId: string, interfaceName?: string): [Endpoint, ...Endpoint[]] {
    this.#network(network);
    const [first, ...others] = [...this.#endpoints.values()].filter(
      (endpoint) =>
        endpoint.network === network &&
        endpoint.container_id === containerId &&
        (interfaceName === undefined || endpoint.interface_name === interfaceName),
    );
    if (first === undefined) throw new AppError('CONTAINER_NOT_FOUND');
    return [first, ...others];
  }

  #endpointService(): EndpointService {
    return {
      connect: async (name, request) => {
        this.#fail();
        return this.#connect(this.#network(name), request);
      },
      list: (name) => {
        if (name !== undefined) this.#network(name);
        return [...this.#endpoints.values()].filter(({ network }) => name === undefined || network === name);
      },
      get: (name, containerId, interfaceName) => this.#find(name, containerId, interfaceName)[0],
      patch: async (name, containerId, patch, interfaceName) => {
        this.#fail();
        const before = this.#find(name, containerId, interfaceName)[0];
        const namespace = patch.namespace ?? before.namespace;
        const labels = patchedLabels(before.labels, patch);
        const identity = this.#identity(this.#network(name), namespace, labels);
        const options = patch.options ?? before.options;
        const after = { ...before, namespace, labels, identity, ...(options && { options }) };
        this.#endpoints.set(keyOf(after), after);
        return after;
      },
      disconnect: async (name, containerId, interfaceName) => {
        this.#fail();
        for (const endpoint of this.#find(name, containerId, interfaceName)) {
          this.#endpoints.delete(keyOf(endpoint));
        }
      },
      inspect: async () => [],
    };
  }

  #connect(network: Network, { ip_address, ip6_address, ...request }: EndpointRequest): Endpoint {
    const id = this.#lastId + 1;
    const ip4 = this.#address(network.cidr, id, 'ip_address', ip_address);
    const ip6 = this.#address(network.cidr6, id, 'ip6_address', ip6_address);
    const made: Endpoint = {
      ...request,
      id,
      network: network.name,
      network_id: network.id,
      ...(ip4 === undefined ? {} : { ip_address: ip4 }),
      ...(ip6 === undefined ? {} : { ip6_address: ip6 }),
      ...(network.gateway === undefined ? {} : { gateway: network.gateway }),
      ...(network.gateway6 === undefined ? {} : { gateway6: network.gateway6 }),
      mac_address: request.mac_address ?? '02:00:00:00:00:01',
      identity: this.#identity(network, request.namespace, request.labels),
      host_interface: hostInterface(id),
      created_at: CREATED_AT,
      state: 'ready',
    };
    if (this.#endpoints.has(keyOf(made))) throw new AppError('ENDPOINT_EXISTS');
    this.#lastId = id;
    this.#endpoints.set(keyOf(made), made);
    return made;
  }

  #address(range: string | undefined, id: number, field: 'ip_address' | 'ip6_address', asked?: string) {
    if (range === undefined) return undefined;
    const cidr = parseCidr(range);
    if (asked === undefined) {
      if (BigInt(id) + 2n >= cidrSize(cidr)) throw new AppError('POOL_EXHAUSTED');
      return formatAddress(addressAt(cidr, BigInt(id) + 1n));
    }
    if (!cidrContains(cidr, parseAddress(asked))) {
      const message = `must be inside ${range}`;
      throw new AppError('INVALID_REQUEST', `${field}: ${message}`, { details: [{ path: field, message }] });
    }
    const isTaken = [...this.#endpoints.values()].some((endpoint) => endpoint[field] === asked);
    if (isTaken) throw new AppError('ADDRESS_IN_USE');
    return asked;
  }

  #identity(network: Network, namespace: string, labels: Record<string, string>): number {
    this.namespaces.ensure(namespace);
    const key = identityKey({ network_id: network.id, namespace, labels });
    const id = this.#identities.get(key)?.id ?? FIRST_IDENTITY + this.#identities.size;
    const made = { id, network: network.name, network_id: network.id, namespace, labels };
    this.#identities.set(key, { ...made, created_at: CREATED_AT });
    return id;
  }

  #observation(): Observation {
    return {
      readiness: () => ({
        ready: this.isReady,
        checks: [
          { name: 'programs', ready: true },
          { name: 'store', ready: true },
          this.isReady
            ? { name: 'sync', ready: true }
            : { name: 'sync', ready: false, message: 'the kernel is being compared' },
        ],
        ...(this.cutOff && { policies: this.cutOff }),
      }),
      identities: () =>
        [...this.#identities.values()].map((identity) => ({
          ...identity,
          endpoints: [...this.#endpoints.values()].filter((endpoint) => endpoint.identity === identity.id)
            .length,
        })),
      traffic: async () => {
        this.#fail();
        return this.traffic;
      },
      lostEvents: () => this.lost,
      repairs: () => this.repairs,
      preceded: () => this.preceded,
      connections: () => this.connectionCount,
      translations: () => this.translationCount,
      watchFlows: (listener, signal) => {
        this.watchers.add(listener);
        signal.addEventListener('abort', () => this.watchers.delete(listener), { once: true });
      },
      recentFlows: (limit) => this.flows.slice(-limit),
    };
  }
}

function keyOf({ network, container_id, interface_name }: Endpoint): string {
  return `${network}/${container_id}/${interface_name}`;
}
