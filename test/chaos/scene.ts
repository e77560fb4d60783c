/** A node on which a and b talk and c asks for both without end, in vain: what must stay so, whatever is killed. */
import { readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { EndpointRequestInput } from '../../src/model/endpoint.js';
import { type Container, lastWords } from '../support/containers.js';
import type { DaemonOptions } from '../support/daemon.js';
import type { Lines } from '../support/lines.js';
import { whenOrderly } from '../support/order.js';
import type { Site } from '../support/site.js';
import type { Stream } from '../support/stream.js';
import { type KillPoint, killedAt, SINGLE_POOL } from '../support/system-calls.js';

/** Of c, for each address and protocol. */
const PROBES_PER_SECOND = 100;
/** Sends datagrams from a container that has an interface now and then. */
const KNOCK = `exec 3<> <(:)
while :; do
  for address; do echo knock > "/dev/udp/$address/53"; done
  read -r -t 0.02 -u 3
done 2> /dev/null`;

export class Scene implements Disposable {
  private constructor(
    readonly site: Site,
    readonly a: Container,
    readonly b: Container,
    readonly c: Container,
    private readonly stream: Stream,
    private readonly probes: readonly Lines[],
    private readonly watches: readonly Lines[],
    private readonly visitors: readonly Container[],
  ) {}

  /** `strangers`: addresses that nobody has yet, and that a must not hear from either. */
  static async set(site: Site, visitors: readonly Container[], strangers: readonly string[]): Promise<Scene> {
    await site.network('blue', { isolation_mode: 'peer' });
    const make = (id: string) => site.container(id, 'blue', { labels: { app: id } });
    const [a, b, c] = [await make('a'), await make('b'), await make('c')];
    const matchExpressions = [{ key: 'app', operator: 'In', values: ['a', 'b'] }];
    await site.rest.apply({
      name: 'friends',
      spec: {
        podSelector: { matchExpressions },
        ingress: [{ from: [{ podSelector: { matchExpressions } }] }],
      },
    });
    const watch = (by: Container, address: string) => by.start('probes', 'watch', 'eth0', address).ready();
    const probe = (target: Container, family: 4 | 6) =>
      c.start('probes', 'send', target.address(family), '53', String(PROBES_PER_SECOND)).ready();
    const watches = await Promise.all([
      ...[a, b].flatMap((by) => [watch(by, c.address(4)), watch(by, c.address(6))]),
      ...strangers.map((address) => watch(a, address)),
    ]);
    const stream = await a.stream(b);
    const probes = await Promise.all([probe(a, 4), probe(a, 6), probe(b, 4)]);
    return new Scene(site, a, b, c, stream, probes, watches, visitors);
  }

  /** Lets a container that comes and goes, as the request has it, try to reach a all the while. */
  async knockFrom(visitor: Container, request: Partial<EndpointRequestInput>): Promise<void> {
    visitor.netns.spawn('bash', ['-c', KNOCK, 'bash', this.a.address(4), this.a.address(6)]);
    await visitor.connect('blue', request);
    const denied = () => this.site.packets({ container: visitor, reason: 'POLICY_INGRESS' });
    await expect.poll(denied, { timeout: 10_000 }).toBeGreaterThan(1);
    await visitor.disconnect();
  }

  /** Starts the daemon, a minute after the last one in the eyes of who looks at the age of files. */
  async start(options?: DaemonOptions): Promise<void> {
    const { daemon } = this.site;
    for (const directory of [daemon.path('conf'), daemon.path('bin')]) {
      for (const name of readdirSync(directory)) {
        if (name.endsWith('.tmp')) utimesSync(join(directory, name), 0, 0);
      }
    }
    await daemon.start(options);
  }

  /** Starts the daemon and kills it at that point, or when it is ready. */
  async startInVain(point: KillPoint): Promise<void> {
    const { daemon } = this.site;
    await this.start({ wrapper: [...killedAt(point), ...SINGLE_POOL] }).catch((error: unknown) => {
      if (!daemon.hasEnded) throw error;
    });
    await daemon.kill();
  }

  /** Starts the daemon and kills it so much later, or when it is ready. */
  async cutOff(afterMs: number): Promise<void> {
    const { daemon } = this.site;
    const timer = setTimeout(() => process.kill(daemon.pid, 'SIGKILL'), afterMs);
    await this.start().catch((error: unknown) => {
      if (!daemon.hasEnded) throw error;
    });
    clearTimeout(timer);
    await daemon.kill();
  }

  /** Proves that the node is what the store says, and that who talked talks on. */
  async requireOrder(when: string): Promise<void> {
    expect(await this.disorder(), when).toEqual([]);
    expect(await this.stream.echoes(), `${when}: the stream`).toBe(true);
  }

  /** What differs between the store and the node, once nothing is under way. */
  disorder(): Promise<string[]> {
    const netns = [this.a, this.b, this.c, ...this.visitors].map((container) => container.netns);
    return whenOrderly(this.site.daemon, netns);
  }

  /** Proves that all the while nobody has let anything of c or a stranger through. */
  async requireClosed(): Promise<void> {
    for (const probe of this.probes) {
      const { datagrams, syns, opened, answered } = JSON.parse(await lastWords(probe));
      expect(Math.min(datagrams, syns)).toBeGreaterThan(PROBES_PER_SECOND);
      expect({ opened, answered }).toEqual({ opened: 0, answered: 0 });
    }
    for (const watch of this.watches) expect(await lastWords(watch)).toBe('{"frames":0}');
  }

  [Symbol.dispose](): void {
    this.stream.close();
  }
}
