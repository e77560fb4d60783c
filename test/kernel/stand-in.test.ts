/** What a copy that stands in has let go on, the other passes; and nothing else makes it pass what nobody has judged. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodePerCpu, u32 } from '../../src/datapath/abi/codec.js';
import { CONFIG, StandIn, StandInHook } from '../../src/datapath/abi/generated.js';
import { BpfObject, type BpfProgram } from '../../src/native/bpf.js';
import { skBuff } from '../support/program-context.js';
import { ACTION, OBJECT_FOLDER } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { incoming, outgoing } from '../support/scenario-frames.js';
import { FAMILIES, GATEWAY } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario((scenario) => {
  s = scenario;
});

const copies = new Map<string, BpfProgram>();
beforeAll(async () => {
  for (const name of ['from_container', 'to_container']) {
    using object = BpfObject.open(join(OBJECT_FOLDER, `${name}.bpf.o`));
    s.programs.fitMaps(object);
    object.setVariable(CONFIG.stands_in.variable, u32.encode(1));
    await object.load({ pinRoot: s.programs.pinRoot });
    copies.set(name, object.program(name));
  }
});
afterAll(() => {
  for (const program of copies.values()) program.close();
});

const FIRST = u32.encode(0);
const slots = () => decodePerCpu(StandIn, s.programs.map('qn_stand_in').get(FIRST) ?? new Uint8Array());
const stored = () => slots().filter(({ hook }) => hook !== 0);
const cpus = () => slots().length;
/** On each CPU: where a test run is, nobody says. */
function store(value: StandIn): void {
  const all = Array.from({ length: cpus() }, () => StandIn.encode(value));
  s.programs.map('qn_stand_in').set(FIRST, Buffer.concat(all));
}
const NOTHING: StandIn = { numberLow: 0, numberHigh: 0, ifindex: 0, hook: 0 };
beforeEach(() => store(NOTHING));

/** Runs a program on one frame that has that in its scratch; with what it answers and counts. */
function run(program: 'from_container' | 'to_container' | BpfProgram, frame: Uint8Array, cb: number[] = []) {
  s.programs.forget();
  const context = skBuff({ ifindex: s.a.ifindex, ingressIfindex: 0, cb });
  const { returnValue } = s.programs.runUncounted(program, frame, context);
  return [returnValue | 0, s.programs.metrics().map(({ reason }) => reason)];
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const received = () => incoming(s.a, GATEWAY[family]).udp().bytes();
  const sent = () => outgoing(s.a, GATEWAY[family]).udp().bytes();
  const number = { numberLow: 0x1234, numberHigh: 0xffffffff };
  const CB = [0, 0, number.numberLow, number.numberHigh];
  const at = () => ({ ...number, ifindex: s.a.ifindex, hook: StandInHook.TO_CONTAINER });
  const copy = (name: string) => copies.get(name) as BpfProgram;

  it('only the copy says so, of what it lets go on, by another number each time', () => {
    s.allowAll();
    for (const [name, frame, hook] of [
      ['from_container', sent(), StandInHook.FROM_CONTAINER],
      ['to_container', received(), StandInHook.TO_CONTAINER],
    ] as const) {
      store(NOTHING);
      expect(run(name, frame)).toEqual([ACTION.PASS, ['NONE']]);
      expect(stored()).toEqual([]);
      expect(run(copy(name), frame)).toEqual([ACTION.PASS, ['NONE']]);
      const [first] = stored();
      expect(first).toMatchObject({ ifindex: s.a.ifindex, hook });
      store(NOTHING);
      run(copy(name), frame);
      expect(stored()).not.toEqual([first]);
    }
  });

  it('of what the copy drops it says nothing', () => {
    expect(run(copy('to_container'), received())).toEqual([ACTION.DROP, ['POLICY_INGRESS']]);
    expect(stored()).toEqual([]);
  });

  it('the other passes what has the number, uncounted, and once', () => {
    store(at());
    expect(run('to_container', received(), CB)).toEqual([ACTION.PASS, []]);
    expect(stored()).toHaveLength(cpus() - 1);
  });

  it.each([
    ['another number', () => at(), [0, 0, 0x1234, 1]],
    ['no number', () => ({ ...at(), numberLow: 0, numberHigh: 0 }), [0, 0, 0, 0]],
    ['a number that was asked for', () => NOTHING, [0, 0, 0x1234, 0xffffffff]],
    ['that of the other hook', () => ({ ...at(), hook: StandInHook.FROM_CONTAINER }), CB],
    ['that of another interface', () => ({ ...at(), ifindex: s.b.ifindex }), CB],
  ] as const)('%s makes nothing pass', (_, value, cb) => {
    store(value());
    expect(run('to_container', received(), [...cb])).toEqual([ACTION.DROP, ['POLICY_INGRESS']]);
  });

  it('a number that a frame did not have is believed of none after it', () => {
    store(at());
    run('to_container', received(), [0, 0, 0x1234, 1]);
    expect(stored()).toHaveLength(cpus() - 1);
  });

  it('the copy itself believes nobody', () => {
    store(at());
    expect(run(copy('to_container'), received(), CB)).toEqual([ACTION.DROP, ['POLICY_INGRESS']]);
  });
});
