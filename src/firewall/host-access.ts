/** The setting host_access. */
import { laneOf } from './lanes.js';
import { ANY_PORT } from './ports.js';
import { HOST_ACCESS } from './precedence.js';
import type { RuleTerms } from './subject.js';

/** With `full`: the node reaches its containers, whatever policies say. */
export const HOST_ACCESS_RULE: RuleTerms = {
  ref: { kind: 'host-access' },
  lane: laneOf('ingress', HOST_ACCESS.tier, false),
  verdict: 'allow',
  precedence: HOST_ACCESS.precedence,
  ports: [ANY_PORT],
  ranges: [],
};
