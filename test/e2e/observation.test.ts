/** What the node tells of its verdicts: counters that match the packets sent, and flows that name who and why. */
import { describe, expect, it } from 'vitest';
import type { FlowEvent } from '../../src/vnet/contract.js';
import { type Container, FAMILIES, type Family, unlike } from '../support/containers.js';
import { packet } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** UDP of a container, honest but for what `fields` say. */
function datagram(
  from: Container,
  to: Container,
  family: Family,
  port: number,
  source = from.address(family),
) {
  return packet()
    .ethernet({ source: from.endpoint.mac_address, destination: site().gatewayMac(from) })
    .ip({ source, destination: to.address(family) })
    .udp({ sourcePort: 1234, destinationPort: port })
    .payload(58);
}

async function flow(isWanted: (event: FlowEvent) => boolean, query = ''): Promise<FlowEvent> {
  let found: FlowEvent | undefined;
  await expect
    .poll(
      async () => {
        found = (await site().rest.flows(query)).find(isWanted);
        return found;
      },
      { timeout: 5000 },
    )
    .toBeDefined();
  if (found === undefined) throw new Error('no such flow');
  return found;
}

describe.each(FAMILIES)('counters, IPv%i:', (family) => {
  it('match the packets sent, by reason, direction and endpoint', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    await site().network('red');
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    const [c, d] = [await site().container('c', 'red'), await site().container('d', 'red')];
    const repeat = (frame: Uint8Array, count: number) => Array<Uint8Array>(count).fill(frame);
    await a.sendFrames([
      ...repeat(datagram(a, b, family, 9).bytes(), 7),
      ...repeat(datagram(a, b, family, 9, b.address(family)).bytes(), 5),
      ...repeat(datagram(a, c, family, 9).bytes(), 3),
    ]);
    await c.sendFrames(repeat(datagram(c, d, family, 9).bytes(), 4));
    const count = (container: Container, direction: 'egress' | 'ingress', reason: string) =>
      site().packets({ container, direction, reason });
    await expect.poll(() => count(a, 'egress', 'SPOOFED_IP')).toBe(5);
    await expect.poll(() => count(a, 'egress', 'POLICY_EGRESS')).toBe(3);
    await expect.poll(() => count(c, 'egress', 'POLICY_EGRESS')).toBe(4);
    // b answers that nobody listens, once asked where a is.
    await expect.poll(() => count(a, 'egress', 'NONE')).toBeGreaterThanOrEqual(7);
    for (const other of [b, d]) expect(await count(other, 'egress', 'SPOOFED_IP')).toBe(0);
    const { text } = await site().rest.call('GET', '/metrics');
    const bytes = /quantum_bytes_total\{.*reason="SPOOFED_IP",container_id="a".*\} ([0-9]+)/.exec(text)?.[1];
    expect(Number(bytes)).toBe(5 * datagram(a, b, family, 9).bytes().length);
  });

  it('of what the host sends stand at the receiver, as ingress', async () => {
    await site().network('blue');
    const a = await site().container('a', 'blue');
    for (let number = 0; number < 3; number++) {
      await site().host.dial(a, { family, protocol: 'udp', expected: 'blocked' });
    }
    expect(await site().packets({ container: a, direction: 'ingress', reason: 'POLICY_INGRESS' })).toBe(3);
  });

  it('of a container that is gone stay in the sums of its network', async () => {
    await site().network(`counted-${family}`, { isolation_mode: 'none' });
    const network = `counted-${family}`;
    const [a, b] = [await site().container('a', network), await site().container('b', network)];
    await a.sendFrames(Array<Uint8Array>(6).fill(datagram(a, b, family, 9, b.address(family)).bytes()));
    const spoofed = { network, reason: 'SPOOFED_IP' };
    await expect.poll(() => site().packets(spoofed)).toBe(6);
    await a.disconnect();
    // Through the moment when they leave the kernel, no scrape shows less.
    for (let look = 0; look < 30; look++) expect(await site().packets(spoofed)).toBe(6);
    expect(await site().packets({ ...spoofed, container: a })).toBe(0);
  });
});

