/** Whose rules do not fit into the kernel: nothing of theirs passes until there is room. */
import { z } from 'zod';
import { identityId } from './identity.js';
import { dnsLabel, labels } from './names.js';

/** The settings that bound what is in force. */
export const POLICY_SIZES = ['policy_max', 'policy_cidrs_max', 'subjects_max'] as const;
export type PolicySize = (typeof POLICY_SIZES)[number];

/** So many entries of the table that each of them bounds. */
export type PolicyRoom = Readonly<Record<PolicySize, number>>;

/** Of very many identities that are cut off, so many are told. */
export const CUT_OFF_TOLD = 100;

export const cutOffBy = z
  .array(z.enum(POLICY_SIZES))
  .max(POLICY_SIZES.length)
  .describe('Settings that leave no room for the rules; none: the kernel itself had none');

export const cutOff = z
  .strictObject({
    identity: identityId,
    network: dnsLabel,
    namespace: dnsLabel,
    cut_off_by: cutOffBy,
  })
  .meta({ id: 'CutOff', description: 'An identity whose rules do not fit into the kernel' });
export type CutOff = z.infer<typeof cutOff>;

/** For those who may know the labels of everybody. */
export const labelledCutOff = cutOff
  .extend({ labels })
  .meta({ id: 'LabelledCutOff', description: 'An identity whose rules do not fit into the kernel' });
export type LabelledCutOff = z.infer<typeof labelledCutOff>;

/** What can be done about it. */
export function cutOffAdvice(settings: readonly PolicySize[]): string {
  const raise = settings.length === 0 ? '' : `, or raise ${settings.join(' and ')} and restart the node`;
  return `remove policies${raise}`;
}
