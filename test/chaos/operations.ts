/** Every change that can be asked of the daemon, with what comes before it and how it is undone. */
import type { Container } from '../support/containers.js';
import { type Answer, policyObject, type Rest } from '../support/rest.js';

export interface Operation {
  name: string;
  /** Makes what the operation needs; `clean` takes away that and what the operation made, as much as there is. */
  prepare(on: Rest, visitor: Container): Promise<unknown>;
  request(on: Rest, visitor: Container): Promise<Answer>;
  /** Whether the answers of the API say that it has happened. */
  hasHappened(on: Rest): Promise<boolean>;
  clean(on: Rest): Promise<unknown>;
  /** Status of the answer when it happens, and when it is asked for again after it has happened. */
  status: number;
  again: number;
}

/** Of the visitor. Policies of the scene do not let it reach anybody. */
export const VISITOR = { ip_address: '10.60.1.66', ip6_address: 'fd00:60:1::66' };

const connection = '/networks/blue/containers/visitor';
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

function connect(on: Rest, visitor: Container, namespace = 'default'): Promise<Answer> {
  return on.call('POST', '/networks/blue/containers', {
    container_id: 'visitor',
    netns_path: visitor.netns.path,
    labels: { role: 'guest' },
    namespace,
    ...VISITOR,
  });
}

const createNetwork = (on: Rest) =>
  on.call('POST', '/networks', { name: 'red', cidr: '10.61.0.0/24', cidr6: 'fd00:61::/64' });
const applyPolicy = (on: Rest, port: number) => on.call('POST', '/policies', policy(port));

/** None of what the calls are about needs to be there. */
async function remove(on: Rest, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    const { status, text } = await on.call('DELETE', path);
    if (status !== 204 && status !== 404) throw new Error(`DELETE ${path}: ${status} ${text}`);
  }
}

async function has(on: Rest, path: string, isRight: (body: never) => boolean = () => true): Promise<boolean> {
  const { status, json } = await on.call('GET', path);
  return status === 200 && isRight(json as never);
}

const nothing = async () => undefined;

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'connect',
    prepare: nothing,
    request: (on, visitor) => connect(on, visitor),
    hasHappened: (on) => has(on, connection),
    clean: (on) => remove(on, connection),
    status: 201,
    again: 409,
  },
  {
    name: 'disconnect',
    prepare: (on, visitor) => connect(on, visitor),
    request: (on) => on.call('DELETE', connection),
    hasHappened: async (on) => !(await has(on, connection)),
    clean: (on) => remove(on, connection),
    status: 204,
    again: 404,
  },
  {
    name: 'relabel',
    prepare: (on, visitor) => connect(on, visitor),
    request: (on) => on.call('PATCH', connection, { labels: { role: 'other' }, namespace: 'elsewhere' }),
    hasHappened: (on) =>
      has(on, connection, ({ namespace }: { namespace: string }) => namespace === 'elsewhere'),
    clean: (on) => remove(on, connection),
    status: 200,
    again: 200,
  },
  {
    name: 'policy apply',
    prepare: (on, visitor) => connect(on, visitor),
    request: (on) => applyPolicy(on, 80),
    hasHappened: (on) => has(on, '/policies/default/guests'),
    clean: (on) => remove(on, '/policies/default/guests', connection),
    status: 201,
    again: 200,
  },
  {
    name: 'policy replace',
    prepare: async (on, visitor) => {
      await connect(on, visitor);
      await applyPolicy(on, 80);
    },
    request: (on) => applyPolicy(on, 8080),
    hasHappened: (on) => has(on, '/policies/default/guests', (body) => JSON.stringify(body).includes('8080')),
    clean: (on) => remove(on, '/policies/default/guests', connection),
    status: 200,
    again: 200,
  },
  {
    name: 'policy delete',
    prepare: async (on, visitor) => {
      await connect(on, visitor);
      await applyPolicy(on, 80);
    },
    request: (on) => on.call('DELETE', '/policies/default/guests'),
    hasHappened: async (on) => !(await has(on, '/policies/default/guests')),
    clean: (on) => remove(on, '/policies/default/guests', connection),
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
      await connect(on, visitor, 'prod');
      await applyPolicy(on, 80);
      await on.call('PUT', '/namespaces/prod', { labels: { team: 'y' } });
    },
    request: (on) => on.call('PUT', '/namespaces/prod', { labels: { team: 'x' } }),
    hasHappened: (on) =>
      has(on, '/namespaces/prod', ({ labels }: { labels: Record<string, string> }) => labels.team === 'x'),
    clean: (on) => remove(on, '/policies/default/guests', connection, '/namespaces/prod'),
    status: 200,
    again: 200,
  },
];
