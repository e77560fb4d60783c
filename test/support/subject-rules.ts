/** What the kernel has of each identity's rules, to compare before and after a change. */
import { Direction, PolicyKey } from '../../src/datapath/abi/generated.js';
import type { NodeState } from './node-state.js';

/** The entries of qn_policy that are in force, by the identity that they are the rules of. */
export function rulesBySubject({ maps }: Pick<NodeState, 'maps'>): Map<number, string[]> {
  const rules = new Map<number, string[]>();
  for (const entry of maps.policy ?? []) {
    const { subject } = keyOf(entry);
    rules.set(subject, [...(rules.get(subject) ?? []), entry]);
  }
  return rules;
}

/** Identities whose rules differ. */
export function subjectsChanged(before: Map<number, string[]>, after: Map<number, string[]>): number[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((subject) => before.get(subject)?.join() !== after.get(subject)?.join())
    .sort((left, right) => left - right);
}

/** Identities that the subject's rules of ingress name. */
export function ingressPeers(rules: Map<number, string[]>, subject: number): number[] {
  return (rules.get(subject) ?? [])
    .map(keyOf)
    .filter(({ direction }) => direction === Direction.INGRESS)
    .map(({ peer }) => peer);
}

function keyOf(entry: string): PolicyKey {
  return PolicyKey.decode(Buffer.from(entry.split(' ', 1)[0] ?? '', 'hex'));
}
