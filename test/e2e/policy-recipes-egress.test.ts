/** What people use NetworkPolicy for, second part: where applications may go, ranges of addresses, and ports. */
import { describe, expect, it } from 'vitest';
import type { EndpointPort, EndpointRequestInput } from '../../src/model/endpoint.js';
import { type Container, FAMILIES, type Family } from '../support/containers.js';
import { packet } from '../support/packet.js';
import { portsUnlike, unlikeBoth } from '../support/reach.js';
import { useSite } from '../support/site.js';

const site = useSite();

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });

function pod(name: string, more: Partial<EndpointRequestInput> = {}): Promise<Container> {
  const { namespace = 'default' } = more;
  return site().container(`${name}-${namespace}`, 'blue', { labels: { app: name }, ...more });
}

/** A network in which everybody may talk as long as no policy says otherwise, as in Kubernetes. */
const asInKubernetes = () => site().network('blue', { isolation_mode: 'none' });

const whole = (address: string) => `${address}/${address.includes(':') ? 128 : 32}`;
const addressesOf =
  (...containers: Container[]) =>
  (family: Family) =>
    containers.map((container) => whole(container.address(family)));

/** An ipBlock of each family. */
function blocks(cidrs: { 4: string; 6: string }, except: (family: Family) => string[] = () => []) {
  return FAMILIES.map((family) => ({ ipBlock: { cidr: cidrs[family], except: except(family) } }));
}

const EVERYWHERE = { 4: '0.0.0.0/0', 6: '::/0' };

