import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { stacksOf } from '../support/bpf-stack.js';
import { OBJECT_FOLDER } from '../support/programs.js';

/** MAX_BPF_STACK of include/linux/filter.h. */
const STACK_MAX = 512;
const WITHOUT_PROGRAMS = ['abi.bpf.o', 'tables.bpf.o'];
const OBJECTS = readdirSync(OBJECT_FOLDER).filter(
  (name) => name.endsWith('.bpf.o') && !WITHOUT_PROGRAMS.includes(name),
);

describe('a program with all that it calls', () => {
  it.each(OBJECTS)('fits on the stack that Linux 6.1 gives: %s', (name) => {
    const stacks = stacksOf(readFileSync(`${OBJECT_FOLDER}${name}`));
    expect(stacks.size).toBeGreaterThan(0);
    const tooLarge = [...stacks.values()].filter(({ bytes }) => bytes > STACK_MAX);
    expect(tooLarge).toEqual([]);
  });

  it('calls others, and has locals of its own', () => {
    const stacks = stacksOf(readFileSync(`${OBJECT_FOLDER}from_container.bpf.o`));
    const { bytes = 0, path = [] } = stacks.get('from_container') ?? {};
    expect(path.length).toBeGreaterThan(3);
    expect(bytes).toBeGreaterThan(256);
  });
});
