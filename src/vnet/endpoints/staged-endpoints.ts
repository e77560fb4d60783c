/**
 * Endpoints for a runtime that makes its containers later, and takes the interface into them itself. Each goes through
 * three steps, in each of which a daemon may end and the next one goes on:
 *
 *   staged      everything is made; the programs do not know it, and drop whatever it sends and whatever is for it
 *   joined      the runtime has named the network namespace, which it may make later
 *   identified  whose it is is known, and told to the programs: ready
 */
import { containerInterface, isOwn } from '../../bridge/endpoint-device.js';
import { type Endpoint, type EndpointRequest, stagedInterface } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import { KernelError } from '../../native/errors.js';
import { NetnsHandle, Rtnl } from '../../native/net.js';
import type { Store } from '../../store/store.js';
import { endpoints, type StagedEndpointRecord, stagedEndpoints } from '../../store/tables.js';
import type { ContainerIdentity, StagedEndpoint, StagedEndpointService } from '../contract.js';
import { completeEndpoint, renameEndpoint, requireNewEndpoint } from '../endpoint-records.js';
import { requireNetwork } from '../networks.js';
import { capacityError, type Enlistment } from '../policy/enlistment.js';
import { requireIdentity } from '../policy/identities.js';
import { type OnLeft, Rollback } from '../rollback.js';
import type { Serial } from '../serial.js';
import type { EndpointMaker } from './endpoint-maker.js';
import { limitFoundContainerSide } from './limits.js';

/** Instead of the path of a network namespace that is not known yet; it can never become one. */
export const NO_NETNS = '/dev/null';

export interface StagedEndpointsParts {
  store: Store;
  host: Rtnl;
  serial: Serial;
  maker: EndpointMaker;
  enlistment: Enlistment;
  onLeft: OnLeft;
}

export class StagedEndpoints implements StagedEndpointService {
  constructor(private readonly parts: StagedEndpointsParts) {}

  find(key: string): StagedEndpoint | undefined {
    const staged = this.parts.store.get(stagedEndpoints, [key]);
    return staged && this.describe(staged);
  }

  list(): StagedEndpoint[] {
    return this.parts.store.list(stagedEndpoints).flatMap((staged) => this.describe(staged) ?? []);
  }

  stage(
    network: string,
    key: string,
    runtimeNetwork: string,
    request: Omit<EndpointRequest, 'container_id' | 'netns_path'>,
  ): Promise<Endpoint> {
    const { serial, maker } = this.parts;
    return serial.run(async () => {
      const earlier = this.find(key);
      if (earlier?.joined === true) throw new AppError('ENDPOINT_EXISTS', `endpoint ${key} exists`);
      // Asked for again: whether the runtime has heard of the first time is not known here.
      if (earlier !== undefined) await maker.remove(earlier.endpoint);
      const asked = { ...request, container_id: key, netns_path: NO_NETNS };
      const staged = { key, runtimeNetwork };
      return maker.stage(network, asked, { origin: 'docker', routes: [], staged });
    });
  }

  join(key: string, netnsPath: string): Promise<Endpoint> {
    const { store, serial } = this.parts;
    return serial.run(() =>
      store.transaction((transaction) => {
        const { endpoint, ...staged } = requireStaged(this.find(key), key);
        if (staged.joined && endpoint.netns_path !== netnsPath) {
          throw new AppError('ENDPOINT_EXISTS', `endpoint ${key} has joined another sandbox`);
        }
        const record = transaction.get(stagedEndpoints, [key]);
        if (record !== undefined) transaction.put(stagedEndpoints, [key], { ...record, joined: true });
        return renameEndpoint(transaction, endpoint, { netns_path: netnsPath });
      }),
    );
  }

  identify(key: string, who: ContainerIdentity): Promise<Endpoint | undefined> {
    return this.parts.serial.run(async () => {
      const staged = this.find(key);
      // It may have left meanwhile.
      if (staged?.joined !== true) return undefined;
      if (staged.endpoint.state === 'ready') return staged.endpoint;
      return this.finish(staged.endpoint, who);
    });
  }

