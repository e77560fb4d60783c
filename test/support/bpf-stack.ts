/**
 * How much stack a BPF program takes with all that it calls, read from its object file (ELF; instructions as in
 * Documentation/bpf/standardization/instruction-set.rst), as the verifier counts it before Linux 6.5
 * (check_max_stack_depth() in kernel/bpf/verifier.c).
 */
const INSTRUCTION = 8;
/** Of each function, bytes. */
const GRAIN = 32;

const SECTION = { SYMBOLS: 2, RELOCATIONS: 9 };
const EXECUTABLE = 4;
const SYMBOL = { FUNCTION: 2, SECTION: 3 };
const FRAME_POINTER = 10;
const OPCODE = { LOAD_64: 0x18, CALL: 0x85, MOVE: 0xbf, ADD: 0x07 };
const CLASS = { LOAD: 1, STORE_NUMBER: 2, STORE: 3 };
/** What stands in the source register of a call to a function of the object. */
const PSEUDO = { CALL: 1 };

interface Section {
  type: number;
  flags: number;
  offset: number;
  size: number;
  link: number;
  info: number;
}

interface Symbol {
  name: string;
  type: number;
  section: number;
  value: number;
  size: number;
}

interface Code {
  name: string;
  frame: number;
  calls: string[];
}

export interface Stack {
  bytes: number;
  /** From the program down. */
  path: string[];
}

/** The deepest way down from each function that nobody else calls. */
export function stacksOf(object: Buffer): Map<string, Stack> {
  const functions = new Map(readFunctions(object).map((code) => [code.name, code]));
  const called = new Set([...functions.values()].flatMap(({ calls }) => calls));
  const programs = [...functions.keys()].filter((name) => !called.has(name));
  return new Map(programs.map((name) => [name, deepest(name, functions)]));
}

function deepest(name: string, functions: ReadonlyMap<string, Code>): Stack {
  const code = functions.get(name);
  if (code === undefined) throw new Error(`there is no function ${name}`);
  const own = Math.ceil(Math.max(code.frame, 1) / GRAIN) * GRAIN;
  const below = code.calls
    .map((callee) => deepest(callee, functions))
    .reduce((most, stack) => (stack.bytes > most.bytes ? stack : most), { bytes: 0, path: [] as string[] });
  return { bytes: own + below.bytes, path: [`${name} (${code.frame})`, ...below.path] };
}

function readFunctions(object: Buffer): Code[] {
  const sections = readSections(object);
  const symbols = readSymbols(object, sections);
  const all = symbols.filter(({ type, section }) => type === SYMBOL.FUNCTION && section < sections.length);
  const at = (section: number, offset: number) => {
    const found = all.find((symbol) => symbol.section === section && symbol.value === offset);
    if (found === undefined) throw new Error(`no function begins at ${offset} of section ${section}`);
    return found.name;
  };
  return all
    .filter(({ section }) => isExecutable(sections[section]))
    .map((symbol) => readFunction(object, symbol, sections, symbols, at));
}

function isExecutable(section: Section | undefined): boolean {
  return ((section?.flags ?? 0) & EXECUTABLE) !== 0;
}

function readFunction(
  object: Buffer,
  { name, section, value, size }: Symbol,
  sections: readonly Section[],
  symbols: readonly Symbol[],
  at: (section: number, offset: number) => string,
): Code {
  const start = sections[section]?.offset ?? 0;
  const targets = relocations(object, sections, section);
  const calls = new Set<string>();
  const copies = new Set<number>();
  let frame = 0;
  const reach = (offset: number) => {
    if (offset < 0) frame = Math.max(frame, -offset);
  };
  for (let place = value; place < value + size; place += INSTRUCTION) {
    const code = object.readUInt8(start + place);
    const registers = object.readUInt8(start + place + 1);
    const [to, from] = [registers & 15, registers >> 4];
    const offset = object.readInt16LE(start + place + 2);
    const number = object.readInt32LE(start + place + 4);
    const kind = code & 7;
    const symbol = symbols[targets.get(place) ?? -1];
    if (kind === CLASS.LOAD && from === FRAME_POINTER) reach(offset);
    if ((kind === CLASS.STORE || kind === CLASS.STORE_NUMBER) && to === FRAME_POINTER) reach(offset);
    if (code === OPCODE.ADD && copies.has(to)) reach(number);
    if (code === OPCODE.MOVE && from === FRAME_POINTER) copies.add(to);
    else if (kind !== CLASS.STORE && kind !== CLASS.STORE_NUMBER) copies.delete(to);
    if (code === OPCODE.CALL && from === PSEUDO.CALL) {
      if (symbol?.type === SYMBOL.FUNCTION) calls.add(symbol.name);
      // A function of the kernel's has a stack of its own.
      else if (symbol?.section === 0) continue;
      else if (symbol !== undefined) calls.add(at(symbol.section, (number + 1) * INSTRUCTION));
      else calls.add(at(section, place + (number + 1) * INSTRUCTION));
    }
    if (code === OPCODE.LOAD_64) {
      if (symbol?.type === SYMBOL.FUNCTION) calls.add(symbol.name);
      // A pointer to one that is static: libbpf tells it from data by where it points to.
      else if (symbol?.type === SYMBOL.SECTION && isExecutable(sections[symbol.section]))
        calls.add(at(symbol.section, number));
      place += INSTRUCTION;
    }
  }
  return { name, frame, calls: [...calls] };
}

function readSections(object: Buffer): Section[] {
  const [table, count, step] = [
    Number(object.readBigUInt64LE(40)),
    object.readUInt16LE(60),
    object.readUInt16LE(58),
  ];
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * step;
    return {
      type: object.readUInt32LE(at + 4),
      flags: Number(object.readBigUInt64LE(at + 8)),
      offset: Number(object.readBigUInt64LE(at + 24)),
      size: Number(object.readBigUInt64LE(at + 32)),
      link: object.readUInt32LE(at + 40),
      info: object.readUInt32LE(at + 44),
    };
  });
}

function readSymbols(object: Buffer, sections: readonly Section[]): Symbol[] {
  const table = sections.find(({ type }) => type === SECTION.SYMBOLS);
  const names = sections[table?.link ?? 0];
  if (table === undefined || names === undefined) throw new Error('the object has no symbols');
  return Array.from({ length: table.size / 24 }, (_, index) => {
    const at = table.offset + index * 24;
    const text = names.offset + object.readUInt32LE(at);
    return {
      name: object.toString('utf8', text, object.indexOf(0, text)),
      type: object.readUInt8(at + 4) & 15,
      section: object.readUInt16LE(at + 6),
      value: Number(object.readBigUInt64LE(at + 8)),
      size: Number(object.readBigUInt64LE(at + 16)),
    };
  });
}

/** Index of the symbol that an instruction of the section is about, by the instruction's offset. */
function relocations(object: Buffer, sections: readonly Section[], section: number): Map<number, number> {
  const found = new Map<number, number>();
  for (const { type, info, offset, size } of sections) {
    if (type !== SECTION.RELOCATIONS || info !== section) continue;
    for (let at = offset; at < offset + size; at += 16)
      found.set(Number(object.readBigUInt64LE(at)), object.readUInt32LE(at + 12));
  }
  return found;
}
