/** Filters of clsact, for kernels without TCX: whoever takes them away or comes before them, they are put back. */
import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ClsactFilters } from '../../src/datapath/clsact-filters.js';
import { Precedence } from '../../src/datapath/precedence.js';
import { type Loss, RepairLedger } from '../../src/datapath/repair-ledger.js';
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
  ledger = new RepairLedger();
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
