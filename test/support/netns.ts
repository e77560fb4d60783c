/** Network namespaces for tests: named at random, commands inside, everything gone at the end of the block. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  CommandError,
  createVethPair,
  type ExecOptions,
  type ExecResult,
  Netns,
} from '../../src/netns/index.js';

const PREFIX = 'qt-';

const open = new Set<TestNetns>();
// Also when a test process gives up half-way.
process.on('exit', () => {
  for (const netns of open) netns.close();
});

/** Answers `<address it came from>|<what it got>`. */
const SERVER = `
const [protocol, address, port] = process.argv.slice(1);
const ready = () => console.log('ready');
if (protocol === 'udp') {
  const socket = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data, from) => socket.send(from.address + '|' + data, from.port, from.address));
  socket.bind(Number(port), address, ready);
} else {
  require('net').createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => socket.end(socket.remoteAddress + '|' + data));
  }).listen(Number(port), address, ready);
}`;

/** Sends one message; exits with 3 when nothing came back in time. */
const CLIENT = `
const [protocol, address, port, timeout, message] = process.argv.slice(1);
const give = (text) => { process.stdout.write(text); process.exit(0); };
setTimeout(() => process.exit(3), Number(timeout));
const fail = () => process.exit(3);
if (protocol === 'udp') {
  const socket = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data) => give(String(data)));
  socket.on('error', fail);
  socket.send(message, Number(port), address);
} else {
  const socket = require('net').connect(Number(port), address, () => socket.write(message));
  let got = '';
  socket.on('data', (data) => { got += data; });
  socket.on('end', () => give(got));
  socket.on('error', fail);
}`;

export interface Target {
  address: string;
  port: number;
  protocol?: 'tcp' | 'udp';
}

export class TestNetns implements Disposable {
  /** `qt-<random>`: visible to `ip netns` while it lives. */
  readonly name: string;
  readonly net: Netns;
  readonly #children = new Set<ChildProcess>();

  private constructor(name: string) {
    this.name = name;
    this.net = Netns.create({ name });
    open.add(this);
  }

  /** With `lo` up. */
  static create(): TestNetns {
    const netns = new TestNetns(`${PREFIX}${randomBytes(6).toString('hex')}`);
    netns.net.configure('lo', { up: true });
    return netns;
  }

  get path(): string {
    return `/run/netns/${this.name}`;
  }

  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return this.net.exec(command, args, options);
  }

  /** A process that ends with this object at the latest. */
  spawn(command: string, args: readonly string[] = []): ChildProcess {
    const child = this.net.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** An echo server in a process of its own; resolves when it listens. */
  async listen({ address, port, protocol = 'tcp' }: Target): Promise<ChildProcess> {
    const server = this.spawn(process.execPath, ['-e', SERVER, protocol, address, String(port)]);
    if (server.stdout === null) throw new Error('the server has no output');
    const [first] = await Promise.race([once(server.stdout, 'data'), once(server, 'exit')]);
    if (String(first).trim() !== 'ready')
      throw new Error(`no server on ${address} port ${port}: exit ${first}`);
    return server;
  }

  /** What the echo server answers (`<our address>|<message>`); undefined when nothing came back in time. */
  async dial({ address, port, protocol = 'tcp' }: Target, timeoutMs = 2000): Promise<string | undefined> {
    const args = ['-e', CLIENT, protocol, address, String(port), String(timeoutMs), 'hello'];
    try {
      return (await this.exec(process.execPath, args)).stdout;
    } catch (error) {
      if (error instanceof CommandError && error.exitCode === 3) return undefined;
      throw error;
    }
  }

  /** Whether one ICMP echo comes back within a second. */
  async ping(address: string): Promise<boolean> {
    try {
      await this.exec('ping', ['-n', '-c', '1', '-W', '1', address]);
      return true;
    } catch (error) {
      if (error instanceof CommandError && error.exitCode === 1) return false;
      throw error;
    }
  }

  close(): void {
    if (!open.delete(this)) return;
    for (const child of this.#children) child.kill('SIGKILL');
    this.net.close();
    Netns.delete(this.name);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Two namespaces joined by `eth0` in each: 198.18.0.1/24 and fd00::1/64 in the first, .2 and ::2 in the second. */
export function connectedPair(): { first: TestNetns; second: TestNetns } & Disposable {
  const first = TestNetns.create();
  const second = TestNetns.create();
  const end = (netns: TestNetns, number: number) => ({
    netns: netns.net,
    name: 'eth0',
    addresses: [`198.18.0.${number}/24`, `fd00::${number}/64`],
  });
  const close = () => {
    first.close();
    second.close();
  };
  try {
    createVethPair(end(first, 1), end(second, 2));
  } catch (error) {
    close();
    throw error;
  }
  return { first, second, [Symbol.dispose]: close };
}
