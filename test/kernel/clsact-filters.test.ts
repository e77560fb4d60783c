/** Filters of clsact, for kernels without TCX: whoever takes them away or comes before them, they are put back. */
import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ClsactAttachments } from '../../src/datapath/hooks/clsact-attachments.js';
import { ClsactFilters } from '../../src/datapath/hooks/clsact-filters.js';
import { Precedence } from '../../src/datapath/hooks/precedence.js';
import { type Loss, RepairLedger } from '../../src/datapath/hooks/repair-ledger.js';
import { attachClsact, clsactLine, detachClsact } from '../../src/native/bpf.js';
import { Programs } from '../support/programs.js';

const FOREIGN_HANDLE = 7;
const DRAFT_HANDLE = 0x716f;

let programs: Programs;
let ledger: RepairLedger;
let precedence: Precedence;
let filters: ClsactFilters;
let now: number;
beforeAll(async () => {
  programs = await Programs.load({ devices: 1 });
});
afterAll(() => programs?.close());
beforeEach(() => {
  now = 0;
  ledger = new RepairLedger(() => now);
  precedence = new Precedence(() => now);
  filters = new ClsactFilters(ledger, precedence);
});
afterEach(() => removeQdisc());

const hook = () => ({ ifindex: programs.ifindexes[0] ?? 0, direction: 'ingress' }) as const;
const program = () => programs.program('from_container');
const stranger = () => programs.program('from_uplink');
const keep = (by = filters) =>
  programs.inside(() => by.keep({ name: 'from_container', program: program(), ...hook() }));
const isIntact = () => programs.inside(() => filters.isIntact(hook()));
/** Ids of the programs, the first first. */
const line = () =>
  programs.inside(() => clsactLine(hook().ifindex, hook().direction).map(({ programId }) => programId));
const enter = () =>
  programs.inside(() => attachClsact({ program: stranger(), ...hook(), handle: FOREIGN_HANDLE }));
const leave = () => programs.inside(() => detachClsact({ ...hook(), handle: FOREIGN_HANDLE }));
const lost = () => ledger.take().map((repair): Loss => repair.lost);
const ids = () => [program().info().id, stranger().info().id];

function tc(...args: string[]): void {
  programs.inside(() => execFileSync('tc', args, { stdio: 'pipe' }));
}
function removeQdisc(): void {
  try {
    tc('qdisc', 'del', 'dev', 'host0', 'clsact');
  } catch {
    // There is none.
  }
}

it('what is in order is left as it is', () => {
  expect([isIntact(), keep(), isIntact()]).toEqual([false, 'link', true]);
  expect(keep()).toBeUndefined();
  expect(line()).toEqual([program().info().id]);
  expect(lost()).toEqual([]);
});

it.each([
  ['the filter', () => void programs.inside(() => detachClsact(hook()))],
  ['all filters', () => tc('filter', 'del', 'dev', 'host0', 'ingress')],
  ['the queueing discipline', () => removeQdisc()],
])('%s is removed: it is noticed and put back', (_, remove) => {
  keep();
  remove();
  expect(line()).toEqual([]);
  expect(isIntact()).toBe(false);
  expect(keep()).toBe('link');
  expect(line()).toEqual([program().info().id]);
  expect([isIntact(), lost()]).toEqual([true, ['link']]);
});

it('the program of somebody else in our filter is replaced', () => {
  keep();
  programs.inside(() => attachClsact({ program: stranger(), ...hook() }));
  expect(isIntact()).toBe(false);
  expect(keep()).toBe('program');
  expect(line()).toEqual([program().info().id]);
  expect([isIntact(), lost()]).toEqual([true, ['program']]);
});

it('a filter that is put before ours is behind again, and others behind ours are left alone', () => {
  keep();
  enter();
  expect(line()).toEqual(ids().reverse());
  expect(isIntact()).toBe(false);
  expect(keep()).toBeUndefined();
  expect(line()).toEqual(ids());
  const by = [{ id: stranger().info().id, name: 'from_uplink' }];
  const pin = `clsact-ingress-${hook().ifindex}`;
  expect(ledger.take()).toEqual([{ pin, program: 'from_container', lost: 'position', by }]);
  programs.inside(() =>
    attachClsact({ program: stranger(), ...hook(), handle: FOREIGN_HANDLE, priority: 9 }),
  );
  expect(isIntact()).toBe(true);
});

