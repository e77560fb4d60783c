/**
 * Keeps the kernel's port mappings and services as the store has them, while containers come, go and change who they
 * are. What it knows of who serves is made of the store at the start. Only under the serial.
 */
import type { FrontendChange } from '../../datapath/frontend-table.js';
import { labelMap, Selector } from '../../firewall/selector.js';
import type { Endpoint } from '../../model/endpoint.js';
import type { PortMappingRecord } from '../../model/port-mapping.js';
import type { ServiceRecord } from '../../model/service.js';
import { type FrontendPlace, type FrontendState, placeText } from '../../nat/frontend.js';
import type { Reader } from '../../store/store.js';
import { endpoints, portMappings, services } from '../../store/tables.js';
import {
  mappingFrontends,
  placesOfMapping,
  placesOfService,
  type Serving,
  serviceFrontends,
  servingMapping,
  servingOf,
} from './published.js';

/** What is asked of the kernel's side. */
export interface Frontends {
  sync(wanted: readonly FrontendState[]): Promise<void>;
  change(change: FrontendChange): Promise<void>;
  isInForce(state: FrontendState): boolean;
}

/** A service and who serves. */
interface Served {
  readonly service: ServiceRecord;
  readonly selector: Selector;
  readonly members: Map<number, Endpoint>;
}

/** A change of who serves, which counts when the kernel has taken it. */
interface Move {
  readonly served: Served;
  readonly members: Map<number, Endpoint>;
}

export class Publishing {
  /** By namespace, then by name. */
  private readonly served = new Map<string, Map<string, Served>>();

  constructor(
    private readonly reader: Reader,
    private readonly frontends: Frontends,
  ) {}

  /** Makes the kernel what the store wants. Before it, nobody serves. */
  async start(): Promise<void> {
    const { reader } = this;
    const ready = reader.list(endpoints).filter(({ state }) => state === 'ready');
    for (const service of reader.list(services)) this.keep(this.servedBy(service, ready));
    const wanted = [...this.served.values()]
      .flatMap((named) => [...named.values()])
      .flatMap(({ service, members }) => serviceFrontends(reader, service, [...members.values()]));
    const mapped = ready.flatMap((endpoint) => this.mappingsOf(endpoint));
    await this.frontends.sync([...wanted, ...mapped]);
  }

  /** Who serves there; undefined: the place is nobody's. */
  servingAt(at: FrontendPlace): Serving[] | undefined {
    const { reader } = this;
    for (const named of this.served.values()) {
      for (const { service, members } of named.values()) {
        const found = servingOf(service, [...members.values()], at);
        if (found !== undefined) return found;
      }
    }
    for (const mapping of reader.list(portMappings)) {
      const endpoint = reader.get(endpoints, [mapping.endpoint_id]);
      const found = endpoint && servingMapping(mapping, endpoint, at);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** How many containers serve. */
  backends({ namespace, name }: Pick<ServiceRecord, 'namespace' | 'name'>): number {
    return this.served.get(namespace)?.get(name)?.members.size ?? 0;
  }

  /** The container's port mappings that the kernel does not have as they should be. */
  missing(endpoint: Endpoint): FrontendState[] {
    return this.mappingsOf(endpoint).filter((state) => !this.frontends.isInForce(state));
  }

  /** The container serves from now on: its port mappings, and services that select it. INSUFFICIENT_CAPACITY. */
  async join(endpoint: Endpoint): Promise<void> {
    await this.apply(this.moves(undefined, endpoint), { put: this.mappingsOf(endpoint), remove: [] });
  }

  /** The container serves no more; that it never did is fine. */
  async leave(endpoint: Endpoint): Promise<void> {
    const remove = this.reader
      .list(portMappings, [endpoint.id])
      .flatMap((mapping) => placesOfMapping(mapping, endpoint));
    await this.apply(this.moves(endpoint, undefined), { put: [], remove });
  }

  /** The container is somebody else from now on. INSUFFICIENT_CAPACITY: nothing has changed. */
  async relabel(before: Endpoint, after: Endpoint): Promise<void> {
    await this.apply(this.moves(before, after), { put: [], remove: [] });
  }

  async putMapping(mapping: PortMappingRecord, endpoint: Endpoint): Promise<void> {
    await this.frontends.change({ put: mappingFrontends(this.reader, mapping, endpoint), remove: [] });
  }

  async removeMapping(mapping: PortMappingRecord, endpoint: Endpoint): Promise<void> {
    await this.frontends.change({ put: [], remove: placesOfMapping(mapping, endpoint) });
  }

  /** In place of what it was before. INSUFFICIENT_CAPACITY: nothing has changed. */
  async putService(service: ServiceRecord, before: ServiceRecord | undefined): Promise<void> {
    const { reader } = this;
    const ready = reader.list(endpoints).filter(({ state }) => state === 'ready');
    const served = this.servedBy(service, ready);
    const put = serviceFrontends(reader, service, [...served.members.values()]);
    const kept = new Set(put.map(placeText));
    const remove = (before === undefined ? [] : placesOfService(before)).filter(
      (place) => !kept.has(placeText(place)),
    );
    await this.frontends.change({ put, remove });
    this.keep(served);
  }

  async removeService(service: ServiceRecord): Promise<void> {
    const { namespace, name } = service;
    await this.frontends.change({ put: [], remove: placesOfService(service) });
    const named = this.served.get(namespace);
    named?.delete(name);
    if (named?.size === 0) this.served.delete(namespace);
  }

  private mappingsOf(endpoint: Endpoint): FrontendState[] {
    const { reader } = this;
    return reader
      .list(portMappings, [endpoint.id])
      .flatMap((mapping) => mappingFrontends(reader, mapping, endpoint));
  }

  private servedBy(service: ServiceRecord, ready: readonly Endpoint[]): Served {
    const selector = Selector.from(service.selector);
    const members = ready.filter((endpoint) => serves(endpoint, service, selector));
    return { service, selector, members: new Map(members.map((endpoint) => [endpoint.id, endpoint])) };
  }

  private keep(served: Served): void {
    const { namespace, name } = served.service;
    const named = this.served.get(namespace) ?? new Map<string, Served>();
    this.served.set(namespace, named.set(name, served));
  }

  private moves(before: Endpoint | undefined, after: Endpoint | undefined): Move[] {
    const moves: Move[] = [];
    const id = before?.id ?? after?.id ?? 0;
    for (const namespace of new Set([before?.namespace, after?.namespace])) {
      for (const served of this.served.get(namespace ?? '')?.values() ?? []) {
        const isMember = served.members.has(id);
        const willBe = after !== undefined && serves(after, served.service, served.selector);
        if (!isMember && !willBe) continue;
        const members = new Map(served.members);
        members.delete(id);
        if (willBe) members.set(id, after);
        moves.push({ served, members });
      }
    }
    return moves;
  }

  private async apply(moves: readonly Move[], { put, remove }: FrontendChange): Promise<void> {
    const { reader } = this;
    const moved = moves.flatMap(({ served, members }) =>
      serviceFrontends(reader, served.service, [...members.values()]),
    );
    await this.frontends.change({ put: [...put, ...moved], remove });
    for (const { served, members } of moves) this.keep({ ...served, members });
  }
}

function serves(
  { namespace, network, labels }: Endpoint,
  service: ServiceRecord,
  selector: Selector,
): boolean {
  return (
    namespace === service.namespace &&
    (service.network === undefined || service.network === network) &&
    selector.matches(labelMap(labels))
  );
}
