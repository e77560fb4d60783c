/** Links of programs go on whoever removes their pins, and what was taken away is put back and told of. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { firstOnTcx } from '../../src/datapath/interface-links.js';
import { LinkPins, type Loss, type WantedLink } from '../../src/datapath/link-pins.js';
import { BpfLink, LinkType, mountBpffs, tcxPrograms, tcxSupported } from '../../src/native/bpf.js';
import { Programs } from '../support/programs.js';

const NAME = 'qn0000000a_from_container';
/** The kernel ends links that nobody has any more in its own time. */
const IN_TIME = { timeout: 20_000 };

let programs: Programs;
let directory: string;
let pins: LinkPins;
beforeAll(async () => {
  programs = await Programs.load({ devices: 2 });
  directory = `${programs.pinRoot}-links`;
});
afterAll(() => programs?.close());
beforeEach(() => {
  mountBpffs(directory);
  pins = new LinkPins(directory);
});
afterEach(async () => {
  pins[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
  await expect.poll(() => [...attached(0), ...attached(1)], IN_TIME).toEqual([]);
});

const device = (at: number) => programs.ifindexes[at] ?? 0;
const program = () => programs.program('from_container');
const other = () => programs.program('to_container');
const path = () => `${directory}/${NAME}`;

/** Ids of the programs on the hook, the first first. */
const attached = (at = 0) => programs.inside(() => tcxPrograms(device(at), 'ingress').map(({ id }) => id));
/** As `bpftool link detach` does. */
const end = () => {
  using link = BpfLink.fromPin(path());
  link.detach();
};
const pinnedId = () => {
  using link = BpfLink.fromPin(path());
  return link.info().id;
};

// Without TCX there are no links on interfaces but XDP's; the tests of its hook are for those.
if (tcxSupported()) {
  const wanted = (at = 0): WantedLink =>
    firstOnTcx('from_container', program(), { ifindex: device(at), direction: 'ingress' });
  const keep = (by = pins, at = 0) => programs.inside(() => by.keep(NAME, wanted(at)));
  const counted = (lost: Loss) =>
    pins.repairs().find((repair) => repair.program === 'from_container' && repair.lost === lost)?.count;

  it('what is in order is left as it is', () => {
    expect(keep()).toBe('link');
    const id = pinnedId();
    expect(keep()).toBeUndefined();
    expect(pinnedId()).toBe(id);
    expect(attached()).toEqual([program().info().id]);
    expect(pins.isIntact(NAME)).toBe(true);
    expect(pins.takeRepairs()).toEqual([]);
    expect(pins.repairs().every(({ count }) => count === 0)).toBe(true);
  });

  const THINGS_IN_PLACE: [string, () => void][] = [
    ['nothing', () => undefined],
    ['a map', () => programs.map('qn_metrics').pin(path())],
    ['a directory', () => mkdirSync(path())],
    [
      'a link to elsewhere',
      () => {
        using link = programs.inside(() => wanted(1).attach());
        link.pin(path());
      },
    ],
  ];
  describe.each(THINGS_IN_PLACE)('in the place of the pin is %s:', (_, put) => {
    it('the program has never gone, and the link is pinned again', () => {
      keep();
      const id = pinnedId();
      rmSync(path());
      put();
      expect(attached()).toEqual([program().info().id]);
      expect(pins.isIntact(NAME)).toBe(false);
      expect(keep()).toBe('pin');
      expect(pinnedId()).toBe(id);
      expect(pins.isIntact(NAME)).toBe(true);
      expect(pins.takeRepairs()).toEqual([{ pin: NAME, program: 'from_container', lost: 'pin' }]);
      expect(pins.takeRepairs()).toEqual([]);
      expect([counted('pin'), counted('link')]).toEqual([1, 0]);
    });

    it('a daemon that starts makes another link, and tells nobody', () => {
      put();
      expect(keep()).toBe('link');
      expect(attached()).toEqual([program().info().id]);
      expect(pins.isIntact(NAME)).toBe(true);
      expect(pins.takeRepairs()).toEqual([]);
    });
  });

  it('all pins and their directory can go', () => {
    keep();
    const id = pinnedId();
    rmSync(directory, { recursive: true });
    expect(pins.names()).toEqual([NAME]);
    expect(keep()).toBe('pin');
    expect(pinnedId()).toBe(id);
  });

  it('a link that somebody has ended is made anew', () => {
    keep();
    end();
    expect(attached()).toEqual([]);
    expect(pins.isIntact(NAME)).toBe(false);
    expect(keep()).toBe('link');
    expect(attached()).toEqual([program().info().id]);
    expect(counted('link')).toBe(1);
  });

  describe('where nothing can be pinned', () => {
    /** A map is no directory. */
    const prevent = () => {
      rmSync(directory, { recursive: true });
      programs.map('qn_metrics').pin(directory);
    };

    it.each([
      ['as many as there are', undefined],
      ['none', 0],
    ])('a link that was in order holds on, and is pinned when that can be; open: %s', (_, openMax) => {
      using own = new LinkPins(directory, openMax);
      keep(own);
      const lost = openMax === 0 ? 'link' : 'pin';
      if (lost === 'link') end();
      prevent();
      expect(keep(own)).toBe(lost);
      expect(attached()).toEqual([program().info().id]);
      expect(own.isIntact(NAME)).toBe(false);
      expect(own.problems()).toHaveLength(1);
      expect(own.takeRepairs().map((repair) => repair.lost)).toEqual(lost === 'pin' ? [] : ['link']);
      expect(keep(own)).toBe('pin');
      expect(own.takeRepairs()).toEqual([]);
      rmSync(directory);
      expect(keep(own)).toBe('pin');
      expect(own.takeRepairs().map((repair) => repair.lost)).toEqual(['pin']);
      expect([own.isIntact(NAME), own.problems()]).toEqual([true, []]);
      expect(attached()).toEqual([program().info().id]);
    });

    it('a link that was ended is made anew', () => {
      keep();
      end();
      prevent();
      expect(keep()).toBe('link');
      expect(attached()).toEqual([program().info().id]);
      expect(pins.problems()).toHaveLength(1);
      pins.remove(NAME);
      expect(pins.problems()).toEqual([]);
    });

    it('a new link is refused, and is off', () => {
      prevent();
      expect(() => keep()).toThrow(directory);
      expect(attached()).toEqual([]);
      expect(pins.problems()).toEqual([]);
    });
  });

  it('the program of somebody else in the link is replaced', () => {
    keep();
    {
      using link = BpfLink.fromPin(path());
      link.update(other());
    }
    expect(attached()).toEqual([other().info().id]);
    expect(pins.isIntact(NAME)).toBe(false);
    expect(keep()).toBe('program');
    expect(attached()).toEqual([program().info().id]);
    expect(counted('program')).toBe(1);
  });

  it('the next daemon takes the link over, and puts its program into it', () => {
    keep();
    const id = pinnedId();
    pins[Symbol.dispose]();
    using next = new LinkPins(directory);
    const replaced = programs.inside(() => next.keep(NAME, { ...wanted(), program: other() }));
    expect(replaced).toBeUndefined();
    expect(pinnedId()).toBe(id);
    expect(attached()).toEqual([other().info().id]);
    expect(next.takeRepairs()).toEqual([]);
  });

  it.each([
    ['another hook', { direction: 'egress', at: 0 }],
    ['another interface', { direction: 'ingress', at: 1 }],
  ] as const)('a link to %s is none to take over', (_, { direction, at }) => {
    programs.inside(() => {
      using link = BpfLink.attachTcx({ program: program(), ifindex: device(at), direction });
      link.pin(path());
    });
    expect(keep()).toBe('link');
    expect(attached()).toEqual([program().info().id]);
  });

  it('beyond what a process may have open a link goes with its pin, and is made anew', async () => {
    using few = new LinkPins(directory, 0);
    keep(few);
    expect(few.isIntact(NAME)).toBe(true);
    rmSync(path());
    expect(few.isIntact(NAME)).toBe(false);
    await expect.poll(() => attached(), IN_TIME).toEqual([]);
    expect(keep(few)).toBe('link');
    expect(few.takeRepairs()).toEqual([{ pin: NAME, program: 'from_container', lost: 'link' }]);
    expect(few.isIntact(NAME)).toBe(true);
  });

  it('what is removed is gone, with its pin or without', async () => {
    for (const isPinned of [true, false]) {
      keep();
      if (!isPinned) rmSync(path());
      pins.remove(NAME);
      expect(readdirSync(directory)).toEqual([]);
      expect(pins.names()).toEqual([]);
      await expect.poll(() => attached(), IN_TIME).toEqual([]);
    }
  });

  it('what cannot be attached leaves nothing, and is tried again', () => {
    keep();
    rmSync(path());
    const failing = {
      ...wanted(1),
      attach: () => {
        throw new Error('refused');
      },
    };
    expect(() => programs.inside(() => pins.keep(NAME, failing))).toThrow('refused');
    expect(readdirSync(directory)).toEqual([]);
    expect(pins.isIntact(NAME)).toBe(false);
    expect(keep()).toBe('link');
    expect(counted('link')).toBe(1);
  });
} else {
  it('a kernel without TCX keeps links of XDP', () => {
    const ifindex = device(0);
    const uplink = programs.program('uplink_xdp');
    const lost = programs.inside(() =>
      pins.keep('uplink_xdp-1', {
        name: 'uplink_xdp',
        program: uplink,
        place: { type: LinkType.XDP, ifindex },
        attach: () => BpfLink.attachXdp({ program: uplink, ifindex }),
      }),
    );
    expect(lost).toBe('link');
    pins.remove('uplink_xdp-1', true);
  });
}
