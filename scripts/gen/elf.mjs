// Reads the initial bytes of global variables out of a 64-bit little-endian ELF object (the only kind that
// `clang -target bpf` writes here). BTF knows the types of the variables and not their values.

import { readFileSync } from 'node:fs';

const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const SYMBOL_BYTES = 24;

/**
 * @param {string} path of an object file that has a symbol table
 * @returns {{ bytes(variable: string): Buffer }}
 */
export function readElf(path) {
  const file = readFileSync(path);
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new Error(`${path} is no 64-bit little-endian ELF file`);
  }
  const sections = readSections(file);
  const symbols = readSymbols(file, sections);
  return {
    bytes(variable) {
      const symbol = symbols.get(variable);
      const section = symbol && sections[symbol.section];
      if (section === undefined) throw new Error(`${path} has no variable ${variable}`);
      if (section.type === SHT_NOBITS) return Buffer.alloc(symbol.size);
      const start = section.offset + symbol.value;
      return file.subarray(start, start + symbol.size);
    },
  };
}

function readSections(file) {
  const tableOffset = Number(file.readBigUInt64LE(0x28));
  const headerSize = file.readUInt16LE(0x3a);
  return Array.from({ length: file.readUInt16LE(0x3c) }, (_, index) => {
    const header = tableOffset + index * headerSize;
    return {
      type: file.readUInt32LE(header + 4),
      offset: Number(file.readBigUInt64LE(header + 0x18)),
      size: Number(file.readBigUInt64LE(header + 0x20)),
      link: file.readUInt32LE(header + 0x28),
    };
  });
}

function readSymbols(file, sections) {
  const symbols = new Map();
  const table = sections.find((section) => section.type === SHT_SYMTAB);
  if (table === undefined) return symbols;
  const names = sections[table.link];
  for (let at = table.offset; at < table.offset + table.size; at += SYMBOL_BYTES) {
    const nameAt = names.offset + file.readUInt32LE(at);
    symbols.set(file.toString('utf8', nameAt, file.indexOf(0, nameAt)), {
      section: file.readUInt16LE(at + 6),
      value: Number(file.readBigUInt64LE(at + 8)),
      size: Number(file.readBigUInt64LE(at + 16)),
    });
  }
  return symbols;
}
