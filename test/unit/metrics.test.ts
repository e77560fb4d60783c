import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMetrics, type Metrics } from '../../src/metrics/metrics.js';
import { METRIC_NAMES, METRICS, type MetricInfo } from '../../src/metrics/names.js';
import { type FakeApi, fakeApi } from '../support/fake-api.js';
import { FakeNode } from '../support/fake-node.js';
import { parseMetrics, valuesOf } from '../support/prometheus-text.js';

let node: FakeNode;
let metrics: Metrics;
let warnings: object[];
beforeEach(() => {
  node = new FakeNode();
  warnings = [];
  metrics = createMetrics({ node, version: '1.2.3', log: { warn: (fields) => void warnings.push(fields) } });
});

const scrape = async () => parseMetrics([...(await metrics.render())].join(''));

async function connectOne(containerId = 'web1') {
  if (node.networks.list().length === 0) {
    await node.networks.create({
      name: 'front',
      cidr: '10.1.0.0/16',
      driver: 'bridge',
      isolation_mode: 'full',
      peers: [],
      options: { multicast: false, broadcast: false, masquerade: true },
      labels: {},
    });
  }
  return node.endpoints.connect('front', {
    container_id: containerId,
    netns_path: '/proc/7/ns/net',
    interface_name: 'eth0',
    namespace: 'default',
    labels: {},
    ports: [],
  });
}

describe('a scrape', () => {
  it('is in the text format, with every metric of the list and no other of ours', async () => {
    await connectOne();
    metrics.requestDone({ method: 'GET', route: '/networks', status: 200, seconds: 0.01 });
    const { types } = await scrape();
    const ours = [...types].filter(([name]) => name.startsWith('quantum_'));
    const listed = Object.values(METRICS).map(({ name, type }) => [name, type]);
    expect(ours.sort()).toEqual(listed.sort());
  });

  it('has the labels of the list', async () => {
    const { id } = await connectOne();
    const sample = {
      endpoint_id: id,
      network: 'front',
      direction: 'egress',
      packets: 1n,
      bytes: 1n,
    } as const;
    node.traffic = [
      { ...sample, reason: 'NONE', audited: false },
      { ...sample, reason: 'POLICY_INGRESS', audited: true },
    ];
    metrics.requestDone({ method: 'GET', route: '/networks', status: 200, seconds: 0.01 });
    const { series } = await scrape();
    for (const { name, labels } of Object.values(METRICS) as MetricInfo[]) {
      const found = series.filter((entry) => entry.name.replace(/_(?:bucket|sum|count)$/, '') === name);
      for (const entry of found) {
        const given = Object.keys(entry.labels).filter((label) => label !== 'le');
        expect(given.sort(), name).toEqual([...labels].sort());
      }
    }
  });

  it('tells what the process needs, by the names that every client uses', async () => {
    const { types } = await scrape();
    expect([...types.keys()]).toEqual(
      expect.arrayContaining([
        'process_resident_memory_bytes',
        'process_cpu_seconds_total',
        'nodejs_eventloop_lag_seconds',
      ]),
    );
  });

  it('has what the node has at that moment', async () => {
    await connectOne();
    node.connectionCount = { used: 7, max: 100 };
    node.translationCount = { used: 5, max: 50 };
    node.lost = { ring_buffer: 3n };
    node.repairs = [{ program: 'leave_container', lost: 'pin', count: 4 }];
    node.isReady = false;
    metrics.flowsLost(2);
    const now = await scrape();
    expect(valuesOf(now, METRICS.endpoints)).toEqual([{ network: 'front', state: 'ready', value: 1 }]);
    expect(valuesOf(now, METRICS.networks)).toEqual([{ value: 1 }]);
    expect(valuesOf(now, METRICS.identities)).toEqual([{ value: 1 }]);
    expect(valuesOf(now, METRICS.namespaces)).toEqual([{ value: 1 }]);
    expect(valuesOf(now, METRICS.policies)).toEqual([{ value: 0 }]);
    expect(valuesOf(now, METRICS.connections)).toEqual([{ value: 7 }]);
    expect(valuesOf(now, METRICS.connectionsMax)).toEqual([{ value: 100 }]);
    expect(valuesOf(now, METRICS.translations)).toEqual([{ value: 5 }]);
    expect(valuesOf(now, METRICS.translationsMax)).toEqual([{ value: 50 }]);
    expect(valuesOf(now, METRICS.portMappings)).toEqual([{ network: 'front', value: 0 }]);
    expect(valuesOf(now, METRICS.services)).toEqual([{ value: 0 }]);
    expect(valuesOf(now, METRICS.serviceBackends)).toEqual([]);
    expect(valuesOf(now, METRICS.eventsLost)).toEqual([
      { cause: 'ring_buffer', value: 3 },
      { cause: 'api_reader', value: 2 },
    ]);
    expect(valuesOf(now, METRICS.repairs)).toEqual([{ program: 'leave_container', lost: 'pin', value: 4 }]);
    expect(valuesOf(now, METRICS.ready)).toContainEqual({ check: 'sync', value: 0 });
    expect(valuesOf(now, METRICS.build)).toEqual([
      { version: '1.2.3', node_version: process.version, value: 1 },
    ]);
  });

  it('forgets what is gone', async () => {
    await connectOne();
    await scrape();
    await node.endpoints.disconnect('front', 'web1');
    await node.networks.delete('front');
    expect(valuesOf(await scrape(), METRICS.endpoints)).toEqual([]);
  });
});

