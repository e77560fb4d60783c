/** Makes endpoints and takes them off, in the order that leaves no window. */
import { type ContainerRoute, configureContainer } from '../../bridge/container-side.js';
import {
  type ContainerEnd,
  configureHostSide,
  createPair,
  interfaceExists,
  isOwn,
  removePair,
  takeFrames,
} from '../../bridge/endpoint-device.js';
import type { Datapath } from '../../datapath/datapath.js';
import { type Endpoint, type EndpointRequest, stagedInterface } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import type { Network } from '../../model/network.js';
import { canOpen } from '../../native/descriptors.js';
import { NetnsHandle, Rtnl } from '../../native/net.js';
import type { Store } from '../../store/store.js';
import { attachments, nextNumber } from '../../store/tables.js';
import {
  completeEndpoint,
  condemnEndpoint,
  eraseEndpoint,
  type RecordOptions,
  recordEndpoint,
  requireNewEndpoint,
} from '../endpoint-records.js';
import type { NodePorts } from '../nat/node-ports.js';
import { erasePorts, recordPorts } from '../nat/port-mappings.js';
import type { Publishing } from '../nat/publishing.js';
import { requireNetwork } from '../networks.js';
import { capacityError, type Enlistment, noDescriptors } from '../policy/enlistment.js';
import { type OnLeft, Rollback } from '../rollback.js';
import { openContainerNetns } from './container-netns.js';
import { endpointState } from './endpoint-state.js';
import { limitSide } from './limits.js';

export interface EndpointMakerParts {
  store: Store;
  host: Rtnl;
  datapath: Datapath;
  nodePorts: NodePorts;
  publishing: Publishing;
  onStoreError(error: unknown): void;
  /** Told of each endpoint whose network namespace belongs to the user namespace of the node. */
  onSharedUserNamespace(endpoint: Endpoint): void;
  /** Told of each endpoint that is gone, before its counters are. */
  onGone(endpoint: Endpoint): void;
  onLeft: OnLeft;
}

export type ConnectOptions = Omit<RecordOptions, 'staged' | 'takesFrames'>;

/**
 * Files that must be left before an endpoint is made: what fails half-way is taken back, and that needs files as well. It is
 * ten at a time; others may come to need theirs meanwhile.
 */
const DESCRIPTORS_MIN = 32;

/** Only under the serial. */
export class EndpointMaker {
  /** Interfaces that the kernel is still freeing. */
  private readonly freeing = new Set<Promise<void>>();

  constructor(
    private readonly parts: EndpointMakerParts,
    private readonly enlistment: Enlistment,
  ) {}

  /** Waits for what the kernel still does for endpoints that are gone. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.freeing);
  }

  /** In the order that leaves no window. Takes back what was done when a step fails. */
  async make(networkName: string, request: EndpointRequest, options: ConnectOptions): Promise<Endpoint> {
    requireDescriptors();
    using netns = openContainerNetns(request.netns_path);
    using inside = Rtnl.open(netns);
    // Who asks twice is to be told so, not that there is some interface.
    requireNewEndpoint(this.parts.store, requireNetwork(this.parts.store, networkName), request);
    if (inside.link(request.interface_name) !== undefined) throw interfaceExists(request.interface_name);
    const rollback = new Rollback(this.parts.onLeft);
    try {
      const recorded = { ...options, takesFrames: this.parts.datapath.xdp.isOn };
      const { endpoint, network, durable } = await this.record(networkName, request, recorded, rollback);
      // Meanwhile: what a daemon that starts anew finds without a record, it removes.
      const end = { netns, name: endpoint.interface_name };
      const containerIndex = await this.prepare(endpoint, network, end, rollback, (index) =>
        this.tellOf(endpoint, network, index),
      );
      await durable;
      if (endpoint.options !== undefined) limitSide('container', inside, containerIndex, endpoint, network);
      const routes = configureContainer(inside, containerIndex, endpoint, network, options.routes);
      // Last: nobody is led to a container that cannot answer.
      rollback.add(`ports and services that lead to endpoint ${endpoint.id}`, () =>
        this.parts.publishing.leave(endpoint),
      );
      await this.parts.publishing.join(endpoint);
      if (netns.sharesUserNamespace) this.parts.onSharedUserNamespace(endpoint);
      return this.complete(endpoint, routes);
    } catch (error) {
      await rollback.run();
      throw capacityError(error);
    }
  }

  /**
   * Makes an endpoint whose container is not there yet: all but that the programs know it. They let nothing of it pass
   * until they are told (tell()), wherever its container's side goes meanwhile. That side waits in the node's namespace,
   * down and without an address, and takes the program on it along when it goes.
   */
  async stage(networkName: string, request: EndpointRequest, options: RecordOptions): Promise<Endpoint> {
    requireDescriptors();
    using netns = NetnsHandle.current();
    const rollback = new Rollback(this.parts.onLeft);
    try {
      const recorded = { ...options, takesFrames: this.parts.datapath.xdp.isOn };
      const { endpoint, network, durable } = await this.record(networkName, request, recorded, rollback);
      const end = { netns, name: stagedInterface(endpoint.id) };
      await this.prepare(endpoint, network, end, rollback, () => undefined);
      await durable;
      return endpoint;
    } catch (error) {
      await rollback.run();
      throw capacityError(error);
    }
  }

