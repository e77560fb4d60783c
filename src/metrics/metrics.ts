/** The metrics of a node, in a registry of their own. */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Node } from '../vnet/contract.js';
import { Collectors, type Log, shared } from './collector.js';
import { collectInventory } from './inventory.js';
import { METRICS } from './names.js';
import { collectObservation } from './observation.js';
import { type RequestDone, requestDurations } from './requests.js';
import { trafficReader, trafficText } from './traffic.js';

/** How often the delay of the event loop is looked at: a finer look would wake an idle daemon a hundred times a second. */
const LOOP_DELAY_PRECISION_MS = 100;

export interface MetricsOptions {
  node: Node;
  /** Version of the daemon. */
  version: string;
  log: Log;
}

export interface Metrics {
  readonly contentType: string;
  /** The text of a scrape, in pieces. Scrapes at the same time share one look at the node. */
  render(): Promise<Iterable<string>>;
  requestDone(request: RequestDone): void;
  flowsLost(count: number): void;
}

/**
 * Metrics of ours begin with `quantum_`. Those of the process (`process_*`, `nodejs_*`) keep the names that every
 * Prometheus client gives them, so that ready-made dashboards and alerts find them.
 */
export function createMetrics({ node, version, log }: MetricsOptions): Metrics {
  const registry = new Registry();
  const collectors = new Collectors(registry, log);
  let flowsLost = 0;
  collectInventory(collectors, node);
  collectObservation(collectors, node, () => flowsLost);
  collectors.add(METRICS.build, 'build', (set) => set({ version, node_version: process.version }, 1));
  const requestDone = requestDurations(registry);
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_DELAY_PRECISION_MS });

  const readTraffic = trafficReader(node);
  const registryText = shared(() => registry.metrics());
  return {
    contentType: registry.contentType,
    render: async () => {
      const traffic = await readTraffic().catch((error: unknown) => collectors.failed('traffic', error));
      const text = await registryText();
      return pieces(text, traffic === undefined ? [] : trafficText(traffic));
    },
    requestDone,
    flowsLost: (count) => {
      flowsLost += count;
    },
  };
}

function* pieces(first: string, rest: Iterable<string>): Generator<string> {
  yield first;
  yield* rest;
}
