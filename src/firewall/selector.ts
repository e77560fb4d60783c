/** Label selectors of Kubernetes, compiled. */

import type { LabelSelector, SelectorOperator } from '../model/kubernetes.js';
import type { Labels } from '../model/names.js';

/** Labels for matching: a Map, because a plain object has `constructor` and the like. */
export type LabelMap = ReadonlyMap<string, string>;

export interface Requirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  /** Empty with Exists and DoesNotExist. */
  readonly values: ReadonlySet<string>;
}

/** All requirements must hold; none: everything matches. */
export class Selector {
  static readonly everything = new Selector([]);

  private constructor(readonly requirements: readonly Requirement[]) {}

  static from(selector: LabelSelector): Selector {
    const requirements: Requirement[] = [
      ...Object.entries(selector.matchLabels ?? {}).map(
        ([key, value]): Requirement => ({ key, operator: 'In', values: new Set([value]) }),
      ),
      ...(selector.matchExpressions ?? []).map(
        ({ key, operator, values }): Requirement => ({ key, operator, values: new Set(values) }),
      ),
    ];
    return requirements.length === 0 ? Selector.everything : new Selector(requirements);
  }

  get matchesEverything(): boolean {
    return this.requirements.length === 0;
  }

  matches(labels: LabelMap): boolean {
    return this.requirements.every((requirement) => holds(requirement, labels.get(requirement.key)));
  }
}

export function labelMap(labels: Labels): LabelMap {
  return new Map(Object.entries(labels));
}

/** NotIn holds for a label that is missing, as in Kubernetes. */
function holds({ operator, values }: Requirement, value: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.has(value);
    case 'NotIn':
      return value === undefined || !values.has(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}
