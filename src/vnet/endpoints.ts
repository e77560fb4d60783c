/** Connects containers to networks and takes them off, in the order that leaves no window. */
import {
  type ContainerRoute,
  configureContainer,
  configureHostSide,
  createPair,
  inspectEndpointDevice,
  interfaceExists,
  isOwn,
  removePair,
} from '../bridge/endpoint-device.js';
import { networkMtu } from '../bridge/network-device.js';
import type { Datapath } from '../datapath/datapath.js';
import type { Endpoint, EndpointPatch, EndpointRequest } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import { KernelError } from '../native/errors.js';
import { NetnsHandle, Rtnl } from '../native/net.js';
import type { Reader, Store } from '../store/store.js';
import { type AttachmentRecord, attachments, endpointKeys, endpoints, identities } from '../store/tables.js';
import {
  completeEndpoint,
  condemnEndpoint,
  endpointsOf,
  eraseEndpoint,
  type Origin,
  recordEndpoint,
  relabelEndpoint,
} from './endpoint-records.js';
import { endpointState } from './endpoint-state.js';
import { dropIdentity, type IdentityUse } from './identities.js';
import { requireNetwork } from './networks.js';
import type { PolicySync } from './policy-sync.js';
import { Rollback } from './rollback.js';
import type { Serial } from './serial.js';
import type { EndpointService } from './services.js';

export interface EndpointsParts {
  store: Store;
  serial: Serial;
  host: Rtnl;
  datapath: Datapath;
  policy: PolicySync;
  identityUse: IdentityUse;
  onStoreError(error: unknown): void;
  /** Told of each endpoint whose network namespace belongs to the user namespace of the node. */
  onSharedUserNamespace(endpoint: Endpoint): void;
  /** Told of each endpoint that is gone, before its counters are. */
  onGone(endpoint: Endpoint): void;
}

export interface ConnectOptions {
  origin: Origin;
  /** Routes beside the default ones. */
  routes: readonly ContainerRoute[];
}

/** An endpoint with everything that its making has added to it. */
export interface EndpointDescription {
  endpoint: Endpoint;
  network: Network;
  /** Of both sides, bytes. */
  mtu: number;
  /** Of the host's side; undefined: it is gone. Not for containers to know. */
  host_mac: string | undefined;
  /** Routes inside the container, default routes included. */
  routes: ContainerRoute[];
  origin: Origin;
}

export class Endpoints implements EndpointService {
  /** Interfaces that the kernel is still freeing. */
  private readonly freeing = new Set<Promise<void>>();

  constructor(private readonly parts: EndpointsParts) {}

