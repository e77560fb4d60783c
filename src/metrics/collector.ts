/** The frame of every collector: values are read when somebody asks, and a group that cannot be read breaks no other. */
import { Counter, Gauge, type Registry } from 'prom-client';
import { METRICS, type MetricInfo } from './names.js';

/** Something that tells of trouble; pino does. */
export interface Log {
  warn(fields: object, message: string): void;
}

/** Sets the values of a metric as they are now; what is not set is gone. */
export type Sample = (labels: Record<string, string>, value: number) => void;

export class Collectors {
  readonly #registry: Registry;
  readonly #log: Log;
  readonly #errors: Counter;

  constructor(registry: Registry, log: Log) {
    this.#registry = registry;
    this.#log = log;
    this.#errors = counterOf(registry, METRICS.collectErrors);
  }

  /** Counts and logs that a group of metrics could not be read. */
  failed(collector: string, error: unknown): undefined {
    this.#errors.inc({ collector });
    this.#log.warn({ err: error, collector }, 'metrics could not be read');
  }

  /** A gauge or counter whose values `read` tells at the moment of a scrape. */
  add(metric: MetricInfo, collector: string, read: (sample: Sample) => void | Promise<void>): void {
    const collectInto = async (target: Counter | Gauge): Promise<void> => {
      const samples: [Record<string, string>, number][] = [];
      try {
        await read((labels, value) => samples.push([labels, value]));
      } catch (error) {
        samples.length = 0;
        this.failed(collector, error);
      }
      // In one turn, so that no other scrape sees the half of it.
      target.reset();
      if (metric.labels.length === 0) target.remove({});
      for (const [labels, value] of samples) target.inc(labels, value);
    };
    const { name, help } = metric;
    const base = { name, help, labelNames: [...metric.labels], registers: [this.#registry] };
    if (metric.type === 'counter') {
      new Counter({
        ...base,
        collect() {
          return collectInto(this);
        },
      });
    } else {
      new Gauge({
        ...base,
        collect() {
          return collectInto(this);
        },
      });
    }
  }
}

/** A counter that is counted up where things happen. */
export function counterOf(registry: Registry, { name, help, labels }: MetricInfo): Counter {
  return new Counter({ name, help, labelNames: [...labels], registers: [registry] });
}

/** Lets those who ask while an answer is on its way share it. */
export function shared<Result>(read: () => Promise<Result>): () => Promise<Result> {
  let pending: Promise<Result> | undefined;
  return () => {
    pending ??= read().finally(() => {
      pending = undefined;
    });
    return pending;
  };
}
