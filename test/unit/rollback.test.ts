import { expect, it } from 'vitest';
import { Rollback } from '../../src/vnet/rollback.js';

it('takes back the last first, also what comes after a failure, which is told with what is left', async () => {
  const left: [string, unknown][] = [];
  const done: string[] = [];
  const rollback = new Rollback((error, what) => left.push([what, error]));
  const [early, late] = [new Error('early'), new Error('late')];
  rollback.add('a', () => done.push('a'));
  rollback.add('b', () => {
    throw late;
  });
  rollback.add('c', () => Promise.reject(early));
  rollback.add('d', async () => void done.push('d'));
  await rollback.run();
  expect(done).toEqual(['d', 'a']);
  expect(left).toEqual([
    ['c', early],
    ['b', late],
  ]);
  await rollback.run();
  expect(done).toEqual(['d', 'a']);
});
