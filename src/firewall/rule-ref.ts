/** The rules' textual form, and the order in which they claim a key that several of them give. */
import type { RuleRef } from './types.js';

/** "default/allow-web ingress[0]", "isolation peer of network n" or "host access"; stable, and unique per rule. */
export function formatRuleRef(rule: RuleRef): string {
  switch (rule.kind) {
    case 'policy':
      return `${rule.namespace}/${rule.name} ${rule.direction}[${rule.index}]`;
    case 'isolation':
      return `isolation ${rule.mode} of network ${rule.network}`;
    case 'host-access':
      return 'host access';
  }
}

const KINDS = ['policy', 'isolation', 'host-access'] as const satisfies readonly RuleRef['kind'][];

/** By (namespace, name, direction, index) in code unit order; what is no policy comes after those. 0: the same rule. */
export function compareRuleRefs(left: RuleRef, right: RuleRef): number {
  if (left.kind === 'policy' && right.kind === 'policy') {
    return (
      compareText(left.namespace, right.namespace) ||
      compareText(left.name, right.name) ||
      compareText(left.direction, right.direction) ||
      left.index - right.index
    );
  }
  if (left.kind === 'isolation' && right.kind === 'isolation') {
    return compareText(left.network, right.network) || compareText(left.mode, right.mode);
  }
  return KINDS.indexOf(left.kind) - KINDS.indexOf(right.kind);
}

/** Code unit order: the same on every node, whatever its locale. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
