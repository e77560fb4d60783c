/** Port mappings and services of a node in memory. */
import type { Connection, ConnectionFilter, ConnectionQuery } from '../../src/model/connection.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { AppError } from '../../src/model/errors.js';
import type { PortMapping } from '../../src/model/port-mapping.js';
import { NODE_PORT_AUTO, type Service } from '../../src/model/service.js';
import type { ConnectionService, PortMappingService, ServiceService } from '../../src/vnet/contract.js';

/** The first port that is given to who names none. */
const FIRST_PORT = 30000;

export interface FakePublishedParts {
  /** Throws what the next change is to fail with. */
  fail: () => void;
  find: (network: string, containerId: string, interfaceName?: string) => Endpoint;
  createdAt: string;
}

export function fakePortMappings({ fail, find, createdAt }: FakePublishedParts): PortMappingService {
  const mappings = new Map<number, PortMapping>();
  const get = (id: number) => {
    const found = mappings.get(id);
    if (found === undefined) throw new AppError('PORT_MAPPING_NOT_FOUND');
    return found;
  };
  let last = 0;
  return {
    create: async ({ host_port = FIRST_PORT + last, interface_name, ...request }) => {
      fail();
      const endpoint = find(request.network, request.container_id, interface_name);
      const owner = [...mappings.values()].find((other) => other.host_port === host_port);
      if (owner !== undefined) {
        throw new AppError('NODE_PORT_IN_USE', `port ${host_port} belongs to ${owner.container_id}`);
      }
      last += 1;
      const made: PortMapping = {
        ...request,
        id: last,
        interface_name: endpoint.interface_name,
        endpoint_id: endpoint.id,
        host_port,
        created_at: createdAt,
        reachable_from_outside: false,
        hint: 'no policy lets the outside in',
      };
      mappings.set(last, made);
      return made;
    },
    list: async () => [...mappings.values()],
    records: () => [...mappings.values()],
    get: async (id) => get(id),
    delete: async (id) => {
      fail();
      get(id);
      mappings.delete(id);
    },
  };
}

export function fakeServices({ fail, createdAt }: FakePublishedParts): ServiceService {
  const services = new Map<string, Service>();
  const get = (namespace: string, name: string) => {
    const found = services.get(`${namespace}/${name}`);
    if (found === undefined) throw new AppError('SERVICE_NOT_FOUND');
    return found;
  };
  return {
    apply: async ({ ports, ip_address = '10.96.0.1', ...request }) => {
      fail();
      const key = `${request.namespace}/${request.name}`;
      const created = !services.has(key);
      const service: Service = {
        ...request,
        ip_address,
        ports: ports.map(({ target_port, node_port, ...port }, index) => ({
          ...port,
          target_port: target_port ?? port.port,
          ...(node_port === undefined
            ? {}
            : { node_port: node_port === NODE_PORT_AUTO ? FIRST_PORT + index : node_port }),
        })),
        created_at: createdAt,
        backends: 0,
      };
      services.set(key, service);
      return { service, created };
    },
    list: () => [...services.values()],
    get,
    delete: async (namespace, name) => {
      fail();
      get(namespace, name);
      services.delete(`${namespace}/${name}`);
    },
  };
}

/** The table is what a test says, whatever is asked of it. */
export class FakeConnections implements ConnectionService {
  found: Connection[] = [];
  /** What was asked last. */
  asked: Partial<ConnectionQuery> = {};

  async list(query: ConnectionQuery) {
    this.asked = query;
    const connections = this.found.slice(0, query.limit);
    return { connections, truncated: connections.length < this.found.length };
  }

  async flush(filter: ConnectionFilter) {
    this.asked = filter;
    return this.found.splice(0).length;
  }
}
