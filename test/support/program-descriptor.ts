import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BpfProgram } from '../../src/native/bpf.js';

const DESCRIPTORS = '/proc/self/fdinfo';

/** A file descriptor of this process for the program. It stays the handle's: not to be closed. */
export function programDescriptor(program: BpfProgram): number {
  return find(program).descriptor;
}

/** Instructions that the verifier looked at when it loaded the program. */
export function verifiedInstructions(program: BpfProgram): number {
  return Number(/^verified_insns:\t(\d+)$/m.exec(find(program).text)?.[1]);
}

function find(program: BpfProgram): { descriptor: number; text: string } {
  const { id } = program.info();
  for (const name of readdirSync(DESCRIPTORS)) {
    const text = descriptorText(name);
    if (/^prog_id:\t(\d+)$/m.exec(text)?.[1] === `${id}`) return { descriptor: Number(name), text };
  }
  throw new Error(`no descriptor of program ${id}`);
}

/** Empty when it is closed already. */
function descriptorText(name: string): string {
  try {
    return readFileSync(join(DESCRIPTORS, name), 'latin1');
  } catch {
    return '';
  }
}
