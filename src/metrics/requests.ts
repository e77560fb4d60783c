import { Histogram, type Registry } from 'prom-client';
import { METRICS } from './names.js';

/** From an answer out of memory to a container that waits for the kernel, seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** A request that has been answered; `route` is a path with its parameters unfilled. */
export interface RequestDone {
  method: string;
  route: string;
  status: number;
  seconds: number;
}

/** Durations of the API's requests. */
export function requestDurations(registry: Registry): (request: RequestDone) => void {
  const { name, help, labels } = METRICS.requests;
  const histogram = new Histogram({
    name,
    help,
    labelNames: [...labels],
    buckets: BUCKETS,
    registers: [registry],
  });
  return ({ method, route, status, seconds }) => histogram.observe({ method, route, status }, seconds);
}
