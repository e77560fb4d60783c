/** Links of programs go on whoever removes their pins, and what was taken away is put back and told of. */
import { mkdirSync, readdirSync, rmSync, watch } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { firstOnTcx } from '../../src/datapath/hooks/interface-links.js';
import { LinkPins } from '../../src/datapath/hooks/link-pins.js';
import { Precedence } from '../../src/datapath/hooks/precedence.js';
import { type Loss, RepairLedger } from '../../src/datapath/hooks/repair-ledger.js';
import type { WantedLink } from '../../src/datapath/hooks/wanted-link.js';
import { BpfLink, LinkType, mountBpffs, tcxPrograms, tcxSupported } from '../../src/native/bpf.js';
import { KernelError } from '../../src/native/errors.js';
import { Programs } from '../support/programs.js';

const NAME = 'qn0000000a_from_container';
/** The kernel ends links that nobody has any more in its own time. */
const IN_TIME = { timeout: 20_000 };

let programs: Programs;
let directory: string;
let pins: LinkPins;
let ledger: RepairLedger;
beforeAll(async () => {
  programs = await Programs.load({ devices: 2 });
  directory = `${programs.pinRoot}-links`;
});
afterAll(() => programs?.close());
beforeEach(() => {
  mountBpffs(directory);
  ledger = new RepairLedger();
  pins = new LinkPins(directory, { ledger });
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
    ledger.totals().find((repair) => repair.program === 'from_container' && repair.lost === lost)?.count;

  it('what is in order is left as it is', () => {
    expect(keep()).toBe('link');
    const id = pinnedId();
    expect(keep()).toBeUndefined();
    expect(pinnedId()).toBe(id);
    expect(attached()).toEqual([program().info().id]);
    expect(pins.isIntact(NAME)).toBe(true);
    expect(ledger.take()).toEqual([]);
    expect(ledger.totals().every(({ count }) => count === 0)).toBe(true);
  });

  const THINGS_IN_PLACE: [string, () => void][] = [
    ['nothing', () => undefined],
    ['a map', () => programs.map('qn_metrics').pin(path())],
    ['a directory', () => mkdirSync(path())],
    [
      'a link to elsewhere',
      () => {
        using link = programs.inside(() => wanted(1).attach(program()));
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
      expect(ledger.take()).toEqual([{ pin: NAME, program: 'from_container', lost: 'pin' }]);
      expect(ledger.take()).toEqual([]);
      expect([counted('pin'), counted('link')]).toEqual([1, 0]);
    });

    it('a daemon that starts makes another link, and tells nobody', () => {
      put();
      expect(keep()).toBe('link');
      expect(attached()).toEqual([program().info().id]);
      expect(pins.isIntact(NAME)).toBe(true);
      expect(ledger.take()).toEqual([]);
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
      using own = new LinkPins(directory, openMax === undefined ? { ledger } : { ledger, openMax });
      keep(own);
      const lost = openMax === 0 ? 'link' : 'pin';
      if (lost === 'link') end();
      prevent();
      expect(keep(own)).toBe(lost);
      expect(attached()).toEqual([program().info().id]);
      expect(own.isIntact(NAME)).toBe(false);
      expect(own.problems()).toHaveLength(1);
      expect(ledger.take().map((repair) => repair.lost)).toEqual(lost === 'pin' ? [] : ['link']);
      expect(keep(own)).toBe('pin');
      expect(ledger.take()).toEqual([]);
      rmSync(directory);
      expect(keep(own)).toBe('pin');
      expect(ledger.take().map((repair) => repair.lost)).toEqual(['pin']);
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
    expect(ledger.take()).toEqual([]);
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
    using few = new LinkPins(directory, { ledger, openMax: 0 });
    keep(few);
    expect(few.isIntact(NAME)).toBe(true);
    rmSync(path());
    expect(few.isIntact(NAME)).toBe(false);
    await expect.poll(() => attached(), IN_TIME).toEqual([]);
    expect(keep(few)).toBe('link');
    expect(ledger.take()).toEqual([{ pin: NAME, program: 'from_container', lost: 'link' }]);
    expect(few.isIntact(NAME)).toBe(true);
  });

  describe('somebody else is put before ours:', () => {
    const stranger = () => programs.program('from_uplink');
    let strangers: BpfLink[];
    let now: number;
    beforeEach(() => {
      strangers = [];
      now = 0;
    });
    afterEach(() => {
      for (const link of strangers) link.close();
    });
    const enter = () =>
      programs.inside(() => {
        const [ifindex, direction, position] = [device(0), 'ingress', 'first'] as const;
        strangers.push(BpfLink.attachTcx({ program: stranger(), ifindex, direction, position }));
      });
    const leave = () => {
      for (const link of strangers.splice(0)) link.detach();
    };
    const ids = () => [program().info().id, stranger().info().id];
    const precedence = () => new Precedence(() => now);
    const contender = (more: object = {}) =>
      new LinkPins(directory, { ledger, precedence: precedence(), spare: () => other(), ...more });
    const look = (by: LinkPins) => programs.inside(() => by.look(NAME));
    const isPreceded = (by: LinkPins) => look(by) === 'preceded';

    it.each([
      ['open', undefined],
      ['held by its pin alone', 0],
    ])('ours goes first by another link, which has the pin; %s', (_, openMax) => {
      using own = contender(openMax === undefined ? {} : { openMax });
      keep(own);
      expect(isPreceded(own)).toBe(false);
      const id = pinnedId();
      enter();
      expect([isPreceded(own), own.isIntact(NAME)]).toEqual([true, true]);
      expect(keep(own)).toBeUndefined();
      expect(attached()).toEqual(ids());
      expect(pinnedId()).not.toBe(id);
      expect([isPreceded(own), own.isIntact(NAME)]).toEqual([false, true]);
      expect(readdirSync(directory)).toEqual([NAME]);
      const by = [{ id: stranger().info().id, name: 'from_uplink' }];
      expect(ledger.take()).toEqual([{ pin: NAME, program: 'from_container', lost: 'position', by }]);
      expect(counted('position')).toBe(1);
      // It holds on as the one before.
      expect(keep(own)).toBeUndefined();
      own[Symbol.dispose]();
      expect(attached()).toEqual(ids());
    });

    it('one of ours is there at each moment, and the new one is pinned before the old one goes', () => {
      const lines: (readonly [line: number[], pins: string[]])[] = [];
      using own = contender();
      keep(own);
      enter();
      const before = pinnedId();
      programs.inside(() =>
        own.keep(NAME, {
          ...wanted(),
          attach: (copy) => {
            lines.push([attached(), readdirSync(directory)]);
            const link = wanted().attach(copy);
            lines.push([attached(), readdirSync(directory)]);
            expect(pinnedId()).toBe(before);
            return link;
          },
        }),
      );
      const [own1, foreign] = ids();
      expect(lines).toEqual([
        [[foreign, own1], [NAME]],
        [[other().info().id, foreign, own1], [NAME]],
      ]);
    });

    it('without a second copy of the program ours stays, and is told of until nobody is before it', () => {
      const order = precedence();
      const asked: string[] = [];
      using own = contender({ precedence: order, spare: (name: string) => void asked.push(name) });
      keep(own);
      enter();
      expect(keep(own)).toBeUndefined();
      expect(asked).toEqual(['from_container']);
      expect(attached()).toEqual(ids().reverse());
      expect(order.list()).toMatchObject([{ pin: NAME, by: [{ name: 'from_uplink' }] }]);
      expect(ledger.take()).toEqual([]);
      leave();
      expect(isPreceded(own)).toBe(false);
      expect(order.list()).toEqual([]);
    });

    it('who comes back each time is not fought at each look', () => {
      const order = precedence();
      using own = contender({ precedence: order });
      keep(own);
      const times: number[] = [];
      for (now = 0; now < 1_000_000; now += 5_000) {
        if (attached()[0] === program().info().id) {
          leave();
          enter();
        }
        keep(own);
        if (attached()[0] === program().info().id) times.push(now / 1000);
        else {
          expect(order.list()).toHaveLength(1);
          expect(look(own)).toBe('waiting');
        }
      }
      expect(times).toEqual([0, 5, 15, 35, 75, 155, 315, 615, 915]);
      expect(counted('position')).toBe(times.length);
    });

    it('where no other link can be made or pinned ours goes on where it is, and that is told', () => {
      using own = contender();
      keep(own);
      enter();
      const refused = new KernelError({ code: 'EMFILE' } as never);
      const failing = {
        ...wanted(),
        attach: () => {
          throw refused;
        },
      };
      programs.inside(() => own.keep(NAME, failing));
      expect(attached()).toEqual(ids().reverse());
      const told = [expect.stringContaining(`${NAME} cannot be first`)];
      expect(own.problems()).toEqual(told);
      leave();
      expect([isPreceded(own), own.problems()]).toEqual([false, []]);
      enter();
      programs.inside(() => own.keep(NAME, failing));
      expect(own.problems()).toEqual(told);
      mkdirSync(`${path()}~`);
      expect(keep(own)).toBeUndefined();
      expect(attached()).toEqual(ids());
      expect(own.problems()).toEqual([]);
    });

    it('a daemon that ended while it went to the front leaves nothing to the next', () => {
      keep();
      pins[Symbol.dispose]();
      programs.inside(() => {
        using draft = wanted().attach(other());
        draft.pin(`${path()}~`);
      });
      using next = contender();
      keep(next);
      expect(attached()).toEqual([program().info().id]);
      expect(readdirSync(directory)).toEqual([NAME]);
    });
  });

  it('a pin that somebody else removes or replaces is told of, in whatever directory, and what we do is not', async () => {
    let told = 0;
    using watch = pins.watch(() => told++);
    const second = 'qn0000000b_from_container';
    programs.inside(() => pins.keep(second, wanted(1)));
    watch.renew();
    keep();
    keep();
    pins.remove(NAME, true);
    keep();
    // In the order in which they happened: had ours been told of, it would have been by then.
    rmSync(`${directory}/${second}`);
    await expect.poll(() => told).toBe(1);
    rmSync(path());
    await expect.poll(() => told).toBe(2);
    keep();
    pins.remove(second);
    rmSync(directory, { recursive: true });
    await expect.poll(() => told).toBeGreaterThan(2);
    keep();
    watch.renew();
    const before = told;
    rmSync(path());
    await expect.poll(() => told).toBe(before + 1);
    keep();
  });

  it.each([
    ['held by their pins alone', 0, 1],
    ['open', undefined, 0],
  ])('where pins cannot be watched that is a problem of links that are %s', (_, openMax, count) => {
    const refused = () => {
      throw new Error('too many watches');
    };
    let open: typeof watch = refused as never;
    using own = new LinkPins(directory, openMax === undefined ? {} : { openMax });
    using watched = own.watch(() => undefined, ((...args: Parameters<typeof watch>) =>
      open(...args)) as never);
    watched.renew();
    expect(own.problems()).toEqual([]);
    keep(own);
    expect(own.problems()).toEqual(Array(count).fill(expect.stringContaining('too many watches')));
    open = watch;
    watched.renew();
    expect(own.problems()).toEqual([]);
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
