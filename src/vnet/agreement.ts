/** Whether a loaded program and the compiled policy say the same of a packet. Pure. */
import type { Decision } from '../firewall/lookup.js';
import { formatRuleRef } from '../firewall/rule-ref.js';
import { passes, type Sides } from '../firewall/sides.js';

/** A decision in the words of the programs: the side of the source is asked first, and may be the last one asked. */
export interface Judgement {
  /** Name of the drop reason; `NONE`: allowed. */
  readonly reason: string;
  /** Rules of the sides that were asked; missing: none decided. */
  readonly egress_rule?: string;
  readonly ingress_rule?: string;
}

/** What a program told. */
export interface Told extends Judgement {
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** There when the audited rules would have decided otherwise. */
  readonly audited?: Judgement;
}

/** What the compiled policy says, without the audited rules and with them. */
export interface Compiled {
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  readonly enforced: Sides;
  readonly audited: Sides;
}

export interface Disagreement {
  readonly program: unknown;
  readonly policy: unknown;
}

const POLICY_REASONS: ReadonlySet<string> = new Set([
  'NONE',
  'POLICY_MISSING',
  'POLICY_EGRESS',
  'POLICY_INGRESS',
  'POLICY_EGRESS_DENY',
  'POLICY_INGRESS_DENY',
]);

/**
 * How the two differ; undefined: they do not. Where a packet is dropped for what it is or where it goes, there is
 * nothing to compare: the policy was not asked. `compiled` is missing when one side is nobody that rules know.
 */
export function disagreement(told: Told, compiled: Compiled | undefined): Disagreement | undefined {
  if (!POLICY_REASONS.has(told.reason)) return undefined;
  const program = textOf(told, told.sourceIdentity, told.destinationIdentity, told.audited);
  const policy =
    compiled &&
    textOf(
      judgementOf(compiled.enforced),
      compiled.sourceIdentity,
      compiled.destinationIdentity,
      passes(compiled.enforced) === passes(compiled.audited) ? undefined : judgementOf(compiled.audited),
    );
  return JSON.stringify(program) === JSON.stringify(policy) ? undefined : { program, policy };
}

/** As a program tells it. */
export function judgementOf({ egress, ingress }: Sides): Judgement {
  const egressRule = egress?.entry && { egress_rule: formatRuleRef(egress.entry.rule) };
  if (egress !== undefined && egress.verdict !== 'allow') {
    return { reason: reasonOf(egress, 'EGRESS'), ...egressRule };
  }
  const ingressRule = ingress?.entry && { ingress_rule: formatRuleRef(ingress.entry.rule) };
  const reason = ingress === undefined || ingress.verdict === 'allow' ? 'NONE' : reasonOf(ingress, 'INGRESS');
  return { reason, ...egressRule, ...ingressRule };
}

function reasonOf({ entry, tier }: Decision, side: 'EGRESS' | 'INGRESS'): string {
  if (tier === undefined) return 'POLICY_MISSING';
  return entry === undefined ? `POLICY_${side}` : `POLICY_${side}_DENY`;
}

/** In one order of fields, so that equal ones are equal as text. */
function textOf(judgement: Judgement, source: number, destination: number, audited: Judgement | undefined) {
  const fields = ({ reason, egress_rule, ingress_rule }: Judgement) => ({
    reason,
    egress_rule,
    ingress_rule,
  });
  return { source, destination, ...fields(judgement), audited: audited && fields(audited) };
}
