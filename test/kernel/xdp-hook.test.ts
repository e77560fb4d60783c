/** uplink_xdp comes, stays and goes with the uplink, never in the place of another, and from_uplink knows of it. */
import { existsSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { InboundFlags } from '../../src/datapath/abi/generated.js';
import { LinkPins } from '../../src/datapath/hooks/link-pins.js';
import { XdpHook } from '../../src/datapath/hooks/xdp-hook.js';
import { InboundControl } from '../../src/datapath/inbound.js';
import { BpfLink, mountBpffs } from '../../src/native/bpf.js';
import { Programs } from '../support/programs.js';

let programs: Programs;
let links: string;
let pins: LinkPins | undefined;
beforeAll(async () => {
  programs = await Programs.load({ devices: 2 });
  links = `${programs.pinRoot}-links`;
});
afterAll(() => programs?.close());
beforeEach(() => mountBpffs(links));
afterEach(() => {
  hook().leaveOthers([], []);
  pins?.[Symbol.dispose]();
  rmSync(links, { recursive: true, force: true });
});

const device = (at: number) => programs.ifindexes[at] ?? 0;
const program = () => programs.program('uplink_xdp');
/** Of the next daemon: the one before lets go of its links. */
function hook(): XdpHook {
  pins?.[Symbol.dispose]();
  pins = new LinkPins(links);
  return new XdpHook(program(), new InboundControl(programs.inbound as never), pins);
}
/** On those, of the uplinks; what keeps it from one, in their order. */
const use = (by: XdpHook, wanted: readonly number[], uplinks = wanted) =>
  programs.inside(() => {
    by.leaveOthers(wanted.map(device), uplinks.map(device));
    const problems = by.use(wanted.map(device), uplinks.map(device));
    return wanted.map((at) => problems.get(device(at)));
  });
const isTold = () => programs.inbound.get(0)?.flags === InboundFlags.XDP;
/** Numbers of the devices. */
function attachedTo(): number[] {
  return [0, 1].filter((at) => {
    if (!existsSync(`${links}/uplink_xdp-${device(at)}`)) return false;
    using link = BpfLink.fromPin(`${links}/uplink_xdp-${device(at)}`);
    return link.info().ifindex === device(at);
  });
}

it('is attached once, and from_uplink is told', () => {
  expect(isTold()).toBe(false);
  expect(use(hook(), [0])).toEqual([undefined]);
  expect(use(hook(), [0])).toEqual([undefined]);
  expect(attachedTo()).toEqual([0]);
  expect(isTold()).toBe(true);
});

it('moves with the uplink and goes with it', () => {
  use(hook(), [0]);
  hook().leaveOthers([device(0)], [device(0)]);
  expect(attachedTo()).toEqual([0]);
  expect(isTold()).toBe(true);
  hook().leaveOthers([device(1)], [device(1)]);
  expect(attachedTo()).toEqual([]);
  expect(isTold()).toBe(false);
  expect(use(hook(), [1])).toEqual([undefined]);
  expect(attachedTo()).toEqual([1]);
  hook().leaveOthers([], []);
  expect(attachedTo()).toEqual([]);
  expect(isTold()).toBe(false);
});

it('from_uplink is told only while it is on all of several uplinks', () => {
  expect(use(hook(), [0, 1])).toEqual([undefined, undefined]);
  expect(attachedTo()).toEqual([0, 1]);
  expect(isTold()).toBe(true);
  use(hook(), [0], [0, 1]);
  expect(attachedTo()).toEqual([0]);
  expect(isTold()).toBe(false);
  expect(use(hook(), [0])).toEqual([undefined]);
  expect(isTold()).toBe(true);
  // One more is to come: before from_uplink is there.
  hook().leaveOthers([device(0), device(1)], [device(0), device(1)]);
  expect(isTold()).toBe(false);
});

it.each(['native', 'generic'] as const)('leaves the program of somebody else alone, which is %s', (mode) => {
  const theirs = programs.inside(() => BpfLink.attachXdp({ program: program(), ifindex: device(0), mode }));
  try {
    expect(use(hook(), [0, 1])).toEqual(['another XDP program is on the interface', undefined]);
    expect(theirs.info().ifindex).toBe(device(0));
    expect(attachedTo()).toEqual([1]);
    expect(isTold()).toBe(false);
  } finally {
    theirs.detach();
    theirs.close();
  }
  expect(use(hook(), [0])).toEqual([undefined]);
});