describe('traffic', () => {
  const sample = {
    network: 'front',
    direction: 'egress',
    reason: 'NONE',
    audited: false,
    packets: 5n,
    bytes: 500n,
  } as const;

  it('has container and interface of a live endpoint', async () => {
    const { id } = await connectOne();
    node.traffic = [
      { ...sample, endpoint_id: id },
      { ...sample, endpoint_id: id, reason: 'POLICY_DENIED', packets: 2n, bytes: 80n },
    ];
    const of = { network: 'front', direction: 'egress', container_id: 'web1', interface: 'eth0' };
    const now = await scrape();
    expect(valuesOf(now, METRICS.packets)).toEqual([
      { ...of, reason: 'NONE', value: 5 },
      { ...of, reason: 'POLICY_DENIED', value: 2 },
    ]);
    expect(valuesOf(now, METRICS.bytes)).toEqual([
      { ...of, reason: 'NONE', value: 500 },
      { ...of, reason: 'POLICY_DENIED', value: 80 },
    ]);
  });

  it('that only the audited policies deny is in metrics of its own, and in no other', async () => {
    const { id } = await connectOne();
    node.traffic = [
      { ...sample, endpoint_id: id },
      { ...sample, endpoint_id: id, reason: 'POLICY_INGRESS', audited: true, packets: 2n, bytes: 80n },
    ];
    const of = { network: 'front', direction: 'egress', container_id: 'web1', interface: 'eth0' };
    const now = await scrape();
    expect(valuesOf(now, METRICS.packets)).toEqual([{ ...of, reason: 'NONE', value: 5 }]);
    expect(valuesOf(now, METRICS.bytes)).toEqual([{ ...of, reason: 'NONE', value: 500 }]);
    const denied = { ...of, reason: 'POLICY_INGRESS' };
    expect(valuesOf(now, METRICS.auditDeniedPackets)).toEqual([{ ...denied, value: 2 }]);
    expect(valuesOf(now, METRICS.auditDeniedBytes)).toEqual([{ ...denied, value: 80 }]);
  });

  it('of endpoints that are gone is one series of their network, whoever the node says it was', async () => {
    node.traffic = [
      { ...sample, endpoint_id: 0 },
      { ...sample, endpoint_id: 99 },
    ];
    expect(valuesOf(await scrape(), METRICS.packets)).toEqual([
      { network: 'front', direction: 'egress', reason: 'NONE', container_id: '', interface: '', value: 10 },
    ]);
  });

  it('keeps counters exact that no floating point number can hold', async () => {
    const { id } = await connectOne();
    node.traffic = [{ ...sample, endpoint_id: id, bytes: 2n ** 63n + 1n }];
    expect([...(await metrics.render())].join('')).toContain(` ${2n ** 63n + 1n}\n`);
  });

  it('escapes what a label must not hold', async () => {
    node.traffic = [{ ...sample, endpoint_id: 0, reason: 'a"b\\c\nd' }];
    expect(valuesOf(await scrape(), METRICS.packets)).toMatchObject([{ reason: 'a\\"b\\\\c\\nd' }]);
  });

  it('of a thousand endpoints comes in pieces', async () => {
    for (let index = 0; index < 1000; index++) {
      const { id } = await connectOne(`c${index}`);
      node.traffic.push({ ...sample, endpoint_id: id });
    }
    const pieces = [...(await metrics.render())];
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThan(48 * 1024);
    expect(valuesOf(parseMetrics(pieces.join('')), METRICS.bytes)).toHaveLength(1000);
  });

  it('is read once for scrapes at the same time', async () => {
    let reads = 0;
    node.observation.traffic = async () => {
      reads += 1;
      return [];
    };
    await Promise.all([metrics.render(), metrics.render(), metrics.render()]);
    expect(reads).toBe(1);
    await metrics.render();
    expect(reads).toBe(2);
  });
});