  /** Waits for what the kernel still does for endpoints that are gone. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.freeing);
  }

  list(network?: string): Endpoint[] {
    const { store } = this.parts;
    if (network === undefined) return store.list(endpoints);
    const { id } = requireNetwork(store, network);
    return store
      .list(endpointKeys, [id])
      .flatMap(({ endpoint_id }) => store.get(endpoints, [endpoint_id]) ?? [])
      .sort((left, right) => left.id - right.id);
  }

  get(network: string, containerId: string, interfaceName?: string): Endpoint {
    const [first] = this.find(network, containerId, interfaceName);
    return first;
  }

  connect(
    networkName: string,
    request: EndpointRequest,
    options: ConnectOptions = { origin: 'rest', routes: [] },
  ): Promise<Endpoint> {
    return this.parts.serial.run(async () => {
      const { store } = this.parts;
      using netns = openContainerNetns(request.netns_path);
      using inside = Rtnl.open(netns);
      if (inside.link(request.interface_name) !== undefined) throw interfaceExists(request.interface_name);
      const rollback = new Rollback();
      try {
        const { result, durable } = await store.stage((transaction) => {
          const made = recordEndpoint(transaction, networkName, request, options);
          this.requireRoom(transaction, made.endpoint);
          return made;
        });
        const { endpoint, network } = result;
        rollback.add(async () => {
          // As long as an interface has the addresses nobody else may get them.
          if (!isOwn(this.parts.host.link(endpoint.host_interface), endpoint)) await this.forget(endpoint);
        });
        // Meanwhile: what a daemon that starts anew finds without a record, it removes.
        const containerIndex = await this.prepare(endpoint, network, netns, rollback);
        await durable;
        const routes = configureContainer(inside, containerIndex, endpoint, network, options.routes);
        if (netns.sharesUserNamespace) this.parts.onSharedUserNamespace(endpoint);
        return this.complete(endpoint, { endpoint_id: endpoint.id, origin: options.origin, routes });
      } catch (error) {
        await rollback.run();
        throw capacityError(error);
      }
    });
  }

  patch(
    networkName: string,
    containerId: string,
    patch: EndpointPatch,
    interfaceName?: string,
  ): Promise<Endpoint> {
    return this.parts.serial.run(async () => {
      const [first, ...others] = this.find(networkName, containerId, interfaceName);
      const rollback = new Rollback();
      const relabel = async (before: Endpoint) => {
        const after = await this.relabel(before, patch);
        rollback.add(async () => void (await this.relabel(after, before)));
        return after;
      };
      try {
        const changed = await relabel(first);
        // A container that is told to be somebody else is so on all of its interfaces.
        for (const endpoint of others) await relabel(endpoint);
        return changed;
      } catch (error) {
        await rollback.run();
        throw error;
      }
    });
  }

  disconnect(networkName: string, containerId: string, interfaceName?: string): Promise<void> {
    return this.parts.serial.run(async () => {
      for (const endpoint of this.find(networkName, containerId, interfaceName)) await this.remove(endpoint);
    });
  }

  /** How the endpoint is made, as its network and its record have it. */
  describe(endpoint: Endpoint): EndpointDescription {
    const { store, host } = this.parts;
    const network = requireNetwork(store, endpoint.network);
    const record = store.get(attachments, [endpoint.id]);
    return {
      endpoint,
      network,
      mtu: networkMtu(network),
      host_mac: host.link(endpoint.host_interface)?.mac,
      routes: [...(record?.routes ?? [])],
      origin: record?.origin ?? 'rest',
    };
  }

  async inspect(endpoint: Endpoint): Promise<string[]> {
    const { store, host, datapath } = this.parts;
    const network = requireNetwork(store, endpoint.network);
    const link = host.link(endpoint.host_interface);
    const problems: string[] = endpoint.state === 'ready' ? [] : [`the endpoint is ${endpoint.state}`];
    try {
      using netns = openContainerNetns(endpoint.netns_path);
      using inside = Rtnl.open(netns);
      const routes = store.get(attachments, [endpoint.id])?.routes ?? [];
      problems.push(...inspectEndpointDevice(host, inside, endpoint, network, routes));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      problems.push(error.message);
    }
    if (link === undefined) return problems;
    if (!datapath.attachments.isAttached({ interface: link.name, ifindex: link.index })) {
      problems.push(`the programs are not attached to ${link.name}`);
    }
    if (!datapath.endpoints.matches(endpointState(endpoint, network, link.index))) {
      problems.push(`the maps of the programs do not have ${link.name} as it should be`);
    }
    return problems;
  }

  /**
   * Puts the programs back on interfaces whose pins somebody has removed, and with them the programs; returns those
   * interfaces. Until then such a container reaches nobody: what no program lets pass, no stack takes. Only under the
   * serial.
   */
  reattach(): string[] {
    const { store, host, datapath } = this.parts;
    if (datapath.attachments.kind !== 'tcx') return []; // filters have no pins: they live with the interface
    const pinned = new Set(datapath.attachments.pinned());
    const bare = store
      .list(endpoints)
      .filter(({ state, host_interface }) => state === 'ready' && !pinned.has(host_interface));
    return bare.flatMap(({ host_interface }) => {
      const link = host.link(host_interface);
      if (link === undefined) return [];
      datapath.attachments.adopt({ interface: link.name, ifindex: link.index });
      return [link.name];
    });
  }

