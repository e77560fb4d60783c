/** Who is cut off because their rules do not fit into the kernel, in words. */
import { CUT_OFF_TOLD, cutOffAdvice, type LabelledCutOff, POLICY_SIZES } from '../../model/cut-off.js';
import type { PolicyState } from '../../model/health.js';
import type { Reader } from '../../store/store.js';
import { identities } from '../../store/tables.js';
import type { CutOffBy } from './admission.js';

/** The first of them. */
export function cutOffsTold(reader: Reader, cutOff: CutOffBy): LabelledCutOff[] {
  return [...cutOff]
    .sort(([left], [right]) => left - right)
    .slice(0, CUT_OFF_TOLD)
    .flatMap(([id, settings]) => {
      const identity = reader.get(identities, [id]);
      if (identity === undefined) return [];
      const { network, namespace, labels } = identity;
      return { identity: id, network, namespace, labels, cut_off_by: [...settings] };
    });
}

/** Without labels, which are not for everybody who may ask for it. Undefined: all policies are in force. */
export function policyState(reader: Reader, cutOff: CutOffBy): PolicyState | undefined {
  if (cutOff.size === 0) return undefined;
  const lacking = new Set([...cutOff.values()].flat());
  const advice = cutOffAdvice(POLICY_SIZES.filter((size) => lacking.has(size)));
  return {
    identities_cut_off: cutOff.size,
    cut_off: cutOffsTold(reader, cutOff).map(({ labels: _, ...rest }) => rest),
    message: `the recorded policies do not fit into the kernel: ${advice}; containers whose policy does not fit reach nobody meanwhile, and nobody reaches them`,
  };
}