describe('what cannot be read', () => {
  it('is missing, logged and counted; the rest is there', async () => {
    await connectOne();
    const broken = () => {
      throw new Error('no map');
    };
    Object.assign(node.observation, { traffic: async () => broken(), connections: broken });
    await scrape();
    const now = await scrape();
    expect(valuesOf(now, METRICS.packets)).toEqual([]);
    expect(valuesOf(now, METRICS.connections)).toEqual([]);
    expect(valuesOf(now, METRICS.endpoints)).toHaveLength(1);
    expect(valuesOf(now, METRICS.collectErrors)).toContainEqual({ collector: 'traffic', value: 2 });
    expect(warnings).toContainEqual(expect.objectContaining({ collector: 'conntrack' }));
  });
});

it('two nodes in one process have metrics of their own', async () => {
  const other = createMetrics({ node: new FakeNode(), version: '9', log: { warn: () => {} } });
  await connectOne();
  expect(valuesOf(await scrape(), METRICS.networks)).toEqual([{ value: 1 }]);
  expect(valuesOf(parseMetrics([...(await other.render())].join('')), METRICS.networks)).toEqual([
    { value: 0 },
  ]);
});

describe('GET /metrics', () => {
  let api: FakeApi;
  beforeEach(async () => {
    api = await fakeApi();
  });
  afterEach(() => api.close());

  it('is what Prometheus takes', async () => {
    const answer = await api.app.inject('/metrics');
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(parseMetrics(answer.body).types.size).toBeGreaterThan(METRIC_NAMES.length);
  });

  it('counts requests by route, so that callers cannot make up series', async () => {
    for (const name of ['a', 'b', 'c']) await api.app.inject(`/networks/${name}`);
    for (const name of ['a', 'b', 'c']) await api.app.inject(`/made-up/${name}`);
    await api.app.inject({ method: 'POST', url: '/networks' });
    const { series } = parseMetrics((await api.app.inject('/metrics')).body);
    const counts = series
      .filter(({ name }) => name === 'quantum_api_request_duration_seconds_count')
      .map(({ labels, value }) => ({ ...labels, value }));
    expect(counts).toEqual([
      { method: 'GET', route: '/networks/:name', status: '404', value: 3 },
      { method: 'GET', route: 'unknown', status: '404', value: 3 },
      { method: 'POST', route: '/networks', status: '400', value: 1 },
    ]);
  });
});
