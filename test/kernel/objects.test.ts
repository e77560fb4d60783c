/** Every object file loads, with every kind of value of its settings, and stays far below the verifier's limit. */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CONFIG, MAPS } from '../../src/datapath/abi/generated.js';
import { SOCKET_PROGRAMS } from '../../src/datapath/hooks/socket-hooks.js';
import { BpfObject, mountBpffs, tcxSupported } from '../../src/native/bpf.js';
import { verifiedInstructions } from '../support/program-descriptor.js';
import { OBJECT_FOLDER, PROGRAMS, SOCKET_OBJECT, setIfKnown, TCX_PROGRAMS } from '../support/programs.js';

/** The kernel gives up after a million instructions; what is near it breaks on the next compiler. */
const INSTRUCTIONS_MAX = 500_000;

/** The catalogue of shared types is an object too, and is never loaded. */
const NEVER_LOADED = ['abi.bpf.o'];

/** The shared maps, without a program. */
const MAPS_OBJECT = 'tables.bpf.o';

/** Maps that each program has for itself. */
const UNSHARED = ['explanations'];

const SETTINGS: Record<string, number | undefined> = {
  'the defaults': undefined,
  'zero everywhere': 0,
  'one everywhere': 1,
};

it('every object file is a program that the tests know, or is never loaded', () => {
  const objects = readdirSync(OBJECT_FOLDER).filter((name) => name.endsWith('.bpf.o'));
  expect(objects.sort()).toEqual(
    [
      ...[...PROGRAMS, ...TCX_PROGRAMS, SOCKET_OBJECT].map((name) => `${name}.bpf.o`),
      ...NEVER_LOADED,
      MAPS_OBJECT,
    ].sort(),
  );
});

describe.each(Object.entries(SETTINGS))('with %s', (_name, value) => {
  it('all objects load and share their maps', async () => {
    const pinRoot = join('/sys/fs/bpf', `quantum-test-${randomBytes(6).toString('hex')}`);
    mountBpffs(pinRoot);
    try {
      for (const name of [...PROGRAMS, ...(tcxSupported() ? TCX_PROGRAMS : []), SOCKET_OBJECT]) {
        using object = BpfObject.open(join(OBJECT_FOLDER, `${name}.bpf.o`));
        for (const { variable, codec } of Object.values(CONFIG)) {
          if (value !== undefined) setIfKnown(object, variable, codec.encode(value));
        }
        await object.load({ pinRoot });
        expect([...object.programNames].sort()).toEqual(
          name === SOCKET_OBJECT ? [...SOCKET_PROGRAMS].sort() : [name],
        );
        for (const programName of object.programNames) {
          using program = object.program(programName);
          const instructions = verifiedInstructions(program);
          console.log(`${programName}: the verifier looked at ${instructions} instructions`);
          expect(instructions).toBeGreaterThan(0);
          expect(instructions).toBeLessThan(INSTRUCTIONS_MAX);
        }
      }
      const shared = Object.keys(MAPS).filter((name) => !UNSHARED.includes(name));
      expect(readdirSync(pinRoot).sort()).toEqual(shared.sort());
    } finally {
      for (const pin of readdirSync(pinRoot)) unlinkSync(join(pinRoot, pin));
      rmdirSync(pinRoot);
    }
  });
});
