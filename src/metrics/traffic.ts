/**
 * Packets and bytes. These have a series for each endpoint, direction and reason, so their text is written as it is
 * read: kept as objects of the client library, those of a thousand endpoints take more memory than the whole daemon.
 */
import type { Endpoint } from '../model/endpoint.js';
import type { Node, TrafficSample } from '../vnet/contract.js';
import { shared } from './collector.js';
import { METRICS, type MetricInfo } from './names.js';

/** Characters of a piece of text. */
const PIECE = 32 * 1024;

/** A look at the counters of the kernel, with the endpoints that they belong to. */
interface Snapshot {
  samples: readonly TrafficSample[];
  endpoints: ReadonlyMap<number, Endpoint>;
}

/** Reads the counters; those who ask while that is under way share the result. */
export function trafficReader(node: Node): () => Promise<Snapshot> {
  return shared(async () => {
    const samples = await node.observation.traffic();
    const endpoints = new Map(node.endpoints.list().map((endpoint) => [endpoint.id, endpoint]));
    return { samples, endpoints };
  });
}

/** The text of the metrics, piece by piece. What the audit alone denies is in metrics of its own. */
export function* trafficText({ samples, endpoints }: Snapshot): Generator<string> {
  const judged = { samples: samples.filter(({ audited }) => !audited), endpoints };
  yield* family(METRICS.packets, judged, 'packets');
  yield* family(METRICS.bytes, judged, 'bytes');
  const audited = { samples: samples.filter((sample) => sample.audited), endpoints };
  yield* family(METRICS.auditDeniedPackets, audited, 'packets');
  yield* family(METRICS.auditDeniedBytes, audited, 'bytes');
}

function* family(metric: MetricInfo, { samples, endpoints }: Snapshot, value: 'packets' | 'bytes') {
  let text = `# HELP ${metric.name} ${metric.help}\n# TYPE ${metric.name} ${metric.type}\n`;
  // A series may be there once: what the node tells of endpoints that are not known any more is summed.
  const gone = new Map<string, bigint>();
  for (const sample of samples) {
    const endpoint = endpoints.get(sample.endpoint_id);
    if (endpoint === undefined) {
      const series = seriesOf(metric, sample);
      gone.set(series, (gone.get(series) ?? 0n) + sample[value]);
      continue;
    }
    text += `${seriesOf(metric, sample, endpoint)} ${sample[value]}\n`;
    if (text.length < PIECE) continue;
    yield text;
    text = '';
  }
  for (const [series, sum] of gone) text += `${series} ${sum}\n`;
  yield text;
}

/** Endpoints that are gone count for their network, with empty container_id and interface. */
function seriesOf({ name }: MetricInfo, sample: TrafficSample, endpoint?: Endpoint): string {
  const { network, direction, reason } = sample;
  const { container_id = '', interface_name = '' } = endpoint ?? {};
  const where = `container_id="${escaped(container_id)}",interface="${escaped(interface_name)}"`;
  return `${name}{network="${escaped(network)}",direction="${direction}",reason="${escaped(reason)}",${where}}`;
}

function escaped(value: string): string {
  return /["\\\n]/.test(value) ? value.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n') : value;
}
