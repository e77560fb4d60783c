/** What is asked of rules while others may be on their way: it is answered of those that are in force. */
import { compareText } from './rule-ref.js';
import type { Kept, SubjectView } from './subject-view.js';
import type { Direction, PolicyRef } from './types.js';

export class InForce {
  constructor(
    /** Of an identity; undefined: it has no rules. To be read before anything changes. */
    readonly view: (identity: number) => SubjectView | undefined,
    /** As it is now, for who reads it in turns. */
    readonly keep: () => Kept,
  ) {}

  /**
   * The policies that isolate the identity in that direction, by namespace and name: the enforced ones, with `audit`
   * the audited ones too. None: what no rule of that tier allows is for the tiers after it to say.
   */
  selectedBy(
    identity: number,
    direction: Direction,
    { audit = false }: { readonly audit?: boolean } = {},
  ): PolicyRef[] {
    return [...(this.view(identity)?.isolating() ?? [])]
      .filter((policy) => policy.isolates.has(direction) && (audit || !policy.audit))
      .map(({ ref }) => ref)
      .sort(
        (left, right) => compareText(left.namespace, right.namespace) || compareText(left.name, right.name),
      );
  }
}
