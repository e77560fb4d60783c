import fc from 'fast-check';
import { expect, test } from 'vitest';
import { portKey, portMatches, portPrefix, portPrefixes } from '../../src/firewall/ports.js';

const range = fc
  .tuple(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }))
  .map(([left, right]) => [Math.min(left, right), Math.max(left, right)] as const);

test('the prefixes of a range match its ports and no others, each once', () => {
  fc.assert(
    fc.property(range, ([first, last]) => {
      const prefixes = portPrefixes(first, last);
      const matches = (port: number) =>
        prefixes.filter((prefix) => portPrefix(port, prefix.portBits) === prefix.port).length;
      for (const port of [first, last, Math.floor((first + last) / 2)]) expect(matches(port)).toBe(1);
      for (const port of [first - 1, last + 1]) if (port >= 0 && port <= 65535) expect(matches(port)).toBe(0);
      const covered = prefixes.reduce((sum, { portBits }) => sum + 2 ** (16 - portBits), 0);
      expect(covered).toBe(last - first + 1);
      expect(prefixes.length).toBeLessThanOrEqual(30);
      for (const { port, portBits } of prefixes) expect(portPrefix(port, portBits)).toBe(port);
    }),
  );
});

test.each([
  [80, 80, [[80, 16]]],
  [0, 65535, [[0, 0]]],
  [8000, 8003, [[8000, 14]]],
  [
    1,
    4,
    [
      [1, 16],
      [2, 15],
      [4, 16],
    ],
  ],
  [65534, 65535, [[65534, 15]]],
])('ports %i to %i are the prefixes %j', (first, last, prefixes) => {
  expect(portPrefixes(first, last).map(({ port, portBits }) => [port, portBits])).toEqual(prefixes);
});

test('no ports are everything; a port entry without a port is every port of its protocol', () => {
  const everything = [{ protocol: 0, port: 0, portBits: 0 }];
  expect(portMatches(undefined)).toEqual(everything);
  expect(portMatches([])).toEqual(everything);
  expect(portMatches([{ protocol: 'SCTP' }])).toEqual([{ protocol: 132, port: 0, portBits: 0 }]);
});

test('a port that is given twice matches once', () => {
  expect(
    portMatches([
      { protocol: 'TCP', port: 80 },
      { protocol: 'TCP', port: 80, endPort: 80 },
    ]),
  ).toHaveLength(1);
});

test('a key tells protocol, prefix and length apart', () => {
  const match = fc.record({
    protocol: fc.integer({ min: 0, max: 255 }),
    port: fc.integer({ min: 0, max: 65535 }),
    portBits: fc.integer({ min: 0, max: 16 }),
  });
  fc.assert(
    fc.property(match, match, (left, right) => {
      const same = JSON.stringify(left) === JSON.stringify(right);
      expect(portKey(left) === portKey(right)).toBe(same);
    }),
  );
});
