/** What interfaces of a namespace receive, in whole. */
import { Lines } from './lines.js';
import type { TestNetns } from './netns.js';
import { trafficProgram } from './traffic.js';

export interface Frame {
  interface: string;
  bytes: Buffer;
  /** Of the Ethernet header. */
  type: number;
  sourceMac: string;
  destinationMac: string;
}

export class Capture {
  private constructor(private readonly lines: Lines) {}

  static async start(netns: TestNetns): Promise<Capture> {
    return new Capture(await new Lines(netns.spawn(trafficProgram('frames'), ['capture'])).ready());
  }

  /** Ends it. Everything that arrived before this call is in the answer. */
  async stop(): Promise<Frame[]> {
    this.lines.child.kill('SIGTERM');
    const code = await this.lines.ended;
    if (code !== 0) throw new Error(`the capture ended with ${code}`);
    return this.lines.all.slice(1).map(frameOf);
  }
}

function frameOf(line: string): Frame {
  const [name = '', hex = ''] = line.split(' ');
  const bytes = Buffer.from(hex, 'hex');
  const mac = (at: number) => bytes.toString('hex', at, at + 6).replace(/(..)(?=.)/g, '$1:');
  return {
    interface: name,
    bytes,
    type: bytes.readUInt16BE(12),
    sourceMac: mac(6),
    destinationMac: mac(0),
  };
}
