/** Port mappings: made by themselves or with the ports of a container, and gone with it. */
import { cutOffAdvice, type PolicySize } from '../../model/cut-off.js';
import type { Endpoint, EndpointRequest } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import type { PortMapping, PortMappingRecord, PortMappingRequest } from '../../model/port-mapping.js';
import type { Reader, Store, Transaction } from '../../store/store.js';
import { endpoints, nextNumber, portMappings } from '../../store/tables.js';
import type { PortMappingService } from '../contract.js';
import { endpointsOf } from '../endpoint-records.js';
import { requireNetwork } from '../networks.js';
import type { PolicySync } from '../policy/policy-sync.js';
import type { Target } from '../policy/reachability.js';
import { type OnLeft, Rollback } from '../rollback.js';
import type { Serial } from '../serial.js';
import type { NodePorts } from './node-ports.js';
import { claimPlaces, forgetPlaces, placesOfMapping, takenPorts, takenPortsAt } from './published.js';
import type { Publishing } from './publishing.js';

export interface PortMappingsParts {
  store: Store;
  serial: Serial;
  nodePorts: NodePorts;
  publishing: Publishing;
  policy: Pick<PolicySync, 'cutOffBy'>;
  /** Those that somebody outside may reach, by what is in force at the moment of the call. */
  reachable: (targets: readonly Target[]) => Promise<ReadonlySet<Target>>;
  /** That has failed, which is told of the mappings. */
  onUnknown: (error: unknown) => void;
  onLeft: OnLeft;
}

/** What is known of a mapping at the moment when somebody asks. */
interface Asked {
  readonly mapping: PortMappingRecord;
  /** Undefined: the container is not there yet, or no longer. */
  readonly target?: Target;
  readonly cutOff?: readonly PolicySize[] | undefined;
}

export class PortMappings implements PortMappingService {
  constructor(private readonly parts: PortMappingsParts) {}

  records(): PortMappingRecord[] {
    return this.parts.store.list(portMappings).sort((left, right) => left.id - right.id);
  }

  async list(): Promise<PortMapping[]> {
    const asked = this.records().map((mapping) => this.asked(mapping));
    const reached = await this.reached(asked);
    return asked.map((one) => described(one, reached));
  }

  async get(id: number): Promise<PortMapping> {
    return this.described(this.require(id));
  }

  async create(request: PortMappingRequest): Promise<PortMapping> {
    const { store, serial, publishing, onLeft } = this.parts;
    const made = await serial.run(async () => {
      const { mapping, endpoint } = await store.transaction((transaction) => {
        const target = targetOf(transaction, request);
        return { endpoint: target, mapping: this.record(transaction, request, target) };
      });
      const rollback = new Rollback(onLeft);
      rollback.add(`the record of port mapping ${mapping.id}, which is not in force`, () =>
        store.transaction((transaction) => eraseMapping(transaction, mapping, endpoint)),
      );
      try {
        await publishing.putMapping(mapping, endpoint);
      } catch (error) {
        await rollback.run();
        throw error;
      }
      return mapping;
    });
    // It is in force: no other change waits for what is told of it.
    return this.described(made);
  }

  delete(id: number): Promise<void> {
    return this.parts.serial.run(async () => {
      const { store, publishing } = this.parts;
      const mapping = this.require(id);
      const endpoint = store.get(endpoints, [mapping.endpoint_id]);
      if (endpoint === undefined) throw new AppError('INTERNAL', `port mapping ${id} has no endpoint`);
      await store.transaction((transaction) => eraseMapping(transaction, mapping, endpoint));
      await publishing.removeMapping(mapping, endpoint);
    });
  }

  private record(
    transaction: Transaction,
    request: PortMappingRequest,
    endpoint: Endpoint,
  ): PortMappingRecord {
    const { protocol, host_port, host_ip, container_port } = request;
    const wanted = { protocol, port: host_port, address: host_ip };
    const field = { port: 'host_port', address: 'host_ip' };
    const taken =
      host_port === undefined ? takenPorts(transaction) : takenPortsAt(transaction, protocol, host_port);
    const port = this.parts.nodePorts.choose(wanted, taken, field);
    return putMapping(transaction, endpoint, { protocol, host_port: port, host_ip, container_port });
  }

  private async described(mapping: PortMappingRecord): Promise<PortMapping> {
    const asked = this.asked(mapping);
    return described(asked, await this.reached([asked]));
  }

