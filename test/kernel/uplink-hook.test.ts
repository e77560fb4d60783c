/** The program on the uplink comes, stays and goes with it, and so does what the other programs know of it. */
import { mkdirSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UplinkHook } from '../../src/datapath/uplink-hook.js';
import { BpfLink, mountBpffs, queryClsact, tcxSupported } from '../../src/native/bpf.js';
import { mappedAddress } from '../support/packet.js';
import { Programs } from '../support/programs.js';

const KINDS = tcxSupported() ? (['tcx', 'clsact'] as const) : (['clsact'] as const);
const IP4 = '10.99.0.5';
const IP6 = 'fd00:99::5';

let programs: Programs;
let links: string;
beforeAll(async () => {
  programs = await Programs.load({ devices: 2 });
  links = `${programs.pinRoot}-links`;
});
afterAll(() => programs?.close());
beforeEach(() => mountBpffs(links));
afterEach(() => rmSync(links, { recursive: true, force: true }));

describe.each(KINDS)('%s', (kind) => {
  const device = (at: number) => programs.ifindexes[at] ?? 0;
  const hook = () =>
    new UplinkHook(programs.program('from_uplink'), programs.uplink as never, links, kind === 'tcx');
  const use = (by: UplinkHook, at: number | undefined, ip4: string | undefined = IP4) =>
    programs.inside(() => by.use(at === undefined ? undefined : { ifindex: device(at), ip4, ip6: IP6 }));
  const attachedTo = () =>
    programs.inside(() => [0, 1].filter((at) => programOn(kind, links, device(at)) !== undefined));
  const known = () => programs.uplink.get(0);
  afterEach(() => use(hook(), undefined));

  it('is attached before its address counts, and follows it', () => {
    const uplink = hook();
    use(uplink, 0);
    expect(attachedTo()).toEqual([0]);
    expect(known()).toMatchObject({ ifindex: device(0), ip4: mappedAddress(IP4), ip6: mappedAddress(IP6) });
    const before = known();
    use(uplink, 0);
    expect(known()).toEqual(before);
    use(uplink, 0, '10.99.0.6');
    expect(known()).toMatchObject({ ip4: mappedAddress('10.99.0.6') });
    expect(known()?.version).not.toBe(before?.version);
    expect(known()?.version).toBe(known()?.versionEnd);
  });

  it('moves with the uplink, also one that a daemon before left, and goes with it', () => {
    use(hook(), 0);
    use(hook(), 0);
    expect(attachedTo()).toEqual([0]);
    use(hook(), 1);
    expect(attachedTo()).toEqual([1]);
    expect(known()).toMatchObject({ ifindex: device(1) });
    use(hook(), undefined);
    expect(attachedTo()).toEqual([]);
    expect(known()).toMatchObject({ ifindex: 0 });
  });
});

it.skipIf(!tcxSupported())('something else in the place of the pin is replaced', () => {
  mkdirSync(links, { recursive: true });
  programs.map('qn_metrics').pin(`${links}/from_uplink`);
  const uplink = new UplinkHook(programs.program('from_uplink'), programs.uplink as never, links);
  const ifindex = programs.ifindexes[0] ?? 0;
  programs.inside(() => uplink.use({ ifindex, ip4: IP4, ip6: undefined }));
  expect(programOn('tcx', links, ifindex)).toBe(programs.program('from_uplink').info().id);
});

/** Id of our program on an interface. */
function programOn(kind: 'tcx' | 'clsact', directory: string, ifindex: number): number | undefined {
  if (kind === 'clsact') return queryClsact({ ifindex, direction: 'ingress' })?.programId;
  try {
    using link = BpfLink.fromPin(`${directory}/from_uplink`);
    const info = link.info();
    return info.ifindex === ifindex ? info.programId : undefined;
  } catch {
    return undefined;
  }
}
