/** Another agent on the node, with a BPF program of its own at hooks where programs of ours are. */

import { decodePerCpu, u32 } from '../../src/datapath/abi/codec.js';
import {
  attachClsact,
  BpfLink,
  type BpfObject,
  type BpfProgram,
  type Direction,
  tcxPrograms,
} from '../../src/native/bpf.js';
import { loadedSample } from '../native/bpf-fixtures.js';
import type { TestNetns } from './netns.js';

/** TC_ACT_OK ends the chain: nobody behind sees the packet. TC_ACT_UNSPEC lets the next program decide. */
export const VERDICT = { pass: 0, next: 0xffffffff } as const;

const FILTER_HANDLE = 7;

export class Stranger implements Disposable {
  readonly program: BpfProgram;
  readonly #links: BpfLink[] = [];

  private constructor(
    private readonly object: BpfObject,
    /** Of its program in the sample: both can stand at one hook. */
    readonly name: 'first' | 'second',
  ) {
    this.program = object.program(name);
  }

  static async load(verdict: keyof typeof VERDICT, name: 'first' | 'second' = 'first'): Promise<Stranger> {
    return new Stranger(await loadedSample({ verdict: VERDICT[verdict] }), name);
  }

  /** Comes before whoever is there. */
  enter(netns: TestNetns, device: string, direction: Direction): void {
    const ifindex = indexOf(netns, device);
    const { program } = this;
    this.#links.push(
      netns.net.run(() => BpfLink.attachTcx({ program, ifindex, direction, position: 'first' })),
    );
  }

  /** The same by a filter of clsact, which comes before those of its priority. */
  enterByFilter(netns: TestNetns, device: string, direction: Direction): void {
    const hook = { ifindex: indexOf(netns, device), direction, handle: FILTER_HANDLE };
    netns.net.run(() => attachClsact({ program: this.program, ...hook }));
  }

  leave(): void {
    for (const link of this.#links.splice(0)) {
      link.detach();
      link.close();
    }
  }

  /** Packets that `first` has seen. */
  get seen(): number {
    using runs = this.object.map('runs');
    return decodePerCpu(u32, runs.get(u32.encode(0)) ?? new Uint8Array()).reduce((sum, one) => sum + one, 0);
  }

  [Symbol.dispose](): void {
    this.leave();
    this.program.close();
    this.object.close();
  }
}

/** Names of the programs at a hook, the first first. */
export function lineAt(netns: TestNetns, device: string, direction: Direction): string[] {
  const ifindex = indexOf(netns, device);
  return netns.net.run(() => tcxPrograms(ifindex, direction).map(({ name }) => name));
}

function indexOf(netns: TestNetns, device: string): number {
  const link = netns.net.link(device);
  if (link === undefined) throw new Error(`there is no ${device}`);
  return link.index;
}
