/** The program on the uplinks comes, stays and goes with them, and so does what the other programs know of them. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ClsactFilters } from '../../src/datapath/hooks/clsact-filters.js';
import { LinkPins } from '../../src/datapath/hooks/link-pins.js';
import { UplinkHook } from '../../src/datapath/hooks/uplink-hook.js';
import { BpfLink, mountBpffs, tcxSupported } from '../../src/native/bpf.js';
import { queryClsact } from '../support/clsact.js';
import { mappedAddress } from '../support/packet.js';
import { Programs } from '../support/programs.js';

const KINDS = tcxSupported() ? (['tcx', 'clsact'] as const) : (['clsact'] as const);
const IP4 = '10.99.0.5';
const IP6 = 'fd00:99::5';

const address = (text: string) =>
  text.includes(':')
    ? ({ address: text, prefixLength: 64, family: 6 } as const)
    : ({ address: text, prefixLength: 24, family: 4 } as const);

let programs: Programs;
let links: string;
let pins: LinkPins | undefined;
/** Of the next daemon: the one before lets go of its links. */
function nextPins(): LinkPins {
  pins?.[Symbol.dispose]();
  pins = new LinkPins(links);
  return pins;
}
beforeAll(async () => {
  programs = await Programs.load({ devices: 2 });
  links = `${programs.pinRoot}-links`;
});
afterAll(() => programs?.close());
beforeEach(() => mountBpffs(links));
afterEach(() => {
  pins?.[Symbol.dispose]();
  rmSync(links, { recursive: true, force: true });
});

describe.each(KINDS)('%s', (kind) => {
  const device = (at: number) => programs.ifindexes[at] ?? 0;
  const hook = () =>
    new UplinkHook(
      programs.program('from_uplink'),
      programs.uplinks as never,
      nextPins(),
      new ClsactFilters(),
      kind === 'tcx',
    );
  const use = (by: UplinkHook, at: readonly number[], ip4 = IP4, router = 0) =>
    programs.inside(() => {
      for (const number of at) by.attach(device(number));
      by.use(
        at.map((number) => ({ ifindex: device(number), ip4: address(ip4), ip6: address(IP6) })),
        router,
      );
    });
  const attachedTo = () =>
    programs.inside(() => [0, 1].filter((at) => programOn(kind, links, device(at)) !== undefined));
  const known = (slot = 0) => programs.uplinks.get(slot);
  afterEach(() => use(hook(), []));

  it('is attached before its address counts, and follows it', () => {
    const uplink = hook();
    use(uplink, [0]);
    expect(attachedTo()).toEqual([0]);
    expect(known()).toMatchObject({ ifindex: device(0), ip4: mappedAddress(IP4), ip6: mappedAddress(IP6) });
    const before = known();
    use(uplink, [0]);
    expect(known()).toEqual(before);
    use(uplink, [0], '10.99.0.6');
    expect(known()).toMatchObject({ ip4: mappedAddress('10.99.0.6') });
  });

  it('moves with the uplink, also one that a daemon before left, and goes with it', () => {
    use(hook(), [0]);
    use(hook(), [0]);
    expect(attachedTo()).toEqual([0]);
    use(hook(), [1]);
    expect(attachedTo()).toEqual([1]);
    expect(known()).toMatchObject({ ifindex: device(1) });
    use(hook(), []);
    expect(attachedTo()).toEqual([]);
    expect(known()).toMatchObject({ ifindex: 0 });
  });

  it('is on several, and leaves those alone that stay', () => {
    use(hook(), [0, 1], IP4, 77);
    expect(attachedTo()).toEqual([0, 1]);
    expect([known(0), known(1)]).toMatchObject([
      { ifindex: device(0), router: 77 },
      { ifindex: device(1), router: 0 },
    ]);
    use(hook(), [1]);
    expect(attachedTo()).toEqual([1]);
    expect([known(0), known(1)]).toMatchObject([{ ifindex: device(1), router: 0 }, { ifindex: 0 }]);
  });
});

it.skipIf(!tcxSupported())(
  'something else in the place of a pin is replaced, and a stale pin removed',
  () => {
    mkdirSync(links, { recursive: true });
    const [ifindex = 0, other = 0] = programs.ifindexes;
    for (const name of ['from_uplink', `from_uplink-${ifindex}`, `from_uplink-${other}`])
      programs.map('qn_metrics').pin(`${links}/${name}`);
    const uplink = new UplinkHook(programs.program('from_uplink'), programs.uplinks as never, nextPins());
    programs.inside(() => {
      uplink.attach(ifindex);
      uplink.use([{ ifindex, ip4: address(IP4), ip6: undefined }]);
    });
    expect(programOn('tcx', links, ifindex)).toBe(programs.program('from_uplink').info().id);
    expect(readdirSync(links)).toEqual([`from_uplink-${ifindex}`]);
  },
);

/** Id of our program on an interface. */
function programOn(kind: 'tcx' | 'clsact', directory: string, ifindex: number): number | undefined {
  if (kind === 'clsact') return queryClsact({ ifindex, direction: 'ingress' })?.programId;
  try {
    using link = BpfLink.fromPin(`${directory}/from_uplink-${ifindex}`);
    const info = link.info();
    return info.ifindex === ifindex ? info.programId : undefined;
  } catch {
    return undefined;
  }
}
