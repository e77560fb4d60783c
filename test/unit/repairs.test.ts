import { expect, it } from 'vitest';
import type { Repair } from '../../src/datapath/link-pins.js';
import { Repairs } from '../../src/vnet/repairs.js';

function scene(links: { problems?: string[]; isPrivate?: boolean } = {}) {
  let found: Repair[] = [];
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
      takeRepairs: () => found.splice(0),
      problems: () => links.problems ?? [],
      isPrivate: () => links.isPrivate ?? false,
    },
    log: { warn: write('warn'), error: write('error') },
  });
  /** What one look has found, and what it tells. */
  const look = (problems: string[], ...lost: Repair[]) => {
    found = lost;
    repairs.tell(problems);
    return told.splice(0);
  };
  return Object.assign(look, { warned });
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

it.each([true, false])('pins that end with the daemon are told of as such: %s', (isPrivate) => {
  const look = scene({ isPrivate });
  look([], { pin: 'a', program: 'from_container', lost: 'pin' });
  expect(look.warned).toEqual([
    expect.stringMatching(isPrivate ? /there again, .*Do not restart/ : /there again$/),
  ]);
});