describe('egress', () => {
  it('deny egress of an application: it reaches nobody, and still answers those who ask it', async () => {
    await asInKubernetes();
    const [foo, other] = [await pod('foo'), await pod('other')];
    await site().rest.apply({
      name: 'foo-deny',
      spec: { ...app('foo'), policyTypes: ['Egress'], egress: [] },
    });
    const gateway = (family: Family) => foo.gateway(family);
    expect(await unlikeBoth('blocked', [foo, other], [foo, gateway])).toEqual([]);
    expect(await unlikeBoth('open', [other, foo])).toEqual([]);
  });

  it('deny egress of an application but for names: port 53 of everybody', async () => {
    await asInKubernetes();
    const [foo, dns] = [await pod('foo'), await pod('dns', { namespace: 'system' })];
    const ports = [{ port: 53 }, { protocol: 'UDP', port: 53 }];
    await site().rest.apply({
      name: 'foo-dns',
      spec: { ...app('foo'), policyTypes: ['Egress'], egress: [{ ports }] },
    });
    expect(await portsUnlike('open', [foo, dns], 'udp:53')).toEqual([]);
    expect(await portsUnlike('refused', [foo, dns], 'tcp:53')).toEqual([]);
    expect(await portsUnlike('blocked', [foo, dns], 'tcp:80', 'udp:54')).toEqual([]);
  });

  it('default deny of the egress of a namespace, and one application that may go on', async () => {
    await asInKubernetes();
    const [a, b] = [await pod('a'), await pod('b')];
    const far = await pod('far', { namespace: 'elsewhere' });
    await site().rest.apply({ name: 'default-deny', spec: { podSelector: {}, policyTypes: ['Egress'] } });
    await site().rest.apply({
      name: 'b-anywhere',
      spec: { ...app('b'), policyTypes: ['Egress'], egress: [{}] },
    });
    expect(await unlikeBoth('blocked', [a, b], [a, far])).toEqual([]);
    expect(await unlikeBoth('open', [b, a], [b, far], [far, a])).toEqual([]);
  });

  it('deny external egress: every pod may be asked, the outside and the node may not', async () => {
    await asInKubernetes();
    const [foo, near] = [await pod('foo'), await pod('near')];
    const far = await pod('far', { namespace: 'elsewhere' });
    const outside = await site().outside();
    await site().host.serve('tcp:80', 'udp:53');
    const gateway = (family: Family) => foo.gateway(family);
    expect(await unlikeBoth('open', [foo, outside], [foo, gateway])).toEqual([]);
    await site().rest.apply({
      name: 'foo-internal',
      spec: { ...app('foo'), policyTypes: ['Egress'], egress: [{ to: [{ namespaceSelector: {} }] }] },
    });
    expect(await unlikeBoth('open', [foo, near], [foo, far], [near, outside])).toEqual([]);
    expect(await unlikeBoth('blocked', [foo, outside], [foo, gateway])).toEqual([]);
  });

  it('allow egress to one range without a part of it: the outside and containers by their addresses', async () => {
    await asInKubernetes();
    const [foo, inside, excepted] = [await pod('foo'), await pod('inside'), await pod('excepted')];
    const outside = await site().outside();
    const to = [
      ...blocks({ 4: '198.18.0.0/24', 6: 'fd00:198::/64' }, () => []),
      ...blocks({ 4: '10.60.1.0/24', 6: 'fd00:60:1::/64' }, addressesOf(excepted)),
    ];
    await site().rest.apply({
      name: 'ranges',
      spec: { ...app('foo'), policyTypes: ['Egress'], egress: [{ to }] },
    });
    expect(await unlikeBoth('open', [foo, inside], [foo, outside], [excepted, foo])).toEqual([]);
    expect(await unlikeBoth('blocked', [foo, excepted])).toEqual([]);
    await site().rest.apply({
      name: 'ranges',
      spec: {
        ...app('foo'),
        policyTypes: ['Egress'],
        egress: [{ to: blocks(EVERYWHERE, (family) => [whole(outside.address(family))]) }],
      },
    });
    expect(await unlikeBoth('open', [foo, inside], [foo, excepted])).toEqual([]);
    expect(await unlikeBoth('blocked', [foo, outside])).toEqual([]);
    // What one peer excepts, another may allow.
    await site().rest.apply({
      name: 'more',
      spec: {
        ...app('foo'),
        policyTypes: ['Egress'],
        egress: [{ to: blocks({ 4: '198.18.0.0/15', 6: 'fd00:198::/32' }) }],
      },
    });
    expect(await unlikeBoth('open', [foo, outside])).toEqual([]);
  });

  it('ingress from a range without a part of it', async () => {
    await asInKubernetes();
    const [web, friend, foe] = [await pod('web'), await pod('friend'), await pod('foe')];
    const outside = await site().outside();
    const from = blocks({ 4: '10.60.0.0/16', 6: 'fd00:60::/32' }, addressesOf(foe));
    await site().rest.apply({ name: 'range', spec: { ...app('web'), ingress: [{ from }] } });
    expect(await unlikeBoth('open', [friend, web], [site().host, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [foe, web], [outside, web])).toEqual([]);
  });
});

describe('ports', () => {
  it('allow traffic only to a port of an application', async () => {
    await asInKubernetes();
    const [api, monitor, other] = [await pod('api'), await pod('monitor'), await pod('other')];
    const ingress = [{ from: [app('monitor')], ports: [{ port: 5000 }] }];
    await site().rest.apply({ name: 'api-5000', spec: { ...app('api'), ingress } });
    expect(await portsUnlike('refused', [monitor, api], 'tcp:5000')).toEqual([]);
    expect(await portsUnlike('blocked', [monitor, api], 'tcp:80', 'tcp:5001', 'udp:5000')).toEqual([]);
    expect(await portsUnlike('blocked', [other, api], 'tcp:5000')).toEqual([]);
  });

  it('a range of ports: what is in it, in the protocol of the rule', async () => {
    await asInKubernetes();
    const [foo, other] = [await pod('foo'), await pod('other')];
    const ports = [
      { protocol: 'TCP', port: 32000, endPort: 32768 },
      { protocol: 'UDP', port: 1, endPort: 1 },
    ];
    await site().rest.apply({
      name: 'range',
      spec: { ...app('foo'), policyTypes: ['Egress'], egress: [{ to: [app('other')], ports }] },
    });
    const inside = ['tcp:32000', 'tcp:32001', 'tcp:32767', 'tcp:32768', 'udp:1'];
    const beyond = ['tcp:31999', 'tcp:32769', 'udp:32000', 'udp:2', 'tcp:1'];
    expect(await portsUnlike('refused', [foo, other], ...inside)).toEqual([]);
    expect(await portsUnlike('blocked', [foo, other], ...beyond)).toEqual([]);
  });

  it('a named port is the port that each container gives that name, in the protocol of the rule', async () => {
    await asInKubernetes();
    const ports = (container_port: number, protocol: EndpointPort['protocol'] = 'TCP') => ({
      ports: [{ name: 'web', container_port, protocol }],
    });
    const server = (id: string, more: Partial<EndpointRequestInput>) =>
      site().container(id, 'blue', { labels: { app: 'server' }, ...more });
    const [old, young, datagrams, nameless] = [
      await server('old', ports(8080)),
      await server('young', ports(9090)),
      await server('datagrams', ports(7070, 'UDP')),
      await server('nameless', {}),
    ];
    expect(young.endpoint.identity).toBe(old.endpoint.identity);
    const client = await pod('client');
    const named = { ports: [{ port: 'web' }] };
    await site().rest.apply({ name: 'named', spec: { ...app('server'), ingress: [named] } });
    expect(await portsUnlike('refused', [client, old], 'tcp:8080')).toEqual([]);
    expect(await portsUnlike('refused', [client, young], 'tcp:9090')).toEqual([]);
    expect(await portsUnlike('blocked', [client, old], 'tcp:9090', 'udp:8080', 'tcp:80')).toEqual([]);
    expect(await portsUnlike('blocked', [client, young], 'tcp:8080')).toEqual([]);
    expect(await portsUnlike('blocked', [client, datagrams], 'udp:7070', 'tcp:7070')).toEqual([]);
    expect(await portsUnlike('blocked', [client, nameless], 'tcp:8080', 'tcp:9090', 'tcp:80')).toEqual([]);
    // The same from the other side: the name is that of the destination.
    await site().rest.apply({
      name: 'named',
      spec: { ...app('client'), policyTypes: ['Egress'], egress: [named] },
    });
    expect(await portsUnlike('refused', [client, old], 'tcp:8080')).toEqual([]);
    expect(await portsUnlike('refused', [client, young], 'tcp:9090')).toEqual([]);
    expect(await portsUnlike('blocked', [client, old], 'tcp:9090')).toEqual([]);
    expect(await portsUnlike('blocked', [client, nameless], 'tcp:8080')).toEqual([]);
  });

  it.each(FAMILIES)('SCTP has ports of its own, IPv%i', async (family) => {
    await asInKubernetes();
    const [a, b] = [await pod('a'), await pod('b')];
    const ports = [{ protocol: 'SCTP', port: 3868 }];
    await site().rest.apply({ name: 'diameter', spec: { ...app('b'), ingress: [{ ports }] } });
    const capture = await b.capture();
    const frame = (destinationPort: number) =>
      packet()
        .ethernet({ source: a.endpoint.mac_address, destination: site().gatewayMac(a) })
        .ip({ source: a.address(family), destination: b.address(family) })
        .sctp({ sourcePort: 40000, destinationPort })
        .bytes();
    // The last one is let through, and tells that the others have been there.
    await a.sendFrames([3867, 3869, 38, 3868].map(frame));
    const passed = () => site().packets({ container: a, direction: 'egress', reason: 'NONE' });
    await expect.poll(passed).toBeGreaterThanOrEqual(1);
    const header = family === 4 ? 34 : 54;
    const arrived = (await capture.stop())
      .map(({ bytes }) => bytes)
      .filter((bytes) => bytes.length >= header + 4 && bytes.readUInt16BE(header) === 40000);
    expect(arrived.map((bytes) => bytes.readUInt16BE(header + 2))).toEqual([3868]);
  });
});