  /** Takes an endpoint off, however much of it exists. Only under the serial. */
  async remove(endpoint: Endpoint): Promise<void> {
    const { store, host } = this.parts;
    // Not waited for: whether a daemon that starts anew finds this written, or the interface gone, it does the rest.
    store.transaction((transaction) => condemnEndpoint(transaction, endpoint), 'soon').catch(() => undefined);
    const network = requireNetwork(store, endpoint.network);
    await this.unmake(endpoint, network, host.link(endpoint.host_interface)?.index);
    await this.dismiss(endpoint);
    await this.forget(endpoint);
    this.parts.onGone(endpoint);
  }

  /**
   * Marks an endpoint as made, without waiting for the disk: its record is there, and if the daemon ends before this
   * is written, the next one finds the endpoint complete and marks it then.
   */
  private complete(endpoint: Endpoint, attachment: AttachmentRecord): Endpoint {
    this.parts.store
      .transaction((transaction) => completeEndpoint(transaction, endpoint, attachment), 'soon')
      .catch(this.parts.onStoreError);
    return { ...endpoint, state: 'ready' };
  }

  /**
   * Everything but the container's side, which has neither an address nor is it up. Each step can be taken back.
   * Returns the index of the container's side.
   */
  private async prepare(
    endpoint: Endpoint,
    network: Network,
    netns: NetnsHandle,
    rollback: Rollback,
  ): Promise<number> {
    const { host, datapath } = this.parts;
    const { index, peerIndex } = createPair(host, netns, endpoint, network);
    rollback.add(() => this.unmake(endpoint, network, index));
    await this.enlist(endpoint);
    rollback.add(() => this.dismiss(endpoint));
    datapath.endpoints.put(endpointState(endpoint, network, index));
    datapath.attachments.attach({ interface: endpoint.host_interface, ifindex: index });
    datapath.attachments.guard(endpoint.host_interface, () => ({ netns, ifindex: peerIndex }));
    configureHostSide(host, index, endpoint, network);
    return peerIndex;
  }

  /** The interface first: the programs stay on it until there is nothing left to guard. */
  private async unmake(endpoint: Endpoint, network: Network, ifindex: number | undefined): Promise<void> {
    const { host, datapath } = this.parts;
    const { freed } = await removePair(host, endpoint);
    this.freeing.add(freed);
    freed.finally(() => this.freeing.delete(freed)).catch(() => undefined);
    datapath.attachments.unpin(endpoint.host_interface);
    datapath.endpoints.remove(endpointState(endpoint, network, ifindex ?? 0), ifindex);
  }

  /** Throws INSUFFICIENT_CAPACITY when there is no room for the rules of an identity that nobody has yet. */
  private requireRoom(reader: Reader, { identity: id }: Endpoint): void {
    const { policy, identityUse } = this.parts;
    const identity = identityUse.count(id) > 0 ? undefined : reader.get(identities, [id]);
    if (identity === undefined) return;
    policy.rehearse(
      (engine) => engine.upsertIdentity(identity),
      (engine) => engine.removeIdentity(id),
    );
  }

  /** One endpoint more has the identity; the first one's policy is in the maps when this resolves. */
  private async enlist({ id: endpointId, identity: id }: Endpoint): Promise<void> {
    const { store, policy, identityUse } = this.parts;
    if (!identityUse.add(id, endpointId)) return;
    const identity = store.get(identities, [id]);
    try {
      if (identity === undefined) throw new AppError('INTERNAL', `identity ${id} has no record`);
      await policy.changeUnobserved(
        (engine) => engine.upsertIdentity(identity),
        (engine) => engine.removeIdentity(id),
      );
    } catch (error) {
      identityUse.remove(id, endpointId);
      throw error;
    }
  }

