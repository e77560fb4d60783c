/** Port mappings and services as the store has them, and what the kernel is told of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FrontendChange } from '../../src/datapath/frontend-table.js';
import type { PolicySize } from '../../src/model/cut-off.js';
import { type Endpoint, type EndpointRequestInput, endpointRequest } from '../../src/model/endpoint.js';
import { AppError } from '../../src/model/errors.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { portMappingRequest } from '../../src/model/port-mapping.js';
import { serviceRequest } from '../../src/model/service.js';
import { settingsSchema } from '../../src/model/settings.js';
import { type FrontendState, placeText, targetText } from '../../src/nat/frontend.js';
import { nodePorts as placesOf } from '../../src/nat/ports.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { endpoints, frontendNumbers, networks, nextNumber, portMappings } from '../../src/store/tables.js';
import { eraseEndpoint, type RecordOptions, recordEndpoint } from '../../src/vnet/endpoint-records.js';
import type { HostPrefixes } from '../../src/vnet/host-prefixes.js';
import { Services } from '../../src/vnet/nat/balancing.js';
import { NodePorts } from '../../src/vnet/nat/node-ports.js';
import {
  erasePorts,
  PortMappings,
  type PortMappingsParts,
  recordPorts,
} from '../../src/vnet/nat/port-mappings.js';
import { Publishing } from '../../src/vnet/nat/publishing.js';
import { ServiceAddresses } from '../../src/vnet/nat/service-addresses.js';
import { requireNetwork } from '../../src/vnet/networks.js';
import { claimIdentity } from '../../src/vnet/policy/identities.js';
import type { OnLeft } from '../../src/vnet/rollback.js';
import { Serial } from '../../src/vnet/serial.js';

const NODE_ADDRESS = '198.18.0.1';

/** What the kernel has; it may refuse a change as a whole. */
class Kernel {
  readonly frontends = new Map<string, FrontendState>();
  readonly prefixes = new Set<string>();
  /** Identities whose rules it has no room for. */
  readonly cutOff = new Map<number, readonly PolicySize[]>();
  failure: unknown;
  /** Why it could not be found out whether mappings are reachable. */
  readonly unknown: unknown[] = [];
  listening: { port: number; address: string; owner: string }[] = [];

  async sync(wanted: readonly FrontendState[]): Promise<void> {
    this.frontends.clear();
    await this.change({ put: wanted, remove: [] });
  }

  async change({ put, remove }: FrontendChange): Promise<void> {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    for (const place of remove) this.frontends.delete(placeText(place));
    for (const state of put) this.frontends.set(placeText(state), state);
  }

  isInForce(state: FrontendState): boolean {
    return isDeepStrictEqual(this.frontends.get(placeText(state)), state);
  }

  /** Where each place leads. */
  get leads(): Record<string, string[]> {
    return Object.fromEntries(
      [...this.frontends].map(([place, { backends }]) => [place, backends.map(targetText).sort()]),
    );
  }
}