  leave(key: string): Promise<void> {
    const { store, serial, maker } = this.parts;
    return serial.run(async () => {
      const staged = this.find(key);
      if (staged?.joined !== true) return;
      await store.transaction((transaction) => {
        const record = transaction.get(stagedEndpoints, [key]);
        if (record !== undefined) transaction.put(stagedEndpoints, [key], { ...record, joined: false });
        const gone: Endpoint = { ...staged.endpoint, state: 'creating', netns_path: NO_NETNS };
        transaction.put(endpoints, [gone.id], gone);
      });
      await maker.untell(staged.endpoint);
    });
  }

  remove(key: string): Promise<void> {
    return this.parts.serial.run(async () => {
      const staged = this.find(key);
      if (staged !== undefined) await this.parts.maker.remove(staged.endpoint);
    });
  }

  /** Looks for the interface in its container, and records what it is called there. False: it is not there (yet). */
  locate(key: string): Promise<boolean> {
    const { store, serial } = this.parts;
    return serial.run(async () => {
      const staged = this.find(key);
      if (staged === undefined) return false;
      const { endpoint } = staged;
      const name = this.nameInside(endpoint);
      // Its runtime takes it there first, and names it then.
      if (name === undefined || name === stagedInterface(endpoint.id)) return false;
      // A queue would have been lost on the way into the container.
      if (endpoint.options !== undefined) {
        limitFoundContainerSide(this.parts.host, endpoint, requireNetwork(store, endpoint.network));
      }
      if (name === endpoint.interface_name) return true;
      await store.transaction((transaction) =>
        renameEndpoint(transaction, endpoint, { interface_name: name }),
      );
      return true;
    });
  }

  /** Under the serial: the record of one that is being made comes before its interface. */
  hasInterface(key: string): Promise<boolean> {
    return this.parts.serial.run(async () => {
      const endpoint = this.find(key)?.endpoint;
      return endpoint !== undefined && isOwn(this.parts.host.link(endpoint.host_interface), endpoint);
    });
  }

  private describe({ endpoint_id, ...staged }: StagedEndpointRecord): StagedEndpoint | undefined {
    const endpoint = this.parts.store.get(endpoints, [endpoint_id]);
    return endpoint && { ...staged, endpoint };
  }

  private nameInside(endpoint: Endpoint): string | undefined {
    try {
      using netns = NetnsHandle.open(endpoint.netns_path);
      using inside = Rtnl.open(netns);
      return containerInterface(this.parts.host, inside, endpoint);
    } catch (error) {
      // It is made a moment before the interface goes there, and ends with the container.
      if (error instanceof KernelError) return undefined;
      throw error;
    }
  }

  /** The rules first, then the records, the programs last. When it fails, nothing has changed. */
  private async finish(before: Endpoint, who: ContainerIdentity): Promise<Endpoint> {
    const { store, maker, enlistment, onLeft } = this.parts;
    const { container_id, namespace, labels } = who;
    const set = { namespace, labels };
    const { id, network: name } = before;
    const network = requireNetwork(store, name);
    requireNewEndpoint(store, network, { ...before, container_id }, id);
    const rollback = new Rollback(onLeft);
    let after = before;
    let isNew = false;
    try {
      const claimed = await enlistment.enlist(id, { network: name, network_id: network.id, ...set });
      const identity = claimed.id;
      isNew = identity !== before.identity;
      if (isNew) rollback.add(`rules of identity ${identity}`, () => enlistment.giveUp(id, claimed));
      after = await store.transaction((transaction) => {
        requireIdentity(transaction, identity);
        return renameEndpoint(transaction, { ...before, ...set, identity }, { container_id });
      });
      rollback.add(`endpoint ${id} is recorded as one of container ${container_id}`, () =>
        store.transaction((transaction) => {
          renameEndpoint(transaction, after, { container_id: before.container_id });
          transaction.put(endpoints, [id], before);
        }),
      );
      rollback.add(`what the programs know of endpoint ${id}`, () => maker.untell(after));
      await maker.tell(after, network);
    } catch (error) {
      await rollback.run();
      throw capacityError(error);
    }
    if (isNew) await enlistment.retire(before);
    // Where this fails it is to be asked for again: until it is recorded as ready, nobody can change it.
    return store.transaction((transaction) => completeEndpoint(transaction, after));
  }
}

function requireStaged(staged: StagedEndpoint | undefined, key: string): StagedEndpoint {
  if (staged !== undefined) return staged;
  throw new AppError('CONTAINER_NOT_FOUND', `there is no endpoint ${key}`);
}
