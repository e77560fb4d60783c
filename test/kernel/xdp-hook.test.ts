/** uplink_xdp comes, stays and goes with the uplink, never in the place of another, and from_uplink knows of it. */
import { existsSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { InboundFlags } from '../../src/datapath/abi/generated.js';
import { InboundControl } from '../../src/datapath/inbound.js';
import { XdpHook } from '../../src/datapath/xdp-hook.js';
import { BpfLink, mountBpffs } from '../../src/native/bpf.js';
import { Programs } from '../support/programs.js';

let programs: Programs;
let links: string;
beforeAll(async () => {
  programs = await Programs.load({ devices: 2 });
  links = `${programs.pinRoot}-links`;
});
afterAll(() => programs?.close());
beforeEach(() => mountBpffs(links));
afterEach(() => {
  hook().remove();
  rmSync(links, { recursive: true, force: true });
});

const device = (at: number) => programs.ifindexes[at] ?? 0;
const program = () => programs.program('uplink_xdp');
const hook = () => new XdpHook(program(), new InboundControl(programs.inbound as never), links);
const use = (by: XdpHook, at: number) => programs.inside(() => by.use(device(at)));
const isTold = () => programs.inbound.get(0)?.flags === InboundFlags.XDP;
/** Number of the device; undefined: it is on none. */
function attachedTo(): number | undefined {
  if (!existsSync(`${links}/uplink_xdp`)) return undefined;
  using link = BpfLink.fromPin(`${links}/uplink_xdp`);
  return programs.ifindexes.indexOf(link.info().ifindex ?? 0);
}

it('is attached once, and from_uplink is told', () => {
  expect(isTold()).toBe(false);
  expect(use(hook(), 0)).toBeUndefined();
  expect(use(hook(), 0)).toBeUndefined();
  expect(attachedTo()).toBe(0);
  expect(isTold()).toBe(true);
});

it('moves with the uplink and goes with it', () => {
  use(hook(), 0);
  hook().leaveOthers(device(0));
  expect(attachedTo()).toBe(0);
  hook().leaveOthers(device(1));
  expect(attachedTo()).toBeUndefined();
  expect(isTold()).toBe(false);
  expect(use(hook(), 1)).toBeUndefined();
  expect(attachedTo()).toBe(1);
  hook().remove();
  expect(attachedTo()).toBeUndefined();
  expect(isTold()).toBe(false);
});

it.each(['native', 'generic'] as const)('leaves the program of somebody else alone, which is %s', (mode) => {
  const theirs = programs.inside(() => BpfLink.attachXdp({ program: program(), ifindex: device(0), mode }));
  try {
    expect(use(hook(), 0)).toBe('another XDP program is on the interface');
    expect(theirs.info().ifindex).toBe(device(0));
    expect(attachedTo()).toBeUndefined();
    expect(isTold()).toBe(false);
  } finally {
    theirs.detach();
    theirs.close();
  }
  expect(use(hook(), 0)).toBeUndefined();
});