let directory: string;
let store: EmbeddedStore;
let kernel: Kernel;
/** What could not be taken back, and why. */
let left: string[];
beforeEach(async () => {
  left = [];
  directory = mkdtempSync(join(tmpdir(), 'quantum-publishing-'));
  store = await EmbeddedStore.open(directory);
  kernel = new Kernel();
  for (const [id, name] of ['front', 'back'].entries()) {
    const range = { cidr: `10.60.${id + 1}.0/24`, cidr6: `fd00:60:${id + 1}::/64` };
    const network = networkFrom(networkRequest.parse({ name, ...range }), {
      ...{ id: id + 1, created_at: new Date().toISOString() },
    });
    await store.transaction((transaction) => transaction.put(networks, [name], network));
  }
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The control plane of a daemon that has started. */
async function started(
  settings: object = {},
  reachable: PortMappingsParts['reachable'] = async () => new Set(),
) {
  const options = settingsSchema.parse(settings);
  const isOwn = (address: { value: bigint }) => address.value === 0xc6120001n;
  const nodePorts = new NodePorts({
    settings: options,
    isOwn,
    listeningAt: (protocol, port) =>
      kernel.listening
        .filter((socket) => socket.port === port)
        .flatMap(({ address, owner }) =>
          placesOf(protocol, port, address).map((place) => ({ ...place, owner })),
        ),
  });
  const publishing = new Publishing(store, kernel);
  await publishing.start();
  const serial = new Serial();
  const onLeft: OnLeft = (error, what) => left.push(`${what}: ${(error as Error).message}`);
  const prefixes = {
    addService: (address: string) => kernel.prefixes.add(address),
    removeService: (address: string) => kernel.prefixes.delete(address),
  } as unknown as HostPrefixes;
  const addresses = new ServiceAddresses(options, isOwn);
  const policy = { cutOffBy: (identity: number) => kernel.cutOff.get(identity) };
  const portMappingService = new PortMappings({
    ...{ store, serial, nodePorts, publishing, policy, onLeft, reachable },
    onUnknown: (error) => kernel.unknown.push(error),
  });
  const services = new Services({ store, serial, nodePorts, addresses, prefixes, publishing, onLeft });
  const connect = async (id: string, more: Partial<EndpointRequestInput> = {}, network = 'front') => {
    const request = endpointRequest.parse({ container_id: id, netns_path: '/proc/1/ns/net', ...more });
    const made = await store.transaction((transaction) => {
      const { id: network_id } = requireNetwork(transaction, network);
      const { namespace, labels } = request;
      const set = { network, network_id, namespace, labels };
      const numbers = {
        id: nextNumber(transaction, 'endpoint'),
        identity: claimIdentity(transaction, set, new Date().toISOString()).id,
      };
      const options: RecordOptions = { origin: 'rest', routes: [] };
      const { endpoint } = recordEndpoint(transaction, network, request, numbers, options);
      recordPorts(transaction, nodePorts, endpoint, request.ports);
      const ready: Endpoint = { ...endpoint, state: 'ready' };
      transaction.put(endpoints, [ready.id], ready);
      return ready;
    });
    await publishing.join(made);
    return made;
  };
  const disconnect = async (endpoint: Endpoint) => {
    await publishing.leave(endpoint);
    await store.transaction((transaction) => {
      erasePorts(transaction, endpoint);
      eraseEndpoint(transaction, endpoint);
    });
  };
  const map = (more: object = {}) =>
    portMappingService.create(
      portMappingRequest.parse({ network: 'front', container_id: 'a', container_port: 80, ...more }),
    );
  const serve = (more: object = {}) =>
    services.apply(
      serviceRequest.parse({
        ...{ name: 'web', selector: { matchLabels: { app: 'web' } }, ports: [{ port: 80 }], ...more },
      }),
    );
  return { portMappings: portMappingService, services, publishing, connect, disconnect, map, serve };
}

const web = { labels: { app: 'web' } };
const refusal = (code: string, message?: RegExp) => ({
  code,
  ...(message === undefined ? {} : { message: expect.stringMatching(message) }),
});

describe('a port mapping', () => {
  it('leads from every address of the node to the container, family by family', async () => {
    const { connect, map } = await started();
    const { ip_address, ip6_address } = await connect('a');
    await map({ host_port: 8080 });
    expect(kernel.leads).toEqual({
      'TCP/any4/8080': [`${ip_address}:80`],
      'TCP/any6/8080': [`[${ip6_address}]:80`],
    });
  });

  it('is made and told of, also where it could not be found out who reaches it', async () => {
    const broken = new Error('no memory');
    const { connect, map, portMappings: service } = await started({}, () => Promise.reject(broken));
    await connect('a');
    const mapping = await map({ host_port: 8080 });
    expect(mapping).toMatchObject({
      reachable_from_outside: false,
      hint: expect.stringMatching(/could not be found out: the log/),
    });
    expect(Object.keys(kernel.leads)).toEqual(['TCP/any4/8080', 'TCP/any6/8080']);
    expect([await service.list(), await service.get(mapping.id)]).toEqual([[mapping], mapping]);
    expect(kernel.unknown).toEqual([broken, broken, broken]);
  });

  it('of one address leads from there alone', async () => {
    const { connect, map } = await started();
    await connect('a');
    await map({ host_port: 8080, host_ip: NODE_ADDRESS, protocol: 'SCTP' });
    expect(Object.keys(kernel.leads)).toEqual([`SCTP/${NODE_ADDRESS}/8080`]);
  });

  it('of the address that stands for all of a family leads from all of it', async () => {
    const { connect, map } = await started();
    await connect('a');
    await map({ host_port: 8080, host_ip: '0.0.0.0' });
    await map({ host_port: 8080, host_ip: '::' });
    expect(Object.keys(kernel.leads)).toEqual(['TCP/any4/8080', 'TCP/any6/8080']);
  });

  it('without a port gets one of the range, and the next one the next', async () => {
    const { connect, map } = await started({ port_mapping_min: 40000, port_mapping_max: 40002 });
    await connect('a');
    kernel.listening = [{ port: 40001, address: '0.0.0.0', owner: 'somebody' }];
    expect((await map()).host_port).toBe(40000);
    expect((await map()).host_port).toBe(40002);
    await expect(map()).rejects.toMatchObject(refusal('NODE_PORTS_EXHAUSTED', /40000 to 40002/));
    expect(store.list(portMappings)).toHaveLength(2);
    expect((await map({ protocol: 'UDP' })).host_port).toBe(40000);
  });

  it('goes with its container, and leaves nothing', async () => {
    const { connect, disconnect, map, portMappings: service } = await started();
    const endpoint = await connect('a');
    await map();
    await disconnect(endpoint);
    expect([kernel.leads, service.records(), store.list(frontendNumbers)]).toEqual([{}, [], []]);
  });

  it('of a container that is cut off is told with what leaves no room', async () => {
    const { connect, map, portMappings: service } = await started();
    const { identity } = await connect('a');
    expect(await map()).toMatchObject({ hint: expect.stringContaining('no policy lets') });
    kernel.cutOff.set(identity, ['policy_cidrs_max']);
    expect(await service.list()).toMatchObject([
      {
        reachable_from_outside: false,
        hint: expect.stringMatching(/cut off.*fit.*remove policies, or raise policy_cidrs_max and restart/),
      },
    ]);
  });

  it.each(['creating', 'deleting'] as const)(
    'to a container that is %s says so, and not that policies let nobody in',
    async (state) => {
      const { connect, map, portMappings } = await started();
      const a = await connect('a');
      const { id } = await map();
      expect((await portMappings.get(id)).hint).toMatch(/no policy/);
      await store.transaction((transaction) => transaction.put(endpoints, [a.id], { ...a, state }));
      for (const mapping of [await portMappings.get(id), ...(await portMappings.list())]) {
        expect(mapping).toMatchObject({
          reachable_from_outside: false,
          hint: expect.stringMatching(/ask again/),
        });
      }
    },
  );

  it('that is removed closes its port', async () => {
    const { connect, map, portMappings: service } = await started();
    await connect('a');
    const { id } = await map();
    await service.delete(id);
    expect([kernel.leads, service.records(), store.list(frontendNumbers)]).toEqual([{}, [], []]);
    await expect(service.delete(id)).rejects.toMatchObject(refusal('PORT_MAPPING_NOT_FOUND'));
  });

  it('that is made anew is another one for the kernel', async () => {
    const { connect, map, portMappings: service } = await started();
    await connect('a');
    const first = await map({ host_port: 8080 });
    const before = kernel.frontends.get('TCP/any4/8080')?.id;
    await service.delete(first.id);
    await map({ host_port: 8080 });
    expect(kernel.frontends.get('TCP/any4/8080')?.id).not.toBe(before);
  });

  it('is refused when the kernel has no room, and nothing stays', async () => {
    const { connect, map, portMappings: service } = await started();
    await connect('a');
    kernel.failure = new AppError('INSUFFICIENT_CAPACITY');
    await expect(map()).rejects.toMatchObject(refusal('INSUFFICIENT_CAPACITY'));
    expect([service.records(), store.list(frontendNumbers)]).toEqual([[], []]);
  });

  it.each([
    ['another mapping', { host_port: 8080 }, /port mapping 1 of container a in network front/],
    ['another mapping at one address', { host_port: 8080, host_ip: NODE_ADDRESS }, /port mapping 1/],
    ['the port of a container', { host_port: 8081 }, /port mapping 2 of container b/],
    ['a node port of a service', { host_port: 30080 }, /service default\/web/],
    ['a socket of the node', { host_port: 22 }, /process sshd/],
    ['a port for masqueraded connections', { host_port: 61000 }, /nat_port_min/],
  ])('conflicts with %s, and the answer names it', async (_, request, owner) => {
    const { connect, map, serve } = await started();
    await connect('a');
    await map({ host_port: 8080 });
    await connect('b', { ports: [{ container_port: 80, host_port: 8081 }] });
    await serve({ ports: [{ port: 80, node_port: 30080 }] });
    kernel.listening = [{ port: 22, address: '127.0.0.1', owner: 'the process sshd (pid 1, user 0)' }];
    const before = kernel.leads;
    await expect(map(request)).rejects.toMatchObject(refusal('NODE_PORT_IN_USE', owner));
    expect(kernel.leads).toEqual(before);
    expect(store.list(portMappings)).toHaveLength(2);
  });

  it("of an address that is not the node's, or to an unknown container, is refused", async () => {
    const { connect, map } = await started();
    await connect('a');
    await expect(map({ host_ip: '198.18.0.9' })).rejects.toMatchObject(refusal('INVALID_REQUEST', /host_ip/));
    await expect(map({ container_id: 'c' })).rejects.toMatchObject(refusal('CONTAINER_NOT_FOUND'));
    await expect(map({ interface_name: 'eth7' })).rejects.toMatchObject(refusal('CONTAINER_NOT_FOUND'));
    await expect(map({ network: 'none' })).rejects.toMatchObject(refusal('NETWORK_NOT_FOUND'));
  });
});

describe('the ports of a container', () => {
  const ports = [
    { container_port: 80, host_port: 8080 },
    { container_port: 53, host_port: 5353, protocol: 'UDP' as const },
  ];

  it('are published when it is connected', async () => {
    const { connect, portMappings: service } = await started();
    const { ip_address } = await connect('a', { ports });
    expect(kernel.leads).toMatchObject({
      'TCP/any4/8080': [`${ip_address}:80`],
      'UDP/any4/5353': [`${ip_address}:53`],
    });
    expect(service.records().map(({ container_id, host_port }) => [container_id, host_port])).toEqual([
      ['a', 8080],
      ['a', 5353],
    ]);
  });

  it('are refused as a whole when one is taken, and so is the container', async () => {
    const { connect, portMappings: service } = await started();
    await connect('a', { ports: [{ container_port: 1, host_port: 5353, protocol: 'UDP' }] });
    await expect(connect('b', { ports })).rejects.toMatchObject({
      ...refusal('NODE_PORT_IN_USE', /container a/),
      details: [expect.objectContaining({ path: 'ports[1].host_port' })],
    });
    expect(service.records()).toHaveLength(1);
    expect(store.list(endpoints)).toHaveLength(1);
  });
});

describe('a service', () => {
  it('leads to the containers of its namespace that it selects, at every address of it', async () => {
    const { connect, serve } = await started();
    const a = await connect('a', web);
    const b = await connect('b', web, 'back');
    await connect('c');
    await connect('d', { ...web, namespace: 'other' });
    const { service, created } = await serve({ ports: [{ port: 80, target_port: 8080, node_port: 30080 }] });
    expect({ created, backends: service.backends }).toEqual({ created: true, backends: 2 });
    const [four, six] = [
      [a, b].map((e) => `${e.ip_address}:8080`),
      [a, b].map((e) => `[${e.ip6_address}]:8080`),
    ];
    expect(kernel.leads).toEqual({
      [`TCP/${service.ip_address}/80`]: four,
      [`TCP/${service.ip6_address}/80`]: six,
      'TCP/any4/30080': four,
      'TCP/any6/30080': six,
    });
    expect([...kernel.prefixes]).toEqual([service.ip_address, service.ip6_address]);
  });

  it('follows containers that come, go and change who they are', async () => {
    const { connect, disconnect, publishing, serve, services } = await started();
    const { service } = await serve({ ip_address: '10.96.9.9' });
    const leads = () => kernel.leads['TCP/10.96.9.9/80'];
    expect(leads()).toEqual([]);
    const a = await connect('a', web);
    expect(leads()).toEqual([`${a.ip_address}:80`]);
    const b = await connect('b');
    const relabelled: Endpoint = { ...b, labels: { app: 'web' } };
    await store.transaction((transaction) => transaction.put(endpoints, [b.id], relabelled));
    await publishing.relabel(b, relabelled);
    expect(leads()).toEqual([`${a.ip_address}:80`, `${b.ip_address}:80`]);
    await publishing.relabel(relabelled, b);
    expect(leads()).toEqual([`${a.ip_address}:80`]);
    await disconnect(a);
    expect(leads()).toEqual([]);
    expect(services.get('default', service.name).backends).toBe(0);
  });

  it('limited to a network leads to its containers alone, and the network cannot go', async () => {
    const { connect, serve } = await started();
    await connect('a', web);
    const b = await connect('b', web, 'back');
    await serve({ network: 'back', ip_address: '10.96.9.9' });
    expect(kernel.leads).toEqual({ 'TCP/10.96.9.9/80': [`${b.ip_address}:80`] });
    await expect(serve({ network: 'none' })).rejects.toMatchObject(refusal('NETWORK_NOT_FOUND'));
  });

  it('finds the port that each container calls so', async () => {
    const { connect, serve } = await started();
    const named = (port: number) => ({ ...web, ports: [{ name: 'http', container_port: port }] });
    const a = await connect('a', named(8080));
    const b = await connect('b', named(9090));
    await connect('c', web);
    await serve({ ip_address: '10.96.9.9', ports: [{ port: 80, target_port: 'http' }] });
    expect(kernel.leads['TCP/10.96.9.9/80']).toEqual([`${a.ip_address}:8080`, `${b.ip_address}:9090`]);
  });

  it('that is replaced keeps what it was given, and gives up the rest', async () => {
    const { serve } = await started();
    const { service: first } = await serve({ ports: [{ port: 80, node_port: 'auto' }, { port: 81 }] });
    const id = kernel.frontends.get(`TCP/${first.ip_address}/80`)?.id;
    const { service, created } = await serve({ ports: [{ port: 80, node_port: 'auto' }] });
    expect(created).toBe(false);
    expect(service).toMatchObject({ ip_address: first.ip_address, ip6_address: first.ip6_address });
    expect(service.ports[0]?.node_port).toBe(first.ports[0]?.node_port);
    expect(Object.keys(kernel.leads)).toHaveLength(4);
    expect(kernel.frontends.get(`TCP/${first.ip_address}/80`)?.id).toBe(id);
    await serve({ ip_address: '10.96.9.9' });
    expect([...kernel.prefixes]).toEqual(['10.96.9.9']);
    expect(store.list(frontendNumbers)).toHaveLength(1);
  });

  it('that is removed leaves nothing, and an address that two have stays', async () => {
    const { serve, services } = await started();
    await serve({ ip_address: '10.96.9.9' });
    await serve({ name: 'api', ip_address: '10.96.9.9', ports: [{ port: 443 }] });
    await services.delete('default', 'web');
    expect([Object.keys(kernel.leads), [...kernel.prefixes]]).toEqual([['TCP/10.96.9.9/443'], ['10.96.9.9']]);
    await services.delete('default', 'api');
    expect([kernel.leads, [...kernel.prefixes], store.list(frontendNumbers)]).toEqual([{}, [], []]);
    expect(() => services.get('default', 'api')).toThrow(/no service/);
  });

  it('is as it was when the kernel has no room for the new one', async () => {
    const { connect, serve, services } = await started();
    await connect('a', web);
    const { service } = await serve();
    const before = [kernel.leads, [...kernel.prefixes], store.list(frontendNumbers)];
    kernel.failure = new AppError('INSUFFICIENT_CAPACITY');
    await expect(serve({ ip_address: '10.96.9.9' })).rejects.toMatchObject(refusal('INSUFFICIENT_CAPACITY'));
    expect(services.list()).toEqual([service]);
    const names = (list: typeof before) => [
      list[0],
      list[1],
      (list[2] as { text: string }[]).map(({ text }) => text),
    ];
    expect(names([kernel.leads, [...kernel.prefixes], store.list(frontendNumbers)])).toEqual(names(before));
    kernel.failure = new AppError('INSUFFICIENT_CAPACITY');
    await expect(serve({ name: 'api' })).rejects.toMatchObject(refusal('INSUFFICIENT_CAPACITY'));
    expect(services.list()).toHaveLength(1);
  });

  it('that could not be made is told why, and gives up its addresses, also where taking it back fails', async () => {
    const { connect, serve, services } = await started();
    await connect('a', web);
    const add = kernel.prefixes.add.bind(kernel.prefixes);
    vi.spyOn(kernel.prefixes, 'add')
      .mockImplementationOnce(add)
      .mockImplementationOnce(() => {
        kernel.failure = new Error('nor back');
        throw new AppError('INSUFFICIENT_CAPACITY', 'no room for the address');
      });
    await expect(serve()).rejects.toMatchObject(refusal('INSUFFICIENT_CAPACITY', /no room for the address/));
    expect([...kernel.prefixes]).toEqual([]);
    expect(services.list()).toEqual([]);
    expect(left).toEqual(['the frontends of the service default/web: nor back']);
  });

  it.each([
    ['inside a network', { ip_address: '10.60.1.77' }, 'SERVICE_ADDRESS_INVALID', /network front/],
    ['of the node', { ip_address: NODE_ADDRESS }, 'SERVICE_ADDRESS_INVALID', /of the node/],
    ['of a loopback', { ip_address: '127.0.0.1' }, 'SERVICE_ADDRESS_INVALID', /loopback/],
    ['of a group', { ip6_address: 'ff02::1' }, 'SERVICE_ADDRESS_INVALID', /multicast/],
    ['and port of another', { name: 'api', ip_address: '10.96.9.9' }, 'SERVICE_PORT_IN_USE', /default\/web/],
  ])('with an address %s is refused', async (_, request, code, message) => {
    const { serve, services } = await started();
    await serve({ ip_address: '10.96.9.9' });
    await expect(serve(request)).rejects.toMatchObject(refusal(code, message));
    expect(services.list()).toMatchObject([{ name: 'web', ip_address: '10.96.9.9' }]);
  });

  it('gets an address that no other has, until the range is full', async () => {
    const { serve } = await started({ service_cidr: '10.96.0.0/30', service_cidr6: 'none' });
    const given = [await serve({ name: 'a' }), await serve({ name: 'b' })].map(
      ({ service }) => service.ip_address,
    );
    expect(given.sort()).toEqual(['10.96.0.1', '10.96.0.2']);
    await expect(serve({ name: 'c' })).rejects.toMatchObject(refusal('POOL_EXHAUSTED'));
  });

  it('without an address, where no range is set, is refused', async () => {
    const { serve } = await started({ service_cidr: 'none', service_cidr6: 'none' });
    await expect(serve()).rejects.toMatchObject(refusal('INVALID_REQUEST', /ip_address/));
  });

  it('with a node port that a mapping has is refused', async () => {
    const { connect, map, serve } = await started();
    await connect('a');
    await map({ host_port: 30080 });
    await expect(serve({ ports: [{ port: 80, node_port: 30080 }] })).rejects.toMatchObject(
      refusal('NODE_PORT_IN_USE', /port mapping 1/),
    );
  });
});

describe('a daemon that starts again', () => {
  it('tells the kernel the same, with the same numbers', async () => {
    const first = await started();
    await first.connect('a', { ...web, ports: [{ container_port: 80, host_port: 8080 }] });
    await first.connect('b', web);
    await first.serve({ session_affinity: 'client_ip', session_affinity_seconds: 60 });
    const before = new Map(kernel.frontends);
    const again = await started();
    expect(kernel.frontends).toEqual(before);
    expect(again.services.get('default', 'web').backends).toBe(2);
  });
});
