/** A node in memory, as far as the plugin for Docker sees it, and an engine that tells what a test says. */
import type { DockerContainer } from '../../src/docker/container-labels.js';
import type { DockerEngine } from '../../src/docker/engine-api.js';
import { type Endpoint, hostInterface } from '../../src/model/endpoint.js';
import { AppError } from '../../src/model/errors.js';
import type {
  ReservationService,
  RuntimeNetwork,
  RuntimeNetworkService,
  StagedEndpoint,
  StagedEndpointService,
} from '../../src/vnet/contract.js';
import { CREATED_AT, FakeNode } from './fake-node.js';

export const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export class FakeStaged implements StagedEndpointService {
  readonly all = new Map<string, StagedEndpoint>();
  /** Keys of endpoints whose interface is gone. */
  readonly lost = new Set<string>();
  /** Keys of endpoints whose interface is in a container. */
  readonly inContainer = new Set<string>();
  #lastId = 0;

  constructor(private readonly node: FakeNode) {}

  find: StagedEndpointService['find'] = (key) => this.all.get(key);
  list: StagedEndpointService['list'] = () => [...this.all.values()];
  hasInterface: StagedEndpointService['hasInterface'] = async (key) => !this.lost.has(key);
  locate: StagedEndpointService['locate'] = async (key) => this.inContainer.has(key);

  stage: StagedEndpointService['stage'] = async (name, key, runtimeNetwork, request) => {
    const network = this.node.networks.get(name);
    this.#lastId += 1;
    const endpoint: Endpoint = {
      ...request,
      id: this.#lastId,
      network: name,
      network_id: network.id,
      container_id: key,
      netns_path: '/dev/null',
      ip_address: request.ip_address ?? '10.61.0.2',
      mac_address: request.mac_address ?? '06:00:00:00:00:01',
      ...(network.gateway === undefined ? {} : { gateway: network.gateway }),
      identity: 256,
      host_interface: hostInterface(this.#lastId),
      created_at: CREATED_AT,
      state: 'creating',
    };
    this.all.set(key, { key, runtime_network: runtimeNetwork, joined: false, endpoint });
    return endpoint;
  };

  join: StagedEndpointService['join'] = async (key, netns_path) =>
    this.#change(key, true, { netns_path }) ?? raise(new AppError('CONTAINER_NOT_FOUND'));
  identify: StagedEndpointService['identify'] = async (key, who) =>
    this.#change(key, true, { ...who, state: 'ready' });
  leave: StagedEndpointService['leave'] = async (key) => void this.#change(key, false, { state: 'creating' });
  remove: StagedEndpointService['remove'] = async (key) => void this.all.delete(key);

  #change(key: string, joined: boolean, change: Partial<Endpoint>): Endpoint | undefined {
    const staged = this.all.get(key);
    if (staged === undefined) return undefined;
    const endpoint = { ...staged.endpoint, ...change };
    this.all.set(key, { ...staged, joined, endpoint });
    return endpoint;
  }
}

export class FakeRuntimeNetworks implements RuntimeNetworkService {
  readonly all = new Map<string, RuntimeNetwork>();
  find: RuntimeNetworkService['find'] = (key) => this.all.get(key);
  bind: RuntimeNetworkService['bind'] = async (key, network, owned) =>
    void this.all.set(key, { network, owned });
  isOwned: RuntimeNetworkService['isOwned'] = ({ id }) =>
    [...this.all.values()].some(({ network, owned }) => owned && network.id === id);
  forget: RuntimeNetworkService['forget'] = async (key) => void this.all.delete(key);
}

export class FakeReservations implements ReservationService {
  readonly taken = new Set<string>();
  collections = 0;
  reserve: ReservationService['reserve'] = async (network, _family, wanted) => {
    const address = wanted ?? '10.61.0.2';
    if (this.taken.has(`${network} ${address}`)) throw new AppError('ADDRESS_IN_USE');
    this.taken.add(`${network} ${address}`);
    return address;
  };
  release: ReservationService['release'] = async (network, address) =>
    void this.taken.delete(`${network} ${address}`);
  collect: ReservationService['collect'] = async () => {
    this.collections += 1;
  };
}

export class FakeEngine implements DockerEngine {
  /** Containers by the endpoint that they have. */
  readonly holders = new Map<string, DockerContainer>();
  /** Endpoints that have no container. */
  readonly bare = new Set<string>();
  failure: AppError | undefined;
  asked = 0;

  containerOf: DockerEngine['containerOf'] = async (_, endpointId) => {
    this.asked += 1;
    if (this.failure !== undefined) throw this.failure;
    return this.holders.get(endpointId) ?? (this.bare.has(endpointId) ? 'none' : 'absent');
  };
  container: DockerEngine['container'] = async (id) =>
    [...this.holders.values()].find((container) => container.id === id);
}

export class FakeDockerNode {
  readonly node = new FakeNode();
  readonly networks = this.node.networks;
  readonly staged = new FakeStaged(this.node);
  readonly runtimeNetworks = new FakeRuntimeNetworks();
  readonly reservations = new FakeReservations();
  readonly engine = new FakeEngine();
}

function raise(error: Error): never {
  throw error;
}