describe.each(FAMILIES)('flows, IPv%i:', (family) => {
  it('a flow that is allowed tells both ends and both rules', async () => {
    await site().network('blue');
    const a = await site().container('a', 'blue', { labels: { app: 'a' } });
    const b = await site().container('b', 'blue', { labels: { app: 'b' } });
    await site().rest.apply({
      name: 'all',
      spec: {
        podSelector: {},
        policyTypes: ['Ingress', 'Egress'],
        ingress: [{ ports: [{ port: 1 }] }, { ports: [{ port: 80 }] }],
        egress: [{}],
      },
    });
    expect(await a.dial(b, { family })).toBe('open');
    const isOurs = ({ source, destination }: FlowEvent) =>
      destination.port === 80 && source.ip === a.address(family);
    const event = await flow(isOurs, '&container_id=a');
    expect(event).toMatchObject({
      verdict: 'allowed',
      reason: 'NONE',
      direction: 'egress',
      network: 'blue',
      protocol: 'TCP',
      source: {
        kind: 'endpoint',
        container_id: 'a',
        network: 'blue',
        namespace: 'default',
        labels: { app: 'a' },
        ip: a.address(family),
      },
      destination: {
        kind: 'endpoint',
        container_id: 'b',
        labels: { app: 'b' },
        ip: b.address(family),
        port: 80,
      },
      egress_rule: 'default/all egress[0]',
      ingress_rule: 'default/all ingress[1]',
    });
    expect(Math.abs(Date.parse(event.time) - Date.now())).toBeLessThan(60_000);
  });

  it('a drop tells the reason, who it was and which rule was the last that allowed', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const a = await site().container('drop-a', 'blue');
    const b = await site().container('drop-b', 'blue', { labels: { app: 'b' } });
    await site().rest.apply({ name: 'closed', spec: { podSelector: { matchLabels: { app: 'b' } } } });
    await a.dial(b, { family, protocol: 'udp', expected: 'blocked' });
    const isOurs = ({ source, destination }: FlowEvent) =>
      destination.port === 53 && source.ip === a.address(family);
    const event = await flow(isOurs, '&container_id=drop-a&verdict=dropped');
    expect(event).toMatchObject({
      reason: 'POLICY_INGRESS',
      protocol: 'UDP',
      source: { container_id: 'drop-a', ip: a.address(family) },
      destination: { container_id: 'drop-b', ip: b.address(family), port: 53 },
      egress_rule: 'isolation peer of network blue',
    });
    expect(event.ingress_rule).toBeUndefined();
  });

  it('host and outside are named as such', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await site().container('beyond', 'blue');
    const outside = await site().outside();
    await site().host.serve('tcp:80', 'udp:53');
    expect(await unlike('open', family, [a, outside], [outside, a])).toEqual([]);
    expect(await unlike('open', family, [a, a.gateway(family)], [site().host, a])).toEqual([]);
    const query = '&container_id=beyond&verdict=allowed';
    const world = outside.address(family);
    await flow(({ destination }) => destination.kind === 'world' && destination.ip === world, query);
    await flow(({ source }) => source.kind === 'world' && source.ip === world, query);
    await flow(
      ({ destination }) => destination.kind === 'host' && destination.ip === a.gateway(family),
      query,
    );
    await flow(({ source }) => source.kind === 'host' && source.ip === a.gateway(family), query);
    const ping = await flow(({ protocol }) => protocol === (family === 4 ? 'ICMP' : 'ICMPv6'), query);
    expect(ping.icmp_type).toBe(family === 4 ? 8 : 128);
  });
});

it('a follower is told of verdicts as they fall', async () => {
  await site().network('blue');
  const [a, b] = [await site().container('fa', 'blue'), await site().container('fb', 'blue')];
  const follower = site().rest.follow('container_id=fa&verdict=dropped&limit=0');
  await follower.connected;
  await a.dial(b, { expected: 'blocked' });
  await expect.poll(() => follower.events.map(({ reason }) => reason)).toContain('POLICY_EGRESS');
  follower.close();
});

it('a container that floods loses its own events, which are counted, and nobody else any', async () => {
  await site().network('blue');
  const [loud, quiet] = [await site().container('loud', 'blue'), await site().container('quiet', 'blue')];
  const lost = async () => {
    const { text } = await site().rest.call('GET', '/metrics');
    return Number(/quantum_events_lost_total\{cause="rate_limited"\} ([0-9]+)/.exec(text)?.[1]);
  };
  const before = await lost();
  await loud.start('hostile', 'sockets', quiet.address(4), '53').ready();
  await expect.poll(lost, { timeout: 10_000 }).toBeGreaterThan(before + 1000);
  await quiet.dial(loud, { protocol: 'udp', port: 777, expected: 'blocked' });
  await flow(({ destination }) => destination.port === 777, '&container_id=quiet');
});