  /** One endpoint less has the identity; with the last one its policy goes, and its record is for the caller to drop. */
  private async dismiss({ id: endpointId, identity: id }: Endpoint): Promise<void> {
    const { store, policy, identityUse } = this.parts;
    if (!identityUse.remove(id, endpointId)) return;
    const identity = store.get(identities, [id]);
    await policy.changeUnobserved(
      (engine) => engine.removeIdentity(id),
      (engine) => identity && engine.upsertIdentity(identity),
    );
  }

  /** Forgets the endpoint, and its identity when nobody has it any more. */
  private async forget(endpoint: Endpoint): Promise<void> {
    const { store, identityUse } = this.parts;
    await store.transaction((transaction) => {
      eraseEndpoint(transaction, endpoint);
      if (identityUse.count(endpoint.identity) === 0) dropIdentity(transaction, endpoint.identity);
    });
  }

  /** Gives the endpoint another identity. When it fails, nothing has changed. */
  private async relabel(before: Endpoint, change: EndpointPatch): Promise<Endpoint> {
    const { store, host, datapath, policy, identityUse } = this.parts;
    const network = requireNetwork(store, before.network);
    const link = host.link(before.host_interface);
    const after = await store.transaction((transaction) => {
      const changed = relabelEndpoint(transaction, before, {
        labels: change.labels ?? before.labels,
        namespace: change.namespace ?? before.namespace,
      });
      this.requireRoom(transaction, changed);
      return changed;
    });
    if (after.identity === before.identity) return after;
    try {
      await this.enlist(after);
    } catch (error) {
      await store.transaction((transaction) => {
        transaction.put(endpoints, [before.id], before);
        if (identityUse.count(after.identity) === 0) dropIdentity(transaction, after.identity);
      });
      throw capacityError(error);
    }
    if (link !== undefined) datapath.endpoints.put(endpointState(after, network, link.index));
    await policy.judgeAgain();
    await this.dismiss(before);
    if (identityUse.count(before.identity) === 0) {
      await store.transaction((transaction) => dropIdentity(transaction, before.identity));
    }
    return after;
  }

  private find(network: string, containerId: string, interfaceName?: string): [Endpoint, ...Endpoint[]] {
    const { store } = this.parts;
    const [first, ...others] = endpointsOf(store, requireNetwork(store, network), containerId, interfaceName);
    if (first !== undefined) return [first, ...others];
    const what = interfaceName === undefined ? '' : ` by ${interfaceName}`;
    throw new AppError(
      'CONTAINER_NOT_FOUND',
      `container ${containerId} is not connected to ${network}${what}`,
    );
  }
}

/** The namespace behind a path, which must be a container's: NETNS_INVALID. */
function openContainerNetns(path: string): NetnsHandle {
  let netns: NetnsHandle;
  try {
    netns = NetnsHandle.open(path);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw new AppError(
      'NETNS_INVALID',
      `${path} is not a network namespace that can be opened: ${error.message}`,
      {
        cause: error,
        details: [{ path: 'netns_path', message: error.message }],
      },
    );
  }
  using own = NetnsHandle.current();
  if (own.inode !== netns.inode || own.device !== netns.device) return netns;
  netns.close();
  throw new AppError('NETNS_INVALID', `${path} is the network namespace of the node itself`, {
    details: [{ path: 'netns_path', message: 'is the network namespace of the node itself' }],
  });
}

/** What a full map of the kernel means to the caller. */
function capacityError(error: unknown): unknown {
  if (!(error instanceof KernelError)) return error;
  if (error.code !== 'E2BIG' && error.code !== 'ENOSPC' && error.code !== 'ENOMEM') {
    return new AppError('KERNEL_ERROR', error.message, { cause: error });
  }
  return new AppError(
    'INSUFFICIENT_CAPACITY',
    `the node has no room for another endpoint: ${error.message}`,
    {
      cause: error,
      hint: 'raise endpoints_max',
    },
  );
}
