/** The programs once more, loaded to explain, beside those that enforce and on their maps. */
import { join } from 'node:path';
import { u32 } from '../../src/datapath/abi/codec.js';
import { CONFIG, Explanation } from '../../src/datapath/abi/generated.js';
import { type BpfMap, BpfObject, type BpfProgram } from '../../src/native/bpf.js';
import type { Passage } from './outcome.js';
import type { Packet } from './packet.js';
import { OBJECT_FOLDER, type Programs } from './programs.js';

const EXPLAINING = ['from_container', 'to_container'] as const;
type Explaining = (typeof EXPLAINING)[number];
const ONLY_KEY = u32.encode(0);

export class Explainer implements Disposable {
  readonly #programs: Programs;
  readonly #loaded: ReadonlyMap<Explaining, { program: BpfProgram; answers: BpfMap }>;

  private constructor(
    programs: Programs,
    loaded: ReadonlyMap<Explaining, { program: BpfProgram; answers: BpfMap }>,
  ) {
    this.#programs = programs;
    this.#loaded = loaded;
  }

  static async load(programs: Programs): Promise<Explainer> {
    const loaded = new Map<Explaining, { program: BpfProgram; answers: BpfMap }>();
    for (const name of EXPLAINING) {
      using object = BpfObject.open(join(OBJECT_FOLDER, `${name}.bpf.o`));
      object.setVariable(CONFIG.explain.variable, u32.encode(1));
      programs.fitMaps(object);
      await object.load({ pinRoot: programs.pinRoot });
      loaded.set(name, { program: object.program(name), answers: object.map('explanations') });
    }
    return new Explainer(programs, loaded);
  }

  /** What the program says about a packet, and what it would do with it. */
  explain(name: Explaining, frame: Packet | Uint8Array, passage: Passage): Explanation & { verdict: number } {
    const explaining = this.#loaded.get(name);
    if (explaining === undefined) throw new Error(`${name} is not loaded`);
    const before = this.#answer(explaining.answers).runs;
    const { verdict } = this.#programs.pass(explaining.program, frame, passage);
    const answer = this.#answer(explaining.answers);
    if (answer.runs !== before + 1) throw new Error(`${answer.runs - before} answers to one packet`);
    return { ...answer, verdict };
  }

  close(): void {
    for (const { program, answers } of this.#loaded.values()) {
      program.close();
      answers.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #answer(answers: BpfMap): Explanation {
    return Explanation.decode(answers.get(ONLY_KEY) ?? new Uint8Array());
  }
}
