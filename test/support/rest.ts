/** A client of the daemon's REST API, through its Unix socket or through any other connection. */
import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import type { Endpoint, EndpointPatch, EndpointRequestInput } from '../../src/model/endpoint.js';
import type { ErrorBody } from '../../src/model/errors.js';
import type { Network, networkRequest } from '../../src/model/network.js';
import type { NetworkPolicy } from '../../src/model/network-policy.js';
import type { FlowEvent } from '../../src/vnet/contract.js';

const TIMEOUT_MS = 30_000;

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The JSON of the text; undefined when it is none. */
  json: unknown;
}

/** A policy as its author writes it; what is left out gets its default. */
export interface PolicyInput {
  name: string;
  namespace?: string;
  spec: object;
}

export interface FlowFollower {
  /** Those told so far. */
  readonly events: FlowEvent[];
  /** Resolves when the daemon has answered. */
  readonly connected: Promise<void>;
  close(): void;
}

export type NetworkInput = z.input<typeof networkRequest>;

export class Rest {
  /** `open` makes a connection; without it, the socket of the path. `log` is what the daemon says of failures. */
  constructor(
    private readonly socketPath: string,
    private readonly log: () => string,
    private readonly open?: () => Duplex,
  ) {}

  /** A body that is no string is sent as JSON. */
  call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    // Without a length Node.js sends the body of a DELETE as if it were another request.
    const type =
      text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const { open } = this;
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          method,
          path,
          headers: { host: 'localhost', ...type, ...headers },
          timeout: TIMEOUT_MS,
          // A connection of its own: the daemon may close one that was idle just when it is used again.
          ...(open === undefined
            ? { socketPath: this.socketPath, agent: false }
            : { createConnection: open as never }),
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const answer = Buffer.concat(chunks).toString();
            const { statusCode = 0 } = incoming;
            resolve({ status: statusCode, headers: incoming.headers, text: answer, json: jsonOf(answer) });
          });
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${path}: no answer`)));
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  }

  /** The body of a successful answer; anything else is an Error that carries the answer's text. */
  async expect<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.call(method, path, body);
    if (answer.status >= 200 && answer.status < 300) return answer.json as T;
    const log = answer.status >= 500 ? `\n${this.log()}` : '';
    throw new Error(`${method} ${path}: ${answer.status} ${answer.text}${log}`);
  }

  createNetwork(network: NetworkInput): Promise<Network> {
    return this.expect('POST', '/networks', network);
  }

  connect(network: string, endpoint: EndpointRequestInput): Promise<Endpoint> {
    return this.expect('POST', `/networks/${network}/containers`, endpoint);
  }

  patch(network: string, containerId: string, patch: EndpointPatch): Promise<Endpoint> {
    return this.expect('PATCH', `/networks/${network}/containers/${containerId}`, patch);
  }

  async disconnect(network: string, containerId: string): Promise<void> {
    await this.expect('DELETE', `/networks/${network}/containers/${containerId}`);
  }

  apply({ name, namespace = 'default', spec }: PolicyInput): Promise<NetworkPolicy> {
    return this.expect('POST', '/policies', policyObject({ name, namespace, spec }));
  }

  /** Objects of any kind of policy, all of them from the same moment on. */
  async applyAll(...items: object[]): Promise<void> {
    await this.expect('POST', '/policies', { apiVersion: 'v1', kind: 'List', items });
  }

  /** Documents of YAML. */
  applyYaml(text: string): Promise<Answer> {
    return this.call('POST', '/policies', text, { 'content-type': 'application/yaml' });
  }

  async deletePolicy(name: string, namespace = 'default'): Promise<void> {
    await this.expect('DELETE', `/policies/${namespace}/${name}`);
  }

  async setNamespace(name: string, labels: Record<string, string>): Promise<void> {
    await this.expect('PUT', `/namespaces/${name}`, { labels });
  }

  /** Verdicts from now on. */
  follow(query: string): FlowFollower {
    const events: FlowEvent[] = [];
    const outgoing = request({ path: `/flows?follow=true&${query}`, socketPath: this.socketPath });
    const connected = once(outgoing, 'response').then(([incoming]: IncomingMessage[]) => {
      if (incoming === undefined) return;
      const lines = createInterface({ input: incoming });
      lines.on('line', (line) => events.push(JSON.parse(line) as FlowEvent));
      // Which is how it learns that close() was called.
      for (const emitter of [incoming, lines]) emitter.on('error', () => undefined);
    });
    outgoing.on('error', () => undefined);
    outgoing.end();
    return { events, connected, close: () => outgoing.destroy() };
  }

  async flows(query = ''): Promise<FlowEvent[]> {
    const { text } = await this.call('GET', `/flows?limit=10000${query}`);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as FlowEvent);
  }
}

export function policyObject({ name, namespace = 'default', spec }: PolicyInput): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace },
    spec,
  };
}

/** The error that an answer carries. */
export function errorOf(answer: Answer): ErrorBody['error'] {
  const { error } = (answer.json ?? {}) as Partial<ErrorBody>;
  if (error === undefined) throw new Error(`not an error: ${answer.status} ${answer.text}`);
  return error;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
