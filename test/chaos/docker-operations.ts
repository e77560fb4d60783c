/** What Docker asks of its plugin. Nobody is asked whose an endpoint is: the daemon's setting docker_socket is none. */
import { NO_NETNS } from '../../src/vnet/endpoints/staged-endpoints.js';
import type { Container } from '../support/containers.js';
import { callDriver } from '../support/docker-driver.js';
import type { Rest } from '../support/rest.js';
import { has, nothing, type Operation, VISITOR } from './operation.js';

const OWN = 'd'.repeat(64);
const EXISTING = 'e'.repeat(64);
const ENDPOINT = 'f'.repeat(64);
const REFERENCE = { NetworkID: EXISTING, EndpointID: ENDPOINT };
const PATH = `/networks/blue/containers/${ENDPOINT}`;

const driver = (visitor: Container, method: string, body: object) =>
  callDriver(visitor.daemon, `NetworkDriver.${method}`, body);

const makeNetwork = (visitor: Container) =>
  driver(visitor, 'CreateNetwork', {
    NetworkID: OWN,
    Options: { 'com.docker.network.generic': { 'quantum.name': 'dock' } },
    IPv4Data: [{ AddressSpace: 'quantum', Pool: '10.62.0.0/24', Gateway: '10.62.0.1/24' }],
  });

const removeNetwork = (visitor: Container) => driver(visitor, 'DeleteNetwork', { NetworkID: OWN });

/** Docker's name for the network of the scene. */
const share = (visitor: Container) =>
  driver(visitor, 'CreateNetwork', {
    NetworkID: EXISTING,
    Options: { 'com.docker.network.generic': { 'quantum.network': 'blue' } },
    IPv4Data: [{ AddressSpace: 'quantum', Pool: '10.60.1.0/24', Gateway: '10.60.1.1/24' }],
  });

const create = (visitor: Container) =>
  driver(visitor, 'CreateEndpoint', {
    ...REFERENCE,
    Interface: { Address: `${VISITOR.ip_address}/24`, AddressIPv6: `${VISITOR.ip6_address}/64` },
    Options: {
      'quantum.labels': 'role=guest',
      'com.docker.network.portmap': [{ Proto: 6, Port: 80, HostPort: 8080 }],
    },
  });

const joinSandbox = (visitor: Container) =>
  driver(visitor, 'Join', { ...REFERENCE, SandboxKey: visitor.netns.path });

const stage = async (visitor: Container) => {
  await share(visitor);
  await create(visitor);
};

/** Waits until it is known whose the endpoint is. */
const stageAndJoin = async (visitor: Container) => {
  await stage(visitor);
  await joinSandbox(visitor);
  await driver(visitor, 'ProgramExternalConnectivity', REFERENCE);
};

const hasJoined = (on: Rest) =>
  has(on, PATH, ({ netns_path }: { netns_path: string }) => netns_path !== NO_NETNS);

const clear = async (visitor: Container) => {
  await driver(visitor, 'DeleteEndpoint', REFERENCE);
  await driver(visitor, 'DeleteNetwork', { NetworkID: EXISTING });
};

/** Docker asks again when it was not answered: each call succeeds twice. */
const ANSWERED = { status: 200, again: 200 };

export const OF_DOCKER: readonly Operation[] = [
  {
    name: 'docker network create',
    prepare: nothing,
    request: (_, visitor) => makeNetwork(visitor),
    hasHappened: (on) => has(on, '/networks/dock'),
    clean: (_, visitor) => removeNetwork(visitor),
    ...ANSWERED,
  },
  {
    name: 'docker network rm',
    prepare: (_, visitor) => makeNetwork(visitor),
    request: (_, visitor) => removeNetwork(visitor),
    hasHappened: async (on) => !(await has(on, '/networks/dock')),
    clean: (_, visitor) => removeNetwork(visitor),
    ...ANSWERED,
  },
  {
    name: 'CreateEndpoint of Docker, with a port of the node',
    prepare: (_, visitor) => share(visitor),
    request: (_, visitor) => create(visitor),
    hasHappened: (on) => has(on, PATH),
    clean: (_, visitor) => clear(visitor),
    ...ANSWERED,
  },
  {
    name: 'Join of Docker',
    prepare: (_, visitor) => stage(visitor),
    request: (_, visitor) => joinSandbox(visitor),
    hasHappened: hasJoined,
    clean: (_, visitor) => clear(visitor),
    ...ANSWERED,
  },
  {
    name: 'Leave of Docker',
    prepare: (_, visitor) => stageAndJoin(visitor),
    request: (_, visitor) => driver(visitor, 'Leave', REFERENCE),
    hasHappened: async (on) => !(await hasJoined(on)),
    clean: (_, visitor) => clear(visitor),
    ...ANSWERED,
  },
  {
    name: 'DeleteEndpoint of Docker',
    prepare: (_, visitor) => stageAndJoin(visitor),
    request: (_, visitor) => driver(visitor, 'DeleteEndpoint', REFERENCE),
    hasHappened: async (on) => !(await has(on, PATH)),
    clean: (_, visitor) => clear(visitor),
    ...ANSWERED,
  },
];
