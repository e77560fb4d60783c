/**
 * Asks the programs themselves why a packet would pass or not: loaded once more, with the maps of those that are
 * attached, they judge it as the first of its flow and leave no trace in conntrack, counters or events.
 */
import type { Settings } from '../model/settings.js';
import { Explanation } from './abi/generated.js';
import { type ExplainingProgram, loadExplaining, type PinDirectories } from './programs.js';

/** Of struct __sk_buff, in bytes: its size, and the fields that a test run takes (include/uapi/linux/bpf.h). */
const SK_BUFF_SIZE = 192;
const SK_BUFF_INGRESS_IFINDEX = 36;
const SK_BUFF_IFINDEX = 40;

/** Key of the one answer. */
const FIRST = new Uint8Array(4);

export interface PacketToExplain {
  /** from_container: what a container sends; to_container: what reaches it from the host or outside. */
  hook: 'from_container' | 'to_container';
  /** Ethernet header included. */
  frame: Uint8Array;
  /** Of the host's side of the container's veth. */
  ifindex: number;
  /** Interface by which the packet entered the node; 0: the node sends it. */
  ingressIfindex: number;
}

export class Explainer implements Disposable {
  private readonly programs = new Map<PacketToExplain['hook'], Promise<ExplainingProgram>>();

  constructor(
    private readonly settings: Settings,
    private readonly pins: PinDirectories,
  ) {}

  /** Throws KernelError (ENODEV: the interface is gone). */
  async explain({ hook, frame, ifindex, ingressIfindex }: PacketToExplain): Promise<Explanation> {
    const { program, answers } = await this.load(hook);
    const context = new Uint8Array(SK_BUFF_SIZE);
    const view = new DataView(context.buffer);
    view.setUint32(SK_BUFF_INGRESS_IFINDEX, ingressIfindex, true);
    view.setUint32(SK_BUFF_IFINDEX, ifindex, true);
    const runs = read(answers).runs;
    // On this thread: nobody else's question comes between the run and its answer.
    program.testRun({ data: frame, context });
    const answer = read(answers);
    if (answer.runs !== (runs + 1) >>> 0) throw new Error(`${hook} has not told what it decided`);
    return answer;
  }

  [Symbol.dispose](): void {
    for (const loading of this.programs.values()) {
      loading.then(
        (program) => program[Symbol.dispose](),
        () => undefined,
      );
    }
    this.programs.clear();
  }

  /** Loaded when somebody asks first: most nodes are never asked. */
  private load(hook: PacketToExplain['hook']): Promise<ExplainingProgram> {
    const known = this.programs.get(hook);
    if (known !== undefined) return known;
    const loading = loadExplaining(hook, this.settings, this.pins);
    this.programs.set(hook, loading);
    loading.catch(() => this.programs.delete(hook));
    return loading;
  }
}

function read(answers: ExplainingProgram['answers']): Explanation {
  const bytes = answers.get(FIRST);
  if (bytes === undefined) throw new Error('the map of explanations has no entry');
  return Explanation.decode(bytes);
}
