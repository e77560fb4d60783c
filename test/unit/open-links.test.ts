import { expect, it } from 'vitest';
import { openLinksMax } from '../../src/datapath/hooks/open-links.js';

it.each([
  [524_288, 262_144],
  [1024, 512],
  [1000, 488],
  [512, 0],
  [64, 0],
  [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
])('of %i files that may be open links have %i: the rest is for everything else', (limit, links) => {
  expect(openLinksMax(limit)).toBe(links);
});
