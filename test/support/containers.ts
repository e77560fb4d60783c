/** Containers: network namespaces with ordinary programs in them, connected through the API. */
import { once } from 'node:events';
import type { Endpoint, EndpointPatch, EndpointRequestInput } from '../../src/model/endpoint.js';
import { CommandError } from '../../src/netns/index.js';
import { Capture } from './capture.js';
import type { Daemon } from './daemon.js';
import { Lines } from './lines.js';
import { TestNetns } from './netns.js';
import { Stream } from './stream.js';
import { trafficProgram } from './traffic.js';

export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

/** What every container serves unless it is told otherwise: an echo. */
export const TCP_PORT = 80;
export const UDP_PORT = 53;

/** When to give up: at once where nothing is expected, late where an answer is, however busy the machine may be. */
const PATIENCE_MS = { blocked: 300, other: 5000 };

/** open: echoed. refused: the other side said no. blocked: nothing came back. Or the error's name. */
export type Verdict = 'open' | 'refused' | 'blocked' | (string & {});

export interface DialOptions {
  family?: Family;
  protocol?: 'tcp' | 'udp';
  port?: number;
  /** What the test thinks that it will be: decides how long it waits, not what it gets. */
  expected?: Verdict;
  /** How much is sent and has to come back. */
  bytes?: number;
  /** Port that is dialled from; the kernel chooses one otherwise. */
  from?: number;
}

function patience(expected: Verdict | undefined): number {
  return expected === 'blocked' ? PATIENCE_MS.blocked : PATIENCE_MS.other;
}

/** Anything with a network namespace that programs of tests can run in. */
export class Host implements Disposable {
  readonly netns: TestNetns;
  readonly #programs = new Set<Lines>();

  /** `id` is what messages call it. */
  constructor(
    readonly id: string,
    netns?: TestNetns,
  ) {
    this.netns = netns ?? TestNetns.create();
  }

  /** Echo servers, each `tcp:PORT` or `udp:PORT`. */
  async serve(...what: string[]): Promise<void> {
    await this.start('sockets', 'serve', ...what).ready();
  }

  /** Opens a connection, or sends a datagram, and tells what came of it. */
  async dial(to: Host | string, options: DialOptions = {}): Promise<Verdict> {
    const { protocol = 'tcp', expected, bytes = 5 } = options;
    const port = options.port ?? (protocol === 'tcp' ? TCP_PORT : UDP_PORT);
    const address = typeof to === 'string' ? to : to.address(options.family ?? 4);
    const args = ['dial', protocol, address, String(port), String(patience(expected)), String(bytes)];
    if (options.from !== undefined) args.push(String(options.from));
    return (await this.netns.exec(trafficProgram('sockets'), args)).stdout.trim();
  }

  /**
   * Sends so many datagrams by one socket; how many it took before it had no room for long. `segment`: the kernel cuts
   * each into datagrams of so many bytes, as late as it can.
   */
  async spray(to: Host, count: number, bytes: number, family: Family = 4, segment?: number): Promise<number> {
    const cut = segment === undefined ? [] : [segment];
    const args = [to.address(family), UDP_PORT, PATIENCE_MS.other, count, bytes, ...cut].map(String);
    return Number((await this.netns.exec(trafficProgram('sockets'), ['spray', ...args])).stdout);
  }

  /** `open` when an ICMP echo comes back, else `blocked`. */
  async ping(
    to: Host | string,
    options: Pick<DialOptions, 'family' | 'expected' | 'bytes'> = {},
  ): Promise<Verdict> {
    const { family = 4, expected, bytes = 56 } = options;
    const address = typeof to === 'string' ? to : to.address(family);
    const wait = String(patience(expected) / 1000);
    try {
      await this.netns.exec('ping', ['-n', '-c', '1', '-W', wait, '-s', String(bytes), address]);
      return 'open';
    } catch (error) {
      if (error instanceof CommandError && error.exitCode === 1) return 'blocked';
      throw error;
    }
  }

  /** A TCP connection that stays open. */
  stream(to: Host, family: Family = 4, port = TCP_PORT): Promise<Stream> {
    return Stream.open(this.netns, to.address(family), port);
  }

  /** Every frame that any of its interfaces receives from now on. */
  capture(): Promise<Capture> {
    return Capture.start(this.netns);
  }

