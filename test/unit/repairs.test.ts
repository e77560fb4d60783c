import { expect, it } from 'vitest';
import type { Preceded } from '../../src/datapath/hooks/precedence.js';
import type { Repair } from '../../src/datapath/hooks/repair-ledger.js';
import { Repairs } from '../../src/vnet/repairs.js';

function scene(
  links: {
    problems?: string[];
    isPrivate?: boolean;
    preceded?: () => Preceded[];
    spares?: string[];
    recurring?: { pin: string; times: number }[];
  } = {},
) {
  let found: Repair[] = [];
  const time = { ms: 0 };
  const told: string[] = [];
  const warned: string[] = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void => {
      told.push(`${level} ${JSON.stringify(fields)}`);
      if (level === 'warn') warned.push(message);
    };
  const repairs = new Repairs({
    links: {
      problems: () => links.problems ?? [],
      isPrivate: () => links.isPrivate ?? false,
    },
    repairs: { take: () => found.splice(0), recurring: () => links.recurring ?? [] },
    now: () => time.ms,
    precedence: { list: () => links.preceded?.() ?? [] },
    spares: { problems: () => links.spares ?? [] },
    log: { warn: write('warn'), error: write('error') },
  });
  /** What one look has found, and what it tells. */
  const look = (problems: string[], ...lost: Repair[]) => {
    found = lost;
    repairs.tell(problems);
    return told.splice(0);
  };
  return Object.assign(look, { warned, time, problems: () => repairs.problems() });
}

it('pins alone are told of as less than programs', () => {
  const look = scene();
  expect(look([])).toEqual([]);
  expect(
    look(
      [],
      { pin: 'a', program: 'from_container', lost: 'pin' },
      { pin: 'b', program: 'to_container', lost: 'link' },
      { pin: 'c', program: 'from_uplink', lost: 'program' },
    ),
  ).toEqual(['error {"pins":["b","c"]}', 'warn {"pins":["a"]}']);
  expect(look([])).toEqual([]);
});

it('what cannot be put back is told once, and again when it was well meanwhile', () => {
  const look = scene();
  const told = ['error {"problems":["x"]}'];
  expect(look(['x'])).toEqual(told);
  expect(look(['x'])).toEqual([]);
  expect(look(['x', 'y'])).toEqual(['error {"problems":["x","y"]}']);
  expect(look([])).toEqual([]);
  expect(look(['x'])).toEqual(told);
});

it('links that could not be pinned are told of with the others', () => {
  const look = scene({ problems: ['y'] });
  expect(look(['x'])).toEqual(['error {"problems":["x","y"]}']);
  expect(look(['x'])).toEqual([]);
});

it('who stands before ours is told of once, and so is that we have gone before them', () => {
  const by = [{ id: 7, name: 'other' }];
  let preceded: Preceded[] = [{ pin: 'a', program: 'from_container', by }];
  const look = scene({ preceded: () => preceded, spares: ['z'] });
  const where = 'error {"programs":[{"pin":"a","in_front":[{"id":7,"name":"other"}]}]}';
  expect(look([])).toEqual([where, 'error {"problems":["z"]}']);
  expect(look([])).toEqual([]);
  preceded = [];
  expect(look([], { pin: 'a', program: 'from_container', lost: 'position', by })).toEqual([where]);
  expect(look([])).toEqual([]);
});

it.each([true, false])('pins that end with the daemon are told of as such: %s', (isPrivate) => {
  const look = scene({ isPrivate });
  look([], { pin: 'a', program: 'from_container', lost: 'pin' });
  expect(look.warned).toEqual([
    expect.stringMatching(isPrivate ? /there again, .*Do not restart/ : /there again$/),
  ]);
});

it('who takes programs off in a loop gets few lines, and each pin is in one', () => {
  const look = scene();
  let lines = 0;
  for (; look.time.ms < 60_000; look.time.ms += 500)
    lines += look([], { pin: `p${look.time.ms % 1500}`, program: 'to_container', lost: 'link' }).length;
  expect(lines).toBe(5);
  expect(look([])).toEqual([expect.stringMatching(/"p\d+","p\d+","p\d+"/)]);
});

it('however many are behind others, and however these change, one short line a minute tells', () => {
  let ids = 0;
  const at = (count: number, name = 'other'): Preceded[] =>
    Array.from({ length: count }, (_, pin) => ({
      pin: `p${pin}`,
      program: 'from_container',
      by: [{ id: ++ids, name }],
    }));
  let preceded = at(900);
  const look = scene({ preceded: () => preceded });
  const [line = '', ...others] = look([]);
  expect(others).toEqual([]);
  expect(JSON.parse(line.slice('error '.length))).toMatchObject({ programs: { length: 16 }, more: 884 });
  for (look.time.ms = 500; look.time.ms < 300_000; look.time.ms += 500) {
    preceded = at(800 + ((look.time.ms / 500) % 50));
    expect(look([])).toEqual([]);
  }
  preceded = at(20);
  expect(look([])).toHaveLength(1);
  preceded = at(20, 'new');
  expect(look([])).toEqual([]);
  look.time.ms += 60_000;
  expect(look([])).toHaveLength(1);
});

it('what is taken off again and again is a problem that can be asked for', () => {
  const recurring = [{ pin: 'clsact-egress-7', times: 3 }];
  const look = scene({ recurring });
  expect(look(['x'])).toEqual(['error {"problems":["x"]}']);
  expect(look.problems()).toEqual(['x', expect.stringContaining('clsact-egress-7 is taken off')]);
});
