/** Every change that can be asked of the daemon, with what comes before it and how it is undone. */
import { isDeepStrictEqual } from 'node:util';
import type { EndpointOptions } from '../../src/model/endpoint.js';
import type { Container } from '../support/containers.js';
import { policyObject, type Rest } from '../support/rest.js';
import { OF_DOCKER } from './docker-operations.js';
import { CONNECTION, connect, has, nothing, type Operation, remove, SERVICE, serve } from './operation.js';
import { PUBLISHING } from './publishing-operations.js';

/** Lets the visitor reach c, whether by its own labels or by those of its namespace. */
const policy = (port: number) =>
  policyObject({
    name: 'guests',
    spec: {
      podSelector: { matchLabels: { app: 'c' } },
      ingress: [
        {
          from: [
            { podSelector: { matchLabels: { role: 'guest' } } },
            { namespaceSelector: { matchLabels: { team: 'x' } } },
          ],
          ports: [{ port, endPort: port + 9 }],
        },
      ],
    },
  });

const createNetwork = (on: Rest) =>
  on.call('POST', '/networks', { name: 'red', cidr: '10.61.0.0/24', cidr6: 'fd00:61::/64' });
const applyPolicy = (on: Rest, port: number) => on.call('POST', '/policies', policy(port));

async function serveVisitor(on: Rest, visitor: Container): Promise<void> {
  await serve(on);
  await connect(on, visitor);
}

async function applyToVisitor(on: Rest, visitor: Container): Promise<void> {
  await connect(on, visitor);
  await applyPolicy(on, 80);
}

const LIMITS = { ingress_rate: 100_000_000, egress_rate: 200_000_000 };

/** Other limits than those with which the visitor is connected. */
const limit = (
  name: string,
  from: EndpointOptions['bandwidth'],
  to: EndpointOptions['bandwidth'],
): Operation => ({
  name,
  prepare: (on, visitor) => connect(on, visitor, { options: { bandwidth: from } }),
  request: (on) => on.call('PATCH', CONNECTION, { options: { bandwidth: to } }),
  hasHappened: (on) =>
    has(on, CONNECTION, ({ options }: { options?: EndpointOptions }) =>
      isDeepStrictEqual(options?.bandwidth, to),
    ),
  clean: (on) => remove(on, CONNECTION),
  status: 200,
  again: 200,
});

export const LIMITS_END = limit('limits of bandwidth end', LIMITS, {});

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'connect to a network and a service, with a port of the node',
    prepare: (on) => serve(on),
    request: (on, visitor) => connect(on, visitor),
    hasHappened: (on) => has(on, CONNECTION),
    clean: (on) => remove(on, CONNECTION, SERVICE),
    status: 201,
    again: 409,
  },
  {
    name: 'disconnect from a network and a service, with a port of the node',
    prepare: serveVisitor,
    request: (on) => on.call('DELETE', CONNECTION),
    hasHappened: async (on) => !(await has(on, CONNECTION)),
    clean: (on) => remove(on, CONNECTION, SERVICE),
    status: 204,
    again: 404,
  },
  {
    name: 'relabel, out of a service',
    prepare: serveVisitor,
    request: (on) => on.call('PATCH', CONNECTION, { labels: { role: 'other' }, namespace: 'elsewhere' }),
    hasHappened: (on) =>
      has(on, CONNECTION, ({ namespace }: { namespace: string }) => namespace === 'elsewhere'),
    clean: (on) => remove(on, CONNECTION, SERVICE),
    status: 200,
    again: 200,
  },
  {
    name: 'policy apply',
    prepare: (on, visitor) => connect(on, visitor),
    request: (on) => applyPolicy(on, 80),
    hasHappened: (on) => has(on, '/policies/default/guests'),
    clean: (on) => remove(on, '/policies/default/guests', CONNECTION),
    status: 201,
    again: 200,
  },
  {
    name: 'policy replace',
    prepare: applyToVisitor,
    request: (on) => applyPolicy(on, 8080),
    hasHappened: (on) => has(on, '/policies/default/guests', (body) => JSON.stringify(body).includes('8080')),
    clean: (on) => remove(on, '/policies/default/guests', CONNECTION),
    status: 200,
    again: 200,
  },
  {
    name: 'policy delete',
    prepare: applyToVisitor,
    request: (on) => on.call('DELETE', '/policies/default/guests'),
    hasHappened: async (on) => !(await has(on, '/policies/default/guests')),
    clean: (on) => remove(on, '/policies/default/guests', CONNECTION),
    status: 204,
    again: 404,
  },
  {
    name: 'network create',
    prepare: nothing,
    request: createNetwork,
    hasHappened: (on) => has(on, '/networks/red'),
    clean: (on) => remove(on, '/networks/red'),
    status: 201,
    again: 409,
  },
  {
    name: 'network delete',
    prepare: createNetwork,
    request: (on) => on.call('DELETE', '/networks/red'),
    hasHappened: async (on) => !(await has(on, '/networks/red')),
    clean: (on) => remove(on, '/networks/red'),
    status: 204,
    again: 404,
  },
  {
    name: 'namespace label',
    prepare: async (on, visitor) => {
      await connect(on, visitor, { namespace: 'prod' });
      await applyPolicy(on, 80);
      await on.call('PUT', '/namespaces/prod', { labels: { team: 'y' } });
    },
    request: (on) => on.call('PUT', '/namespaces/prod', { labels: { team: 'x' } }),
    hasHappened: (on) =>
      has(on, '/namespaces/prod', ({ labels }: { labels: Record<string, string> }) => labels.team === 'x'),
    clean: (on) => remove(on, '/policies/default/guests', CONNECTION, '/namespaces/prod'),
    status: 200,
    again: 200,
  },
  limit('limits of bandwidth begin', {}, LIMITS),
  limit('limits of bandwidth become others', LIMITS, { ...LIMITS, ingress_rate: 300_000_000 }),
  LIMITS_END,
  ...PUBLISHING,
  ...OF_DOCKER,
];
