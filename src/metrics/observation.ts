import type { Node } from '../vnet/contract.js';
import type { Collectors } from './collector.js';
import { METRICS } from './names.js';

/** Cause of the events that a reader of the API was too slow for. */
const API_READER = 'api_reader';

/** The connection table, what was lost on the way to an observer, what was put back, and readiness. */
export function collectObservation(
  collectors: Collectors,
  { observation }: Node,
  lostByApi: () => number,
): void {
  collectors.add(METRICS.connections, 'conntrack', (set) => set({}, observation.connections().used));
  collectors.add(METRICS.connectionsMax, 'conntrack', (set) => set({}, observation.connections().max));
  collectors.add(METRICS.translations, 'conntrack', (set) => set({}, observation.translations().used));
  collectors.add(METRICS.translationsMax, 'conntrack', (set) => set({}, observation.translations().max));
  collectors.add(METRICS.eventsLost, 'events', (set) => {
    for (const [cause, count] of Object.entries(observation.lostEvents())) set({ cause }, Number(count));
    set({ cause: API_READER }, lostByApi());
  });
  collectors.add(METRICS.repairs, 'links', (set) => {
    for (const { program, lost, count } of observation.repairs()) set({ program, lost }, count);
  });
  collectors.add(METRICS.preceded, 'links', (set) => {
    for (const { program, count } of observation.preceded()) set({ program }, count);
  });
  collectors.add(METRICS.ready, 'readiness', (set) => {
    for (const { name, ready } of observation.readiness().checks) set({ check: name }, ready ? 1 : 0);
  });
}
