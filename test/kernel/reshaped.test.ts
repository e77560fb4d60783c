/** Packets that only the kernel can make: see fixtures/reshape.bpf.c. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { u32 } from '../../src/datapath/abi/codec.js';
import { BpfObject } from '../../src/native/bpf.js';
import { programDescriptor } from '../support/program-descriptor.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { incoming, outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES } from '../support/scenario-parties.js';

const FIXTURE = fileURLToPath(new URL('./fixtures/reshape.bpf.c', import.meta.url));

let s: Scenario;
let fixture: BpfObject;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quantum-test-'));
  const object = join(folder, 'reshape.bpf.o');
  const triplet = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  execFileSync('clang', [
    '-O2',
    '-g',
    '-target',
    'bpf',
    `-I/usr/include/${triplet}`,
    '-c',
    FIXTURE,
    '-o',
    object,
  ]);
  fixture = BpfObject.open(object);
  await fixture.load();
  s = new Scenario(await Programs.load());
});
afterAll(() => {
  fixture?.close();
  s?.programs.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  s.reset();
  s.allowAll();
});

type Tested = 'from_container' | 'to_container';
const CASES = FAMILIES.flatMap((family) =>
  (['from_container', 'to_container'] as const).map((program): [4 | 6, Tested] => [family, program]),
);

const frameFor = (family: 4 | 6, program: Tested) =>
  program === 'from_container'
    ? outgoing(s.a, addressOf(s.b, family)).tcp()
    : incoming(s.a, addressOf(s.c, family)).tcp();

/** Runs one of the fixture's programs, which goes on with the program under test. */
function reshape(by: 'accelerated_vlan' | 'cut', family: 4 | 6, program: Tested, mark = 0) {
  using jumps = fixture.map('under_test');
  using shaper = fixture.program(by);
  jumps.set(u32.encode(0), u32.encode(programDescriptor(s.programs.program(program))));
  return s.programs.run(shaper, frameFor(family, program), { ifindex: s.a.ifindex, mark });
}

it.each(CASES)('ip%i-vlan_beside_the_frame-VLAN_TAGGED (%s)', async (family, program) => {
  const outcome = reshape('accelerated_vlan', family, program);
  expect(outcome).toMatchObject({ verdict: ACTION.DROP, reason: 'VLAN_TAGGED', endpointId: s.a.id });
  expect(await s.programs.takeEvent()).toMatchObject({ reason: 3, kind: 2 });
});

it.each(CASES)('ip%i-cut_at_any_length-TRUNCATED (%s)', (family, program) => {
  const whole = frameFor(family, program).bytes().length;
  for (let length = 14; length < whole; length++) {
    const outcome = reshape('cut', family, program, length);
    expect(outcome, `${length} bytes`).toMatchObject({
      verdict: ACTION.DROP,
      reason: 'TRUNCATED',
      bytes: length,
    });
  }
});
