/** Of endpoints whose buckets are empty. */
import type { Row } from '../../support/row.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import { addressOf, FAMILIES, WORLD } from '../../support/scenario-parties.js';

export const bandwidthRows: Row[] = FAMILIES.flatMap((family): Row[] => [
  {
    name: `ip${family}-sent_with_an_empty_bucket-BANDWIDTH_EGRESS`,
    before: (s) => s.limit(s.a, 'egress', { burst: 0 }),
    frame: (s) => outgoing(s.a, addressOf(s.b, family)).udp(),
  },
  {
    name: `ip${family}-received_with_a_full_queue-BANDWIDTH_INGRESS`,
    from: (s) => s.outside,
    before: (s) => s.limit(s.a, 'ingress', { burst: 0 }),
    frame: (s) => incoming(s.a, WORLD[family]).udp(),
  },
]);
