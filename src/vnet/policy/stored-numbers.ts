/** Numbers that stand for texts in the kernel. The store keeps them, so that they mean the same after a restart. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Key, Reader, Store, Table, Transaction } from '../../store/store.js';
import { type NumberTable, nextNumber } from '../../store/tables.js';
import { stepping } from '../../work/steps.js';
import { inTurns } from '../../work/turns.js';

export function numberOf(reader: Reader, table: NumberTable, text: string): number | undefined {
  return reader.get(table, [text])?.number;
}

/** The number of each text; those without one get one. */
export async function claimNumbers(
  store: Store,
  table: NumberTable,
  texts: Iterable<string>,
): Promise<Map<string, number>> {
  const numbers = new Map<string, number>();
  const missing = new Set<string>();
  await inTurns(
    stepping(texts, (text) => {
      const known = numberOf(store, table, text);
      if (known === undefined) missing.add(text);
      else numbers.set(text, known);
    }),
  );
  for (const part of partsOf([...missing])) {
    await store.transaction((transaction) => {
      for (const text of part) numbers.set(text, claimNumber(transaction, table, text));
    });
  }
  return numbers;
}

/** Most numbers that are given in one transaction, which others wait for: a few tens of milliseconds of work. */
const PART = 1000;

/** Of what needs numbers, as many at a time as are given in one transaction. */
export function* partsOf<T>(items: readonly T[]): Iterable<readonly T[]> {
  for (let first = 0; first < items.length; first += PART) yield items.slice(first, first + PART);
}

export function claimNumber(transaction: Transaction, table: NumberTable, text: string): number {
  const known = numberOf(transaction, table, text);
  if (known !== undefined) return known;
  const number = nextNumber(transaction, table.name);
  transaction.put(table, [text], { text, number });
  return number;
}

/** Forgets the numbers of these texts. They are not given again, so nothing is mistaken for one of them. */
export function forgetNumbersOf(transaction: Transaction, table: NumberTable, texts: Iterable<string>): void {
  for (const text of texts) transaction.delete(table, [text]);
}

/** Forgets the numbers of all other texts. */
export async function retainNumbers(
  store: Store,
  table: NumberTable,
  texts: Iterable<string>,
): Promise<void> {
  const kept = new Set<string>();
  await inTurns(stepping(texts, (text) => kept.add(text)));
  const unused: string[] = [];
  await inTurns(stepping(everyOne(store, table), ({ text }) => kept.has(text) || unused.push(text)));
  await inParts(store, unused, (transaction, part) => forgetNumbersOf(transaction, table, part));
}

/** Every record, in any order. */
export function everyOne<K extends Key, V>(reader: Reader, table: Table<K, V>): V[] {
  return reader.where(table, () => true);
}

/** Does with a few of them at a time what nobody waits for: what of it is lost with a crash is done at the next start. */
export async function inParts<T>(
  store: Store,
  things: readonly T[],
  act: (transaction: Transaction, part: readonly T[]) => void,
): Promise<void> {
  for (const [index, part] of [...partsOf(things)].entries()) {
    if (index > 0) await nextTurn();
    await store.stage((transaction) => act(transaction, part), 'soon');
  }
}
