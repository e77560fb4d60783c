import { z } from 'zod';
import { CUT_OFF_TOLD, labelledCutOff } from '../model/cut-off.js';
import { policyChange } from '../model/policy-preview.js';
import { flag } from '../model/query.js';
import { flowEvent } from './flow-schema.js';

/** Answer of POST /policies?dry_run=true. */
export const policyPreview = z
  .strictObject({
    changes: z.array(policyChange),
    flows: z.array(flowEvent).describe('Recorded flows that were allowed and would have been dropped'),
    cut_off: z
      .array(labelledCutOff)
      .max(CUT_OFF_TOLD)
      .describe('Who would be cut off, because their rules do not fit into the kernel'),
    truncated: z.boolean().describe('There may be more of any'),
  })
  .meta({ id: 'PolicyPreview', description: 'What policies would change, were they applied' });

export const policyQuery = z.strictObject({
  dry_run: flag.describe('Change nothing; tell what would change'),
});