  /** Undefined: it is not known. Mappings are in force, and there to be told of, also then. */
  private async reached(asked: readonly Asked[]): Promise<ReadonlySet<Target> | undefined> {
    const { reachable, onUnknown } = this.parts;
    try {
      return await reachable(asked.flatMap(({ target }) => target ?? []));
    } catch (error) {
      onUnknown(error);
      return undefined;
    }
  }

  private asked(mapping: PortMappingRecord): Asked {
    const { store, policy } = this.parts;
    const endpoint = store.get(endpoints, [mapping.endpoint_id]);
    if (endpoint?.state !== 'ready') return { mapping };
    const { protocol, container_port: port } = mapping;
    return { mapping, target: { endpoint, protocol, port }, cutOff: policy.cutOffBy(endpoint.identity) };
  }

  private require(id: number): PortMappingRecord {
    const found = this.parts.store.list(portMappings).find((mapping) => mapping.id === id);
    if (found === undefined) throw new AppError('PORT_MAPPING_NOT_FOUND', `there is no port mapping ${id}`);
    return found;
  }
}

function described(
  { mapping, target, cutOff }: Asked,
  reached: ReadonlySet<Target> | undefined,
): PortMapping {
  if (target !== undefined && reached?.has(target)) return { ...mapping, reachable_from_outside: true };
  const { protocol, container_port, network } = mapping;
  const hint = () => {
    if (target === undefined)
      return 'the container is being connected or disconnected: ask again when that is done';
    if (cutOff !== undefined)
      return `the container is cut off, because its rules do not fit into the kernel: ${cutOffAdvice(cutOff)}`;
    if (reached === undefined)
      return 'whether a policy lets the outside in could not be found out: the log of the daemon tells why';
    return `no policy lets the outside reach ${protocol} port ${container_port} of the container: allow it by a NetworkPolicy with an ipBlock in ingress, or connect it to a network of another isolation_mode than ${network} has`;
  };
  return { ...mapping, reachable_from_outside: false, hint: hint() };
}

/** Records the mappings that a container is connected with: all, or it throws as NodePorts.choose() does. */
export function recordPorts(
  transaction: Transaction,
  nodePorts: NodePorts,
  endpoint: Endpoint,
  ports: EndpointRequest['ports'],
): void {
  for (const [index, { protocol, host_port, host_ip, container_port }] of ports.entries()) {
    if (host_port === undefined) continue;
    const field = { port: `ports[${index}].host_port`, address: `ports[${index}].host_ip` };
    const taken = takenPortsAt(transaction, protocol, host_port);
    nodePorts.choose({ protocol, port: host_port, address: host_ip }, taken, field);
    putMapping(transaction, endpoint, { protocol, host_port, host_ip, container_port });
  }
}

/** Forgets every mapping to the endpoint. */
export function erasePorts(transaction: Transaction, endpoint: Endpoint): void {
  for (const mapping of transaction.list(portMappings, [endpoint.id])) {
    eraseMapping(transaction, mapping, endpoint);
  }
}

function putMapping(
  transaction: Transaction,
  endpoint: Endpoint,
  {
    host_ip,
    ...ports
  }: Pick<PortMappingRecord, 'protocol' | 'host_port' | 'container_port'> & { host_ip: string | undefined },
): PortMappingRecord {
  const { network, container_id, interface_name } = endpoint;
  const mapping: PortMappingRecord = {
    id: nextNumber(transaction, 'port_mapping'),
    ...{ network, container_id, interface_name, endpoint_id: endpoint.id },
    ...ports,
    ...(host_ip === undefined ? {} : { host_ip }),
    created_at: new Date().toISOString(),
  };
  transaction.put(portMappings, [endpoint.id, mapping.id], mapping);
  claimPlaces(transaction, placesOfMapping(mapping, endpoint));
  return mapping;
}

function eraseMapping(transaction: Transaction, mapping: PortMappingRecord, endpoint: Endpoint): void {
  transaction.delete(portMappings, [endpoint.id, mapping.id]);
  forgetPlaces(transaction, placesOfMapping(mapping, endpoint));
}

/** The container's only or first endpoint of the network, or the one of the interface. */
function targetOf(reader: Reader, { network, container_id, interface_name }: PortMappingRequest): Endpoint {
  const found = endpointsOf(reader, requireNetwork(reader, network), container_id, interface_name);
  const ready = found.find(({ state }) => state === 'ready');
  if (ready !== undefined) return ready;
  const what = interface_name === undefined ? '' : ` by ${interface_name}`;
  throw new AppError(
    'CONTAINER_NOT_FOUND',
    `container ${container_id} is not connected to ${network}${what}`,
    {
      details: [{ path: 'container_id', message: 'is not the id of a connected container' }],
    },
  );
}
