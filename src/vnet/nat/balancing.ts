/** Services: stored as they were asked for, with the addresses and ports that they were given. */
import { AppError } from '../../model/errors.js';
import {
  NODE_PORT_AUTO,
  type Service,
  type ServicePort,
  type ServiceRecord,
  type ServiceRequest,
} from '../../model/service.js';
import { type FrontendPlace, placeText } from '../../nat/frontend.js';
import { findClash, nodePorts, type TakenPort } from '../../nat/ports.js';
import type { Store, Transaction } from '../../store/store.js';
import { services } from '../../store/tables.js';
import type { AppliedService, ServiceService } from '../contract.js';
import type { HostPrefixes } from '../host-prefixes.js';
import { requireNetwork } from '../networks.js';
import { capacityError } from '../policy/enlistment.js';
import { type OnLeft, Rollback } from '../rollback.js';
import type { Serial } from '../serial.js';
import type { NodePorts } from './node-ports.js';
import {
  addressesOf,
  claimPlaces,
  forgetPlaces,
  placesOfService,
  serviceName,
  takenPorts,
} from './published.js';
import type { Publishing } from './publishing.js';
import type { ServiceAddresses } from './service-addresses.js';

export interface ServicesParts {
  store: Store;
  serial: Serial;
  nodePorts: NodePorts;
  addresses: ServiceAddresses;
  prefixes: HostPrefixes;
  publishing: Publishing;
  onLeft: OnLeft;
}

export class Services implements ServiceService {
  constructor(private readonly parts: ServicesParts) {}

  list(): Service[] {
    return this.parts.store.list(services).map((record) => this.described(record));
  }

  get(namespace: string, name: string): Service {
    return this.described(this.require(namespace, name));
  }

  apply(request: ServiceRequest): Promise<AppliedService> {
    return this.parts.serial.run(async () => {
      const { store, publishing, prefixes, onLeft } = this.parts;
      const before = store.get(services, [request.namespace, request.name]);
      const after = await store.transaction((transaction) => this.record(transaction, request, before));
      const name = serviceName(after);
      const rollback = new Rollback(onLeft);
      rollback.add(`addresses of the service ${name}, which nobody has`, () => this.giveUp(after, before));
      rollback.add(`the frontends of the service ${name}`, () =>
        before === undefined ? publishing.removeService(after) : publishing.putService(before, after),
      );
      rollback.add(`the record of the service ${name}, which is not in force`, () =>
        store.transaction((transaction) => restore(transaction, after, before)),
      );
      try {
        // First: what is no service's address yet is the world's, and clients would be let out there.
        for (const address of addressesOf(after)) prefixes.addService(address);
        await publishing.putService(after, before);
      } catch (error) {
        await rollback.run();
        throw capacityError(error);
      }
      this.giveUp(before, after);
      return { service: this.described(after), created: before === undefined };
    });
  }

  delete(namespace: string, name: string): Promise<void> {
    return this.parts.serial.run(async () => {
      const { store, publishing } = this.parts;
      const record = this.require(namespace, name);
      await store.transaction((transaction) => {
        transaction.delete(services, [namespace, name]);
        forgetPlaces(transaction, placesOfService(record));
      });
      await publishing.removeService(record);
      this.giveUp(record, undefined);
    });
  }

  private record(
    transaction: Transaction,
    request: ServiceRequest,
    before: ServiceRecord | undefined,
  ): ServiceRecord {
    const { ports, ip_address: _4, ip6_address: _6, ...rest } = request;
    if (request.network !== undefined) requireNetwork(transaction, request.network);
    const taken = takenPorts(transaction, request);
    const given = this.parts.addresses.choose(transaction, request, before);
    const record: ServiceRecord = {
      ...rest,
      ...given,
      ports: this.ports(request, before, taken),
      created_at: before?.created_at ?? new Date().toISOString(),
    };
    refuseSharedPorts(record, taken);
    transaction.put(services, [record.namespace, record.name], record);
    // What both have keeps its number, and with it the clients that are bound to a container.
    const kept = placesOfService(record);
    if (before !== undefined) forgetPlaces(transaction, missing(placesOfService(before), kept));
    claimPlaces(transaction, kept);
    return record;
  }

