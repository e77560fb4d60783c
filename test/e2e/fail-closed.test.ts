/** Fail closed: what the programs do not know, or have no room for, does not pass, and has a reason. */
import { afterEach, describe, expect, it } from 'vitest';
import { u32 } from '../../src/datapath/abi/codec.js';
import { SubjectKey } from '../../src/datapath/abi/generated.js';
import { BpfMap } from '../../src/native/bpf.js';
import { type Container, FAMILIES, lastWords, unlike } from '../support/containers.js';
import { errorOf, policyObject } from '../support/rest.js';
import { useSite } from '../support/site.js';

/** Small tables, so that they fill. */
const FLOWS_PER_ENDPOINT = 700;
const ENDPOINTS = 16;
const site = useSite({
  settings: {
    conntrack_max: 1024,
    flows_per_endpoint: FLOWS_PER_ENDPOINT,
    endpoints_max: ENDPOINTS,
    policy_max: 1024,
  },
});

/** Puts back what a test has taken out of the maps. */
const repairs: (() => void)[] = [];
afterEach(() => {
  for (const repair of repairs.splice(0).reverse()) repair();
  // Connections of endpoints that are gone are looked for every few seconds only.
  using connections = BpfMap.fromPin(`${site().daemon.bpffs}/maps/qn_conntrack`);
  for (const key of [...connections.keys()]) connections.delete(key);
});

/** Takes an entry out of a pinned map for the rest of the test. */
function takeOut(name: string, key: Uint8Array): void {
  const map = BpfMap.fromPin(`${site().daemon.bpffs}/maps/${name}`);
  const value = map.get(key);
  if (value === undefined) throw new Error(`${name} has no such entry`);
  map.delete(key);
  repairs.push(() => {
    map.set(key, value);
    map.close();
  });
}

const ifindexOf = (container: Container) =>
  site().host.netns.net.link(container.endpoint.host_interface)?.index ?? 0;

async function scene(): Promise<[Container, Container]> {
  await site().network('blue', { isolation_mode: 'none' });
  const make = (id: string) => site().container(id, 'blue', { labels: { app: id } });
  return [await make('a'), await make('b')];
}

describe.each(FAMILIES)('blocked, IPv%i:', (family) => {
  it('an interface that belongs to no known endpoint, in both directions', async () => {
    const [a, b] = await scene();
    await site().host.serve('tcp:80', 'udp:53');
    takeOut('qn_endpoints', u32.encode(ifindexOf(a)));
    const pairs = [
      [a, b],
      [b, a],
      [a, a.gateway(family)],
      [site().host, a],
    ] as const;
    expect(await unlike('blocked', family, ...pairs)).toEqual([]);
    const reasons = async () => (await site().rest.flows('&verdict=dropped')).map(({ reason }) => reason);
    await expect.poll(reasons).toContain('UNKNOWN_ENDPOINT');
  });

  it('an identity whose policy is not computed', async () => {
    const [a, b] = await scene();
    takeOut('qn_policy_subjects', SubjectKey.encode({ identity: b.endpoint.identity }));
    expect(await unlike('blocked', family, [a, b], [b, a], [site().host, b])).toEqual([]);
    expect(await site().packets({ container: a, reason: 'POLICY_MISSING' })).toBeGreaterThan(0);
    expect(await site().packets({ container: b, reason: 'POLICY_MISSING' })).toBeGreaterThan(0);
  });

  it('an address of the network that nobody has', async () => {
    const [a] = await scene();
    expect(await unlike('blocked', family, [a, a.address(family).replace(/.$/, '9')])).toEqual([]);
    expect(await site().packets({ container: a, reason: 'NO_SUCH_ENDPOINT' })).toBeGreaterThan(0);
  });

  it('more connections than one endpoint may have; the others go on', async () => {
    const [a, b] = await scene();
    const other = await site().container('other', 'blue');
    using stream = await a.stream(b, family);
    const storm = await a.start('hostile', 'sockets', b.address(family), '81').ready();
    await expect
      .poll(() => site().packets({ container: a, reason: 'FLOW_LIMIT' }), { timeout: 20_000 })
      .toBeGreaterThan(10);
    expect(await stream.echoes()).toBe(true);
    expect(await unlike('open', family, [other, b])).toEqual([]);
    await lastWords(storm);
  });

  it('new connections when the table is full; those that are open go on', async () => {
    const [a, b] = await scene();
    const second = await site().container('second', 'blue');
    using stream = await a.stream(b, family);
    const storms = [
      await a.start('hostile', 'sockets', b.address(family), '81').ready(),
      await second.start('hostile', 'sockets', b.address(family), '81').ready(),
    ];
    await expect
      .poll(() => site().packets({ container: second, reason: 'CONNTRACK_FULL' }), { timeout: 20_000 })
      .toBeGreaterThan(10);
    expect(await stream.echoes()).toBe(true);
    await Promise.all(storms.map(lastWords));
  });
});

describe('no room for a change: it is not made, and what was in force stays', () => {
  const capacity = { status: 503, code: 'INSUFFICIENT_CAPACITY' };

  it('one endpoint more than the node may have', async () => {
    const [a, b] = await scene();
    for (let number = 2; number < ENDPOINTS; number++) await site().bare(`c${number}`).connect('blue');
    const before = await site().state();
    const more = site().bare('more');
    for (let round = 0; round < 3; round++) {
      const body = { container_id: 'more', netns_path: more.netns.path };
      const answer = await site().rest.call('POST', '/networks/blue/containers', body);
      expect({ status: answer.status, code: errorOf(answer).code }).toEqual(capacity);
      expect(more.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
      expect(await site().state()).toEqual(before);
    }
    expect(await unlike('open', 4, [a, b])).toEqual([]);
    await b.disconnect();
    await more.connect('blue');
    expect(await unlike('open', 4, [more, a])).toEqual([]);
  });

  it('one policy more than its table holds', async () => {
    const [a, b] = await scene();
    // Odd ports share no prefix: each is an entry of its own, for each endpoint that is selected.
    const ports = (from: number) => Array.from({ length: 100 }, (_, index) => ({ port: from + 2 * index }));
    const spec = (rules: number) => ({
      podSelector: {},
      ingress: Array.from({ length: rules }, (_, index) => ({ ports: ports(1001 + 200 * index) })),
    });
    await site().rest.apply({ name: 'ports', spec: spec(2) });
    const before = await site().state();
    for (const name of ['ports', 'more-ports']) {
      const answer = await site().rest.call('POST', '/policies', policyObject({ name, spec: spec(9) }));
      expect({ status: answer.status, code: errorOf(answer).code }).toEqual(capacity);
      expect(await site().state()).toEqual(before);
    }
    expect(await a.dial(b, { port: 1003 })).toBe('refused');
    expect(await a.dial(b, { port: 2001, expected: 'blocked' })).toBe('blocked');
    // An endpoint whose rules do not fit is not connected.
    for (let number = 0; number < 4; number++) {
      const container = site().bare(`full-${number}`);
      const body = {
        container_id: container.id,
        netns_path: container.netns.path,
        labels: { n: `${number}` },
      };
      const answer = await site().rest.call('POST', '/networks/blue/containers', body);
      expect([201, 503]).toContain(answer.status);
      if (answer.status === 201) continue;
      expect(errorOf(answer).code).toBe(capacity.code);
      expect(container.netns.net.link('eth0')).toBeUndefined();
      return;
    }
    expect.unreachable('there was room for everybody');
  });
});