  /** Sends frames as they are. */
  async sendFrames(frames: readonly Uint8Array[], interfaceName = 'eth0'): Promise<void> {
    const input = frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join('');
    await this.netns.exec(trafficProgram('frames'), ['send', interfaceName], { input });
  }

  /** The same with a checksum that is left to the card: of what begins at `start`, written `at` bytes from there. */
  async sendLeft(frame: Uint8Array, { start, at }: { start: number; at: number }): Promise<void> {
    const input = `${Buffer.from(frame).toString('hex')}\n`;
    await this.netns.exec(trafficProgram('frames'), ['leave', 'eth0', `${start}`, `${at}`], { input });
  }

  /** Sends one datagram by eth0 to a group or broadcast address. */
  cast(address: string, port: string, text: string): Promise<string> {
    return this.output(trafficProgram('groups'), 'cast', 'eth0', address, port, text);
  }

  /** A program of traffic/ that runs until it is killed or the container is gone. */
  start(program: Parameters<typeof trafficProgram>[0], ...args: string[]): Lines {
    const lines = new Lines(this.netns.spawn(trafficProgram(program), args));
    this.#programs.add(lines);
    return lines;
  }

  /** Ends what start() and serve() started. */
  async halt(): Promise<void> {
    for (const { child } of this.#programs) child.kill('SIGKILL');
    await Promise.all([...this.#programs].map(({ ended }) => ended));
    this.#programs.clear();
  }

  /** Output of a command. */
  async output(command: string, ...args: string[]): Promise<string> {
    return (await this.netns.exec(command, args)).stdout;
  }

  /** Where others reach it. */
  address(_family: Family): string {
    throw new Error('it has no address of its own');
  }

  [Symbol.dispose](): void {
    this.netns.close();
  }
}

/** Sends SIGTERM and gives the last line that the program prints then. */
export async function lastWords(lines: Lines): Promise<string> {
  lines.child.kill('SIGTERM');
  if (lines.child.exitCode === null) await once(lines.child, 'exit');
  await lines.ended;
  return lines.all.at(-1) ?? '';
}

export class Container extends Host {
  #endpoint: Endpoint | undefined;

  /** Not connected yet. */
  constructor(
    readonly daemon: Daemon,
    id: string,
  ) {
    super(id);
  }

  /** The endpoint that was made last. */
  get endpoint(): Endpoint {
    if (this.#endpoint === undefined) throw new Error(`container ${this.id} is not connected`);
    return this.#endpoint;
  }

  async connect(network: string, request: Partial<EndpointRequestInput> = {}): Promise<Endpoint> {
    this.#endpoint = await this.daemon.rest.connect(network, {
      container_id: this.id,
      netns_path: this.netns.path,
      ...request,
    });
    return this.#endpoint;
  }

  async relabel(patch: EndpointPatch): Promise<void> {
    this.#endpoint = await this.daemon.rest.patch(this.endpoint.network, this.id, patch);
  }

  async disconnect(): Promise<void> {
    await this.daemon.rest.disconnect(this.endpoint.network, this.id);
    this.#endpoint = undefined;
  }

  override address(family: Family): string {
    const address = family === 4 ? this.endpoint.ip_address : this.endpoint.ip6_address;
    if (address === undefined) throw new Error(`container ${this.id} has no IPv${family} address`);
    return address;
  }

  gateway(family: Family): string {
    const gateway = family === 4 ? this.endpoint.gateway : this.endpoint.gateway6;
    if (gateway === undefined) throw new Error(`container ${this.id} has no IPv${family} gateway`);
    return gateway;
  }
}

/**
 * Tries TCP, UDP and ICMP echo over each pair, all at once, and names those that are not as expected: `[]` when all
 * are.
 */
export async function unlike(
  expected: Verdict,
  family: Family,
  ...pairs: (readonly [Host, Host | string])[]
): Promise<string[]> {
  const all = pairs.flatMap(([from, to]) => {
    const name = `${from.id} -> ${typeof to === 'string' ? to : to.id}`;
    return [
      from.dial(to, { family, expected }).then((verdict) => [`${name} TCP`, verdict]),
      from.dial(to, { family, expected, protocol: 'udp' }).then((verdict) => [`${name} UDP`, verdict]),
      from.ping(to, { family, expected }).then((verdict) => [`${name} ICMP`, verdict]),
    ];
  });
  const results = await Promise.all(all);
  return results
    .filter(([, verdict]) => verdict !== expected)
    .map(([name, verdict]) => `${name}: ${verdict}`);
}
