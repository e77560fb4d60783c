/** What an operation on a daemon is, and what many of them need. */
import type { EndpointOptions } from '../../src/model/endpoint.js';
import type { Container } from '../support/containers.js';
import type { Answer, Rest } from '../support/rest.js';

export interface Operation {
  name: string;
  /** Makes what the operation needs; `clean` takes away that and what the operation made, as much as there is. */
  prepare(on: Rest, visitor: Container): Promise<unknown>;
  request(on: Rest, visitor: Container): Promise<Answer>;
  /** Whether the answers of the API say that it has happened. */
  hasHappened(on: Rest): Promise<boolean>;
  clean(on: Rest, visitor: Container): Promise<unknown>;
  /** Status of the answer when it happens, and when it is asked for again after it has happened. */
  status: number;
  again: number;
}

/** Of the visitor. Policies of the scene do not let it reach anybody. */
export const VISITOR = { ip_address: '10.60.1.66', ip6_address: 'fd00:60:1::66' };

export const CONNECTION = '/networks/blue/containers/visitor';
export const SERVICE = '/services/default/guests';

/** With a port of the node. */
export function connect(
  on: Rest,
  visitor: Container,
  { namespace = 'default', options }: { namespace?: string; options?: EndpointOptions } = {},
): Promise<Answer> {
  return on.call('POST', '/networks/blue/containers', {
    container_id: 'visitor',
    netns_path: visitor.netns.path,
    labels: { role: 'guest' },
    ports: [{ container_port: 80, host_port: 8080 }],
    namespace,
    options,
    ...VISITOR,
  });
}

/** A service that the visitor is all of, as long as it has its labels. */
export function serve(on: Rest, port = 80): Promise<Answer> {
  return on.call('POST', '/services', {
    name: 'guests',
    selector: { matchLabels: { role: 'guest' } },
    ip_address: '10.96.0.10',
    ip6_address: 'fd00:96::10',
    ports: [{ port, target_port: 80, node_port: 30080 }],
  });
}

/** None of what the calls are about needs to be there. */
export async function remove(on: Rest, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    const { status, text } = await on.call('DELETE', path);
    if (status !== 204 && status !== 404) throw new Error(`DELETE ${path}: ${status} ${text}`);
  }
}

export async function has(
  on: Rest,
  path: string,
  isRight: (body: never) => boolean = () => true,
): Promise<boolean> {
  const { status, json } = await on.call('GET', path);
  return status === 200 && isRight(json as never);
}

export const nothing = async () => undefined;
