/** Changes of what leads to containers, and of who gets in at all. */
import type { PortMapping } from '../../src/model/port-mapping.js';
import type { Rest } from '../support/rest.js';
import { CONNECTION, connect, has, nothing, type Operation, remove, SERVICE, serve } from './operation.js';

const MAPPINGS = '/nat/port-mappings';
const HOST_PORT = 8081;
const DENY_LIST = '/firewall/deny-list';
const DENIED = ['198.19.0.0/24', 'fd00:bad::/64'];

const map = (on: Rest) =>
  on.call('POST', MAPPINGS, {
    network: 'blue',
    container_id: 'visitor',
    host_port: HOST_PORT,
    container_port: 80,
  });
const mapped = async (on: Rest) => {
  const { port_mappings } = await on.expect<{ port_mappings: PortMapping[] }>('GET', MAPPINGS);
  return port_mappings.find(({ host_port }) => host_port === HOST_PORT);
};
/** A number that no mapping has, when there is none. */
const unmap = async (on: Rest) => on.call('DELETE', `${MAPPINGS}/${(await mapped(on))?.id ?? 999_999}`);
const serves = (on: Rest, port: number) =>
  has(on, SERVICE, ({ ports }: { ports: { port: number }[] }) => ports.some((one) => one.port === port));
const deny = (on: Rest, method: string) => on.call(method, DENY_LIST, { cidrs: DENIED });
const isDenied = (on: Rest) => has(on, DENY_LIST, ({ total }: { total: number }) => total === DENIED.length);

export const PUBLISHING: readonly Operation[] = [
  {
    name: 'port mapping create',
    prepare: connect,
    request: map,
    hasHappened: async (on) => (await mapped(on)) !== undefined,
    clean: (on) => remove(on, CONNECTION),
    status: 201,
    again: 409,
  },
  {
    name: 'port mapping delete',
    prepare: async (on, visitor) => {
      await connect(on, visitor);
      await map(on);
    },
    request: unmap,
    hasHappened: async (on) => (await mapped(on)) === undefined,
    clean: (on) => remove(on, CONNECTION),
    status: 204,
    again: 404,
  },
  {
    name: 'service create',
    prepare: connect,
    request: (on) => serve(on),
    hasHappened: (on) => has(on, SERVICE),
    clean: (on) => remove(on, SERVICE, CONNECTION),
    status: 201,
    again: 200,
  },
  {
    name: 'service replace',
    prepare: async (on, visitor) => {
      await connect(on, visitor);
      await serve(on);
    },
    request: (on) => serve(on, 8000),
    hasHappened: (on) => serves(on, 8000),
    clean: (on) => remove(on, SERVICE, CONNECTION),
    status: 200,
    again: 200,
  },
  {
    name: 'service delete',
    prepare: async (on, visitor) => {
      await connect(on, visitor);
      await serve(on);
    },
    request: (on) => on.call('DELETE', SERVICE),
    hasHappened: async (on) => !(await has(on, SERVICE)),
    clean: (on) => remove(on, SERVICE, CONNECTION),
    status: 204,
    again: 404,
  },
  {
    name: 'deny list add',
    prepare: nothing,
    request: (on) => deny(on, 'POST'),
    hasHappened: isDenied,
    clean: (on) => deny(on, 'DELETE'),
    status: 200,
    again: 200,
  },
  {
    name: 'deny list remove',
    prepare: (on) => deny(on, 'POST'),
    request: (on) => deny(on, 'DELETE'),
    hasHappened: async (on) => !(await isDenied(on)),
    clean: (on) => deny(on, 'DELETE'),
    status: 200,
    again: 200,
  },
];
