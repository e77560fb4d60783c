/** A TCP connection of a container to an echo server, open as long as the test wants. */
import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestNetns } from './netns.js';
import { trafficProgram } from './traffic.js';

const CONNECT_MS = 5000;
const CHUNK = 1 << 16;

export class Stream implements Disposable {
  #received = 0;
  #hash = createHash('sha256');
  #onData: () => void = () => undefined;
  #said = '';
  /** It has ended, and all that it said is here. */
  readonly #closed: Promise<unknown>;

  private constructor(private readonly child: ChildProcess) {
    this.#closed = once(child, 'close');
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString();
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      this.#received += chunk.length;
      this.#hash.update(chunk);
      this.#onData();
    });
    child.stdin?.on('error', () => undefined);
  }

  /** Throws when there is no connection in time. */
  static async open(netns: TestNetns, address: string, port: number): Promise<Stream> {
    const child = netns.net.spawn(trafficProgram('sockets'), ['pipe', address, String(port)], {
      stdio: 'pipe',
    });
    const stream = new Stream(child);
    if (child.stderr === null) throw new Error('no standard error');
    const said = await Promise.race([once(child.stderr, 'data'), delay(CONNECT_MS, ['nothing'])]);
    if (String(said[0]).trim() === 'connected') return stream;
    stream.close();
    throw new Error(`no connection to ${address} port ${port}: ${said[0]}`);
  }

  /** Bytes that have come back. */
  get received(): number {
    return this.#received;
  }

  /** Whether what is sent now comes back in time. */
  async echoes(timeoutMs = 5000): Promise<boolean> {
    const expected = this.#received + 4;
    this.child.stdin?.write('ping');
    const deadline = performance.now() + timeoutMs;
    while (this.#received < expected) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#onData = resolve;
        }),
        delay(left),
      ]);
    }
    return true;
  }

  /** Whether the other side resets the connection when something is sent, in time. */
  async isReset(timeoutMs = 5000): Promise<boolean> {
    this.child.stdin?.write('ping');
    await Promise.race([this.#closed, delay(timeoutMs, undefined, { ref: false })]);
    return this.#said.includes('reset');
  }

  /** Sends random bytes, calls `whenMoving` once a part has come back, and tells whether all came back unaltered. */
  async transfer(bytes: number, whenMoving: () => Promise<void> = async () => undefined): Promise<boolean> {
    const { stdin } = this.child;
    if (stdin === null) throw new Error('no standard input');
    const sent = createHash('sha256');
    this.#hash = createHash('sha256');
    const before = this.#received;
    let isMoving: () => void = () => undefined;
    const moving = new Promise<void>((resolve) => {
      isMoving = resolve;
    });
    this.#onData = () => {
      if (this.#received - before > bytes / 8) isMoving();
    };
    const during = moving.then(whenMoving);
    for (let left = bytes; left > 0; left -= CHUNK) {
      const chunk = randomBytes(Math.min(left, CHUNK));
      sent.update(chunk);
      if (!stdin.write(chunk)) await once(stdin, 'drain');
    }
    stdin.end();
    await during;
    await this.#closed;
    return this.#received - before === bytes && this.#hash.digest('hex') === sent.digest('hex');
  }

  close(): void {
    this.child.kill('SIGKILL');
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
