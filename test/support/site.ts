/** A daemon for the tests of a file, and what one test makes on it; between two tests nothing may be left. */
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { gatewayMac } from '../../src/bridge/mac.js';
import type { EndpointRequestInput } from '../../src/model/endpoint.js';
import type { Network } from '../../src/model/network.js';
import { policyRef } from '../../src/model/policy.js';
import { Container, Host, TCP_PORT, UDP_PORT } from './containers.js';
import { Daemon, type DaemonOptions } from './daemon.js';
import { kernelState, type NodeState, nodeState } from './node-state.js';
import { Outside, type OutsideOptions } from './outside.js';
import type { NetworkInput } from './rest.js';

const SETTLE_MS = 10_000;

/** Packets of a series of /metrics. */
export interface TrafficQuery {
  container?: Container;
  reason?: string;
  direction?: 'egress' | 'ingress';
  network?: string;
}

export class Site {
  readonly host: Host;
  readonly #containers: Container[] = [];
  #networks = 0;
  readonly #outsides: Outside[] = [];
  #clean: NodeState | undefined;

  private constructor(readonly daemon: Daemon) {
    this.host = new Host('host', daemon.netns);
  }

  static async open(options?: DaemonOptions): Promise<Site> {
    const site = new Site(await Daemon.start(options));
    site.#clean = await nodeState(site.daemon);
    return site;
  }

  get rest() {
    return this.daemon.rest;
  }

  /**
   * A network of both families, in a range of its own: 10.60.N.0/24 and fd00:60:N::/64. The outside has routes to it,
   * and nothing is masqueraded unless the options say so.
   */
  network(name: string, options: Partial<NetworkInput> = {}): Promise<Network> {
    this.#networks += 1;
    const cidr = `10.60.${this.#networks}.0/24`;
    const cidr6 = `fd00:60:${this.#networks}::/64`;
    return this.rest.createNetwork({
      name,
      cidr,
      cidr6,
      ...options,
      options: { masquerade: false, ...options.options },
    });
  }

  /** A container that is not connected yet. */
  bare(id: string): Container {
    const container = new Container(this.daemon, id);
    this.#containers.push(container);
    return container;
  }

  /** A connected container that serves an echo on TCP_PORT and UDP_PORT. */
  async container(id: string, network: string, request?: Partial<EndpointRequestInput>): Promise<Container> {
    const container = this.bare(id);
    await Promise.all([
      container.connect(network, request),
      container.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`),
    ]);
    return container;
  }

  /** Somebody beyond the node; serves an echo. */
  async outside(options?: OutsideOptions): Promise<Outside> {
    const outside = new Outside(this.daemon.netns, options);
    this.#outsides.push(outside);
    await outside.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`);
    return outside;
  }

  /** Everything that the daemon keeps on the node. */
  state(): Promise<NodeState> {
    return nodeState(this.daemon);
  }

  /** The only MAC address that the container sees. */
  gatewayMac(container: Container): string {
    return gatewayMac(container.endpoint.network_id);
  }

  /** What /metrics counts of packets, summed over the series that fit. */
  async packets(query: TrafficQuery): Promise<number> {
    const { text } = await this.rest.call('GET', '/metrics');
    const wanted = [
      ...(query.container === undefined ? [] : [`container_id="${query.container.id}"`]),
      ...(query.reason === undefined ? [] : [`reason="${query.reason}"`]),
      ...(query.direction === undefined ? [] : [`direction="${query.direction}"`]),
      ...(query.network === undefined ? [] : [`network="${query.network}"`]),
    ];
    return text
      .split('\n')
      .filter(
        (line) => line.startsWith('quantum_packets_total{') && wanted.every((part) => line.includes(part)),
      )
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** Takes away everything that was made through the API. Throws when the node is not as it was at first. */
  async clear(): Promise<void> {
    await this.host.halt();
    if (!this.daemon.isRunning) await this.daemon.start();
    for (const container of this.#containers.splice(0)) container[Symbol.dispose]();
    for (const outside of this.#outsides.splice(0)) outside[Symbol.dispose]();
    const { rest } = this;
    const list = (path: string) => rest.expect<Record<string, never[]>>('GET', `/${path}`);
    for (const policy of (await list('policies')).policies ?? []) {
      const { name, namespace } = policyRef(policy);
      await rest.deletePolicy(name, namespace);
    }
    for (const { namespace, name } of (await list('services')).services ?? []) {
      await rest.expect('DELETE', `/services/${namespace}/${name}`);
    }
    for (const { network, container_id } of (await list('endpoints')).endpoints ?? []) {
      const path = `/networks/${network}/containers/${container_id}`;
      const { status, text } = await rest.call('DELETE', path);
      // A container on several interfaces is gone with the first call.
      if (status !== 204 && status !== 404) throw new Error(`DELETE ${path}: ${text}`);
    }
    for (const { name } of (await list('networks')).networks ?? []) {
      await rest.expect('DELETE', `/networks/${name}`);
    }
    for (const { name } of (await list('namespaces')).namespaces ?? []) {
      if (name !== 'default') await rest.expect('DELETE', `/namespaces/${name}`);
    }
    this.#networks = 0;
    await this.#requireClean();
  }

  async close(): Promise<void> {
    const before = { ...kernelState(this.daemon) };
    const code = await this.daemon.stop();
    const after = kernelState(this.daemon);
    const strangers = this.daemon.strangers();
    await this.daemon[Symbol.asyncDispose]();
    if (code !== 0) throw new Error(`the daemon ended with ${code}:\n${this.daemon.log}`);
    if (strangers.length > 0) throw new Error(`processes are left: ${strangers}`);
    if (!isDeepStrictEqual(before, after)) {
      throw new Error(`stopping has changed the node:\n${show(before)}\n${show(after)}`);
    }
  }

  /** Ranges of the node's own addresses follow them with a delay. */
  async #requireClean(): Promise<void> {
    const deadline = performance.now() + SETTLE_MS;
    for (;;) {
      const state = await nodeState(this.daemon);
      if (isDeepStrictEqual(state, this.#clean)) return;
      if (performance.now() > deadline) {
        throw new Error(`the node is not clean:\n${show(this.#clean)}\n${show(state)}\n${this.daemon.log}`);
      }
    }
  }
}

function show(value: unknown): string {
  return JSON.stringify(value, undefined, 1);
}

/** Starts a daemon for the tests of the file; `site()` is it. After each test everything of it is taken away. */
export function useSite(options?: DaemonOptions): () => Site {
  let site: Site | undefined;
  beforeAll(async () => {
    site = await Site.open(options);
  }, 90_000);
  afterEach(() => site?.clear());
  afterAll(() => site?.close());
  return () => {
    if (site === undefined) throw new Error('the daemon has not started');
    return site;
  };
}
