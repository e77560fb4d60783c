/** Frames that stay in memory that their sender can write, and who has received one without having read it. */
import type { Host } from './containers.js';
import { Lines } from './lines.js';
import { concat } from './packet.js';
import { divert } from './pass-by.js';
import { trafficProgram } from './traffic.js';

const PATIENCE_MS = 5000;

/** RFC 7348 §5: network 7. */
const VXLAN = Uint8Array.from([8, 0, 0, 0, 0, 0, 7, 0]);
const VXLAN_PORT = '4789';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A program of traffic/ that answers lines with lines. */
class Dialogue implements Disposable {
  #read = 1;

  private constructor(private readonly lines: Lines) {}

  static async start(host: Host, ...args: string[]): Promise<Dialogue> {
    const child = host.netns.net.spawn(trafficProgram('lent'), args, { stdio: ['pipe', 'pipe', 'inherit'] });
    return new Dialogue(await new Lines(child).ready());
  }

  /** The line after the one that was read last. */
  async next(): Promise<string> {
    const { all, child } = this.lines;
    await this.lines.find(() => all.length > this.#read, PATIENCE_MS);
    const line = all[this.#read];
    if (line === undefined) throw new Error(`${child.spawnargs.join(' ')} says nothing more`);
    this.#read += 1;
    return line;
  }

  ask(line: string): Promise<string> {
    this.lines.child.stdin?.write(`${line}\n`);
    return this.next();
  }

  [Symbol.dispose](): void {
    this.lines.child.kill('SIGKILL');
  }
}

export class Lender implements Disposable {
  private constructor(
    private readonly dialogue: Dialogue,
    /** What is in the memory before the frame. */
    private readonly before: Uint8Array,
  ) {}

  /**
   * By a ring that is shared with the kernel (packet(7), PACKET_TX_RING), which takes CAP_NET_RAW alone. A veth copies
   * such pages before anybody on its other side sees them (skb_orphan_frags()).
   */
  static async ring(host: Host): Promise<Lender> {
    return new Lender(await Dialogue.start(host, 'ring', 'eth0'), new Uint8Array());
  }

  /**
   * As the payload of a tunnel to itself, by splice(2), whose inner frames go straight out by eth0, which takes
   * CAP_NET_ADMIN in the container. Pages that were spliced are never copied as a whole: no more of them than headers
   * that the kernel reads on the way.
   */
  static async spliced(host: Host): Promise<Lender> {
    const ends = ['local', '127.0.0.1', 'remote', '127.0.0.1', 'dstport', VXLAN_PORT];
    await host.output('ip', 'link', 'add', 'tunnel', 'type', 'vxlan', 'id', '7', ...ends);
    await host.output('ip', 'link', 'set', 'tunnel', 'addrgenmode', 'none', 'up');
    // It would read, and so copy, the headers.
    host.netns.net.handle.setGro('tunnel', false);
    await divert(host, 'tunnel', 'ingress', 'eth0');
    return new Lender(await Dialogue.start(host, 'spliced', '127.0.0.1', VXLAN_PORT), VXLAN);
  }

  async send(frame: Uint8Array): Promise<void> {
    await this.dialogue.ask(`send ${hex(concat(this.before, frame))}`);
  }

  /** Writes into the frame that was sent last. */
  async change(offset: number, bytes: Uint8Array): Promise<void> {
    await this.dialogue.ask(`change ${this.before.length + offset} ${hex(bytes)}`);
  }

  [Symbol.dispose](): void {
    this.dialogue[Symbol.dispose]();
  }
}

/** Takes frames of one length, and reads each only when it is told to. */
export class Holder implements Disposable {
  private constructor(private readonly dialogue: Dialogue) {}

  static async of(host: Host, length: number, interfaceName = 'eth0'): Promise<Holder> {
    return new Holder(await Dialogue.start(host, 'held', interfaceName, String(length)));
  }

  /** Waits until one is there. */
  async arrived(): Promise<void> {
    await this.dialogue.next();
  }

  async read(): Promise<Buffer> {
    return Buffer.from(await this.dialogue.ask('read'), 'hex');
  }

  [Symbol.dispose](): void {
    this.dialogue[Symbol.dispose]();
  }
}
