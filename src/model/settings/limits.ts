/** What endpoints, and whoever is outside, may ask of the node. */
import { integer } from './values.js';

export const limitSettings = {
  inbound_flows: integer(
    'Connections from outside that may be open at once, to all endpoints together: they must not fill the table, of which they get half at most if `conntrack_max` is 0; 0: no limit',
    131072,
    0,
    0x7fffffff,
  ),
  flows_per_endpoint: integer(
    'Connections that one endpoint may have open at once, an eighth of the table at most if `conntrack_max` is 0; 0: no limit',
    32768,
    0,
    16777216,
  ),
  inbound_new_per_second: integer(
    'New connections from outside that one endpoint takes each second; 0: no limit',
    10000,
    0,
    10000000,
  ),
  inbound_new_burst: integer(
    'New connections from outside that one endpoint takes at once',
    10000,
    1,
    10000000,
  ),
  events_per_second: integer('Events an endpoint may cause each second', 100, 1, 1000000),
  events_burst: integer('Events an endpoint may cause at once', 500, 1, 1000000),
};