it('who comes back each time is not fought at each look, and told of meanwhile', () => {
  keep();
  const times: number[] = [];
  for (now = 0; now < 200_000; now += 5_000) {
    if (line()[0] === program().info().id) {
      leaveIfThere();
      enter();
    }
    keep();
    if (line()[0] === program().info().id) times.push(now / 1000);
    else expect(precedence.list()).toHaveLength(1);
  }
  expect(times).toEqual([0, 5, 15, 35, 75, 155]);
});
const leaveIfThere = () => {
  if (line().length > 1) leave();
};

it('a daemon that ended while it went to the front leaves nothing to the next', () => {
  keep();
  programs.inside(() => attachClsact({ program: program(), ...hook(), handle: DRAFT_HANDLE }));
  expect(line()).toHaveLength(2);
  expect(keep(new ClsactFilters())).toBeUndefined();
  expect(line()).toEqual([program().info().id]);
});

it('what is removed is gone, once and again, and its interface is nobody of ours', () => {
  keep();
  for (let times = 0; times < 2; times++) programs.inside(() => filters.remove(hook()));
  expect([line(), isIntact()]).toEqual([[], false]);
  keep();
  expect(lost()).toEqual([]);
});

describe('"ingress" is in the place of clsact, with one line for both hooks:', () => {
  const both = ['ingress', 'egress'] as const;
  const lines = () =>
    programs.inside(() =>
      both.map((direction) => clsactLine(hook().ifindex, direction).map(({ programId }) => programId)),
    );
  const attachments = () =>
    new ClsactAttachments(
      { fromContainer: program(), toContainer: programs.program('to_container'), leaveContainer: undefined },
      filters,
    );
  const target = () => ({ interface: 'host0', ifindex: hook().ifindex });
  const expected = () => [[program().info().id], [programs.program('to_container').info().id]];
  const replace = () => {
    removeQdisc();
    tc('qdisc', 'add', 'dev', 'host0', 'ingress');
  };
  afterEach(() => {
    try {
      tc('qdisc', 'del', 'dev', 'host0', 'ingress');
    } catch {
      // There is none.
    }
  });

  it('each program is at its own hook again, and stays there', () => {
    const own = attachments();
    programs.inside(() => own.adopt(target()));
    expect(lines()).toEqual(expected());
    replace();
    expect(programs.inside(() => own.isInOrder('host0'))).toBe(false);
    expect(programs.inside(() => own.adopt(target()))).toBe(true);
    expect(lines()).toEqual(expected());
    expect(programs.inside(() => own.isInOrder('host0'))).toBe(true);
    expect(lost()).toEqual(['link', 'link']);
    expect(programs.inside(() => own.adopt(target()))).toBe(false);
    expect(lost()).toEqual([]);
  });

  it('so they are on an interface that is new to the daemon', () => {
    tc('qdisc', 'add', 'dev', 'host0', 'ingress');
    programs.inside(() => attachClsact({ program: stranger(), ...hook(), handle: FOREIGN_HANDLE }));
    const own = attachments();
    programs.inside(() => own.adopt(target()));
    expect(lines()).toEqual(expected());
  });

  it('what is taken off again and again is known as such, until it is calm', () => {
    const own = attachments();
    programs.inside(() => own.adopt(target()));
    for (let times = 0; times < 3; times++) {
      expect(ledger.recurring()).toEqual([]);
      replace();
      programs.inside(() => own.adopt(target()));
    }
    const pins = both.map((direction) => `clsact-${direction}-${hook().ifindex}`);
    expect(ledger.recurring()).toEqual(pins.map((pin) => ({ pin, times: 3 })));
    now += 60_001;
    expect(ledger.recurring()).toEqual([]);
  });
});
