/** Numbers that stand for rules in the kernel. The store keeps them, so that they mean the same after a restart. */

import type { RuleRef } from '../../firewall/types.js';
import type { Reader, Store, Transaction } from '../../store/store.js';
import { nextNumber, ruleKeys, rules, ruleText } from '../../store/tables.js';
import { stepping } from '../../work/steps.js';
import { inTurns } from '../../work/turns.js';
import { everyOne, inParts, partsOf } from './stored-numbers.js';

export class RuleNumbers {
  constructor(private readonly store: Store) {}

  /** The number of each rule; rules without one get one. The references of a rule are usually one object. */
  async of(refs: Iterable<RuleRef>): Promise<Map<RuleRef, number>> {
    const numbers = new Map<RuleRef, number>();
    const missing: RuleRef[] = [];
    await inTurns(
      stepping(new Set(refs), (ref) => {
        const known = this.store.get(ruleKeys, [ruleText(ref)]);
        if (known === undefined) missing.push(ref);
        else numbers.set(ref, known.cookie);
      }),
    );
    for (const part of partsOf(missing)) {
      await this.store.transaction((transaction) => {
        for (const ref of part) {
          const text = ruleText(ref);
          const cookie = transaction.get(ruleKeys, [text])?.cookie ?? nextNumber(transaction, 'rule');
          transaction.put(ruleKeys, [text], { cookie });
          transaction.put(rules, [cookie], { cookie, ref });
          numbers.set(ref, cookie);
        }
      });
    }
    return numbers;
  }

  /** Forgets the numbers of these rules. They are not given again, so nothing is mistaken for one of them. */
  forget(transaction: Transaction, refs: Iterable<RuleRef>): void {
    for (const ref of refs) {
      const text = ruleText(ref);
      const known = transaction.get(ruleKeys, [text]);
      if (known === undefined) continue;
      transaction.delete(rules, [known.cookie]);
      transaction.delete(ruleKeys, [text]);
    }
  }

  /** Forgets the numbers of all other rules. */
  async retain(refs: Iterable<RuleRef>): Promise<void> {
    const { store } = this;
    const kept = new Set<string>();
    await inTurns(stepping(new Set(refs), (ref) => kept.add(ruleText(ref))));
    const unused: RuleRef[] = [];
    await inTurns(stepping(everyOne(store, rules), ({ ref }) => kept.has(ruleText(ref)) || unused.push(ref)));
    await inParts(store, unused, (transaction, part) => this.forget(transaction, part));
  }
}

/** What a number in the kernel stands for. */
export function ruleOf(reader: Reader, number: number): RuleRef | undefined {
  return number === 0 ? undefined : reader.get(rules, [number])?.ref;
}
