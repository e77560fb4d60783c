/** A program that does not decide as the compiled policy says is found out, whatever they differ in. */
import { describe, expect, it } from 'vitest';
import type { Decision } from '../../src/firewall/lookup.js';
import type { RuleEntry } from '../../src/firewall/types.js';
import { type Compiled, disagreement, judgementOf, type Told } from '../../src/vnet/agreement.js';

function by(name: string, verdict: 'allow' | 'deny'): Decision {
  const rule = { kind: 'policy', namespace: 'default', name, direction: 'ingress', index: 0 } as const;
  return { verdict, tier: 'network-policy', isDefaultDeny: false, entry: { rule } as RuleEntry };
}

const ALLOWED = by('open', 'allow');
const DEFAULT: Decision = { verdict: 'deny', tier: 'network-policy', isDefaultDeny: true };
const MISSING: Decision = { verdict: 'deny', isDefaultDeny: false };
const OPEN = 'default/open ingress[0]';

const IDENTITIES = { sourceIdentity: 300, destinationIdentity: 301 };
const told: Told = { ...IDENTITIES, reason: 'NONE', egress_rule: OPEN, ingress_rule: OPEN };
const sides = { egress: ALLOWED, ingress: ALLOWED };
const compiled: Compiled = { ...IDENTITIES, enforced: sides, audited: sides };

describe('a decision in the words of the programs', () => {
  it.each([
    [
      'both allow',
      { egress: ALLOWED, ingress: ALLOWED },
      { reason: 'NONE', egress_rule: OPEN, ingress_rule: OPEN },
    ],
    ['the host has no side', { ingress: ALLOWED }, { reason: 'NONE', ingress_rule: OPEN }],
    ['egress denies first', { egress: DEFAULT, ingress: ALLOWED }, { reason: 'POLICY_EGRESS' }],
    [
      'a rule denies ingress',
      { egress: ALLOWED, ingress: by('shut', 'deny') },
      { reason: 'POLICY_INGRESS_DENY', egress_rule: OPEN, ingress_rule: 'default/shut ingress[0]' },
    ],
    ['a policy is not computed', { egress: MISSING }, { reason: 'POLICY_MISSING' }],
  ])('%s', (_name, decisions, expected) => {
    expect(judgementOf(decisions)).toEqual(expected);
  });
});

describe('program and policy', () => {
  it('agree when everything is the same', () => {
    expect(disagreement(told, compiled)).toBeUndefined();
  });

  it.each<[string, Told, Compiled | undefined]>([
    ['the verdict', { ...told, reason: 'POLICY_INGRESS' }, compiled],
    ['a rule', { ...told, ingress_rule: 'default/other ingress[0]' }, compiled],
    ['a rule that is missing', { ...IDENTITIES, reason: 'NONE', ingress_rule: OPEN }, compiled],
    ['who it is', { ...told, destinationIdentity: 2 }, compiled],
    ['whether somebody is known', told, undefined],
    ['the audit, which the program knows', { ...told, audited: { reason: 'POLICY_EGRESS' } }, compiled],
    ['the audit, which the policy knows', told, { ...compiled, audited: { ...sides, egress: DEFAULT } }],
  ])('differ in %s', (_name, program, policy) => {
    expect(disagreement(program, policy)).toMatchObject({ program: expect.anything() });
  });

  it('are not compared where the policy was not asked', () => {
    expect(disagreement({ ...told, reason: 'BAD_DESTINATION' }, compiled)).toBeUndefined();
  });
});