  /** Tells the programs who an endpoint is that has its interface; from here on they let pass what they judge so. */
  async tell(endpoint: Endpoint, network: Network): Promise<void> {
    const link = this.parts.host.link(endpoint.host_interface);
    if (!isOwn(link, endpoint)) throw new AppError('INTERNAL', `${endpoint.host_interface} is not there`);
    this.tellOf(endpoint, network, link.index);
    await this.parts.publishing.join(endpoint);
  }

  private tellOf(endpoint: Endpoint, network: Network, index: number): void {
    const { store, datapath } = this.parts;
    datapath.endpoints.put(endpointState(store, endpoint, network, index));
  }

  /** Takes back what tell() told. */
  async untell(endpoint: Endpoint): Promise<void> {
    const { store, host, datapath, publishing } = this.parts;
    await publishing.leave(endpoint);
    const network = requireNetwork(store, endpoint.network);
    const index = host.link(endpoint.host_interface)?.index;
    datapath.endpoints.remove(endpointState(store, endpoint, network, index ?? 0), index);
  }

  /** Takes an endpoint off, however much of it exists. */
  async remove(endpoint: Endpoint): Promise<void> {
    const { store, host } = this.parts;
    // Not waited for: whether a daemon that starts anew finds this written, or the interface gone, it does the rest.
    store.transaction((transaction) => condemnEndpoint(transaction, endpoint), 'soon').catch(() => undefined);
    const network = requireNetwork(store, endpoint.network);
    await this.parts.publishing.leave(endpoint);
    await this.unmake(endpoint, network, host.link(endpoint.host_interface)?.index);
    await this.enlistment.dismiss(endpoint);
    await this.forget(endpoint);
    this.parts.onGone(endpoint);
  }

  /**
   * Marks an endpoint as made, without waiting for the disk: its record is there, and if the daemon ends before this
   * is written, the next one finds the endpoint complete and marks it then.
   */
  private complete(endpoint: Endpoint, routes: readonly ContainerRoute[]): Endpoint {
    this.parts.store
      .transaction((transaction) => completeEndpoint(transaction, endpoint, routes), 'soon')
      .catch(this.parts.onStoreError);
    return { ...endpoint, state: 'ready' };
  }

  /** The endpoint's identity with its rules, then its records, which are on disk when `durable` resolves. */
  private async record(
    networkName: string,
    request: EndpointRequest,
    options: RecordOptions,
    rollback: Rollback,
  ): Promise<{ endpoint: Endpoint; network: Network; durable: Promise<void> }> {
    const { store, nodePorts } = this.parts;
    const { name: network, id: network_id } = requireNetwork(store, networkName);
    const { namespace, labels } = request;
    const { result: id } = await store.stage((transaction) => nextNumber(transaction, 'endpoint'), 'soon');
    const claimed = await this.enlistment.enlist(id, { network, network_id, namespace, labels });
    const identity = claimed.id;
    rollback.add(`rules of identity ${identity}`, () => this.enlistment.giveUp(id, claimed));
    const { result, durable } = await store.stage((transaction) => {
      const made = recordEndpoint(transaction, networkName, request, { id, identity }, options);
      recordPorts(transaction, nodePorts, made.endpoint, request.ports);
      return made;
    });
    const { endpoint } = result;
    rollback.add(`the records of endpoint ${id}`, async () => {
      // As long as an interface has the addresses nobody else may get them.
      if (!isOwn(this.parts.host.link(endpoint.host_interface), endpoint)) await this.forget(endpoint);
    });
    return { ...result, durable };
  }

  /**
   * Everything but the container's side, which has neither an address nor is it up. Each step can be taken back.
   * `tell` tells the programs of the endpoint. Returns the index of the container's side.
   */
  private async prepare(
    endpoint: Endpoint,
    network: Network,
    end: ContainerEnd,
    rollback: Rollback,
    tell: (index: number) => void,
  ): Promise<number> {
    const { store, host, datapath } = this.parts;
    // Taken back before the rules are: a packet that finds some of them gone may pass by what is left.
    const { index, peerIndex } = createPair(host, end, endpoint, network);
    rollback.add(`the interface ${endpoint.host_interface}`, () => this.unmake(endpoint, network, index));
    if (store.get(attachments, [endpoint.id])?.takes_frames) takeFrames(end);
    if (endpoint.options !== undefined) limitSide('host', host, index, endpoint, network);
    tell(index);
    datapath.attachments.attach(
      { interface: endpoint.host_interface, ifindex: index },
      { netns: end.netns, ifindex: peerIndex },
    );
    configureHostSide(host, index, endpoint, network);
    return peerIndex;
  }

  /** The interface first: the programs stay on it until there is nothing left to guard. */
  private async unmake(endpoint: Endpoint, network: Network, ifindex: number | undefined): Promise<void> {
    const { store, host, datapath } = this.parts;
    const { freed } = await removePair(host, endpoint);
    this.freeing.add(freed);
    freed.finally(() => this.freeing.delete(freed)).catch(() => undefined);
    datapath.attachments.unpin(endpoint.host_interface);
    datapath.endpoints.remove(endpointState(store, endpoint, network, ifindex ?? 0), ifindex);
  }

  /** Forgets the endpoint, and its identity when nobody has it any more. */
  private async forget(endpoint: Endpoint): Promise<void> {
    await this.parts.store.transaction((transaction) => {
      erasePorts(transaction, endpoint);
      eraseEndpoint(transaction, endpoint);
      this.enlistment.drop(transaction, endpoint.identity);
    });
  }
}

/** INSUFFICIENT_CAPACITY. */
function requireDescriptors(): void {
  if (!canOpen(DESCRIPTORS_MIN)) throw noDescriptors();
}