  private ports(
    { ports }: ServiceRequest,
    before: ServiceRecord | undefined,
    taken: readonly TakenPort[],
  ): ServicePort[] {
    const given: TakenPort[] = [];
    return ports.map(({ target_port, node_port: asked, ...port }, index): ServicePort => {
      const made = { ...port, target_port: target_port ?? port.port };
      if (asked === undefined) return made;
      const known = before?.ports.find(
        (other) => other.protocol === port.protocol && other.port === port.port,
      )?.node_port;
      const wanted = asked === NODE_PORT_AUTO ? known : asked;
      const node_port = this.parts.nodePorts.choose(
        { protocol: port.protocol, port: wanted, address: undefined },
        [...taken, ...given, ...namedElsewhere(ports, index)],
        { port: `ports[${index}].node_port`, address: '' },
      );
      const owner = `port ${port.port} of the service`;
      given.push(...nodePorts(port.protocol, node_port, undefined).map((place) => ({ ...place, owner })));
      return { ...made, node_port };
    });
  }

  /** Addresses that no service has any more are what they were before. */
  private giveUp(before: ServiceRecord | undefined, after: ServiceRecord | undefined): void {
    const kept = new Set(after === undefined ? [] : addressesOf(after));
    const going = before === undefined ? [] : addressesOf(before).filter((address) => !kept.has(address));
    if (going.length === 0) return;
    const used = new Set(this.parts.store.list(services).flatMap(addressesOf));
    for (const address of going) if (!used.has(address)) this.parts.prefixes.removeService(address);
  }

  private described(record: ServiceRecord): Service {
    return { ...record, backends: this.parts.publishing.backends(record) };
  }

  private require(namespace: string, name: string): ServiceRecord {
    const found = this.parts.store.get(services, [namespace, name]);
    if (found === undefined)
      throw new AppError('SERVICE_NOT_FOUND', `there is no service ${namespace}/${name}`);
    return found;
  }
}

/** Ports that others of the request name: what is given to `index` must not be one of them. */
function namedElsewhere(ports: ServiceRequest['ports'], index: number): TakenPort[] {
  return ports.flatMap(({ node_port, protocol, port }, other) =>
    other === index || typeof node_port !== 'number'
      ? []
      : nodePorts(protocol, node_port, undefined).map((place) => ({
          ...place,
          owner: `port ${port} of the service`,
        })),
  );
}

/** Services may have one address together, and each port of it is one's alone. */
function refuseSharedPorts(record: ServiceRecord, taken: readonly TakenPort[]): void {
  for (const [index, { protocol, port }] of record.ports.entries()) {
    const places = addressesOf(record).flatMap((address) => nodePorts(protocol, port, address));
    const clash = findClash(
      places,
      taken.filter(({ address }) => address !== undefined),
    );
    if (clash === undefined) continue;
    const message = `port ${port} (${protocol}) at ${clash.address} belongs to ${clash.owner}`;
    throw new AppError('SERVICE_PORT_IN_USE', message, {
      details: [{ path: `ports[${index}].port`, message }],
    });
  }
}

function missing(before: readonly FrontendPlace[], after: readonly FrontendPlace[]): FrontendPlace[] {
  const kept = new Set(after.map(placeText));
  return before.filter((place) => !kept.has(placeText(place)));
}

function restore(transaction: Transaction, after: ServiceRecord, before: ServiceRecord | undefined): void {
  const places = before === undefined ? [] : placesOfService(before);
  forgetPlaces(transaction, missing(placesOfService(after), places));
  if (before === undefined) transaction.delete(services, [after.namespace, after.name]);
  else transaction.put(services, [before.namespace, before.name], before);
  claimPlaces(transaction, places);
}
