/** The node between its containers and the outside: nobody out there passes for a container, and no firewall is touched. */
import { describe, expect, it } from 'vitest';
import { FAMILIES, unlike } from '../support/containers.js';
import { addressBytes, packet } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();

const PORT = '5000';

describe.each(FAMILIES)('outside, IPv%i:', (family) => {
  it('nobody passes for a container, the gateway or the host itself', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    const outside = await site().outside();
    // As careless as a router can be: it asks nobody where a packet may come from.
    await site().host.output('sh', '-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done');
    const router = site().host.netns.net.link('uplink')?.mac ?? '';
    const own = outside.netns.net.link('eth0')?.mac ?? '';
    const capture = await a.capture();
    const forged = [b.address(family), a.gateway(family), a.address(family).replace(/.$/, '9')];
    const frame = (source: string) =>
      packet()
        .ethernet({ source: own, destination: router })
        .ip({ source, destination: a.address(family) })
        .udp({ destinationPort: 53 })
        .payload(8)
        .bytes();
    await outside.sendFrames([...forged, outside.address(family)].map(frame));
    // The honest one is the last, and tells that the others have been there.
    await expect
      .poll(() => site().packets({ container: a, direction: 'ingress', reason: 'NONE' }))
      .toBeGreaterThanOrEqual(1);
    const isFrom = (bytes: Buffer, address: string) =>
      bytes.subarray(14, 54).includes(Buffer.from(addressBytes(address))) &&
      bytes.includes(Buffer.from([0, 53]));
    const received = (await capture.stop()).map(({ bytes }) => bytes);
    for (const source of forged) expect(received.filter((bytes) => isFrom(bytes, source))).toEqual([]);
    expect(received.some((bytes) => isFrom(bytes, outside.address(family)))).toBe(true);
    // What the kernel of the node does not refuse by itself, the program does.
    expect(await site().packets({ container: a, reason: 'BAD_SOURCE' })).toBeGreaterThanOrEqual(1);
  });

  it('rules of the firewall of the node do not reach what containers say to each other, and are not touched', async () => {
    const rules = `table inet test {
      chain forward { type filter hook forward priority 0; policy drop; }
      chain input { type filter hook input priority 0; policy drop; }
      chain output { type filter hook output priority 0; policy drop; }
    }`;
    await site().host.netns.exec('nft', ['-f', '-'], { input: rules });
    try {
      const before = await site().host.output('nft', 'list', 'ruleset');
      await site().network('blue', { isolation_mode: 'none' });
      const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
      const outside = await site().outside();
      expect(await unlike('open', family, [a, b], [b, a])).toEqual([]);
      // And they do reach what goes through the node.
      expect(await unlike('blocked', family, [a, outside], [outside, a])).toEqual([]);
      await b.disconnect();
      expect(await site().host.output('nft', 'list', 'ruleset')).toBe(before);
    } finally {
      await site().host.output('nft', 'delete', 'table', 'inet', 'test');
    }
  });

  it("the node's own addresses, old and new, are the host", async () => {
    await site().network('blue');
    const a = await site().container('a', 'blue', { labels: { app: 'a' } });
    const outside = await site().outside();
    await site().host.serve('tcp:80', 'udp:53');
    // Every endpoint, but not the host.
    await site().rest.apply({
      name: 'endpoints',
      spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{ to: [{ namespaceSelector: {} }] }] },
    });
    const address = outside.nodeAddress(family);
    expect(await unlike('blocked', family, [a, address])).toEqual([]);
    const query = '&container_id=a&verdict=dropped';
    await expect
      .poll(async () => (await site().rest.flows(query)).map(({ destination }) => destination))
      .toContainEqual(expect.objectContaining({ kind: 'host', ip: address }));
  });

  it('what the node takes for itself beside its addresses is the host', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await site().container('a', 'blue');
    const outside = await site().outside();
    await site().host.output(
      'ip',
      'address',
      'add',
      '198.18.7.1/24',
      'broadcast',
      '198.18.7.77',
      'dev',
      'uplink',
    );
    await site().host.output('ip', 'address', 'add', '198.18.8.1/24', 'dev', 'lo');
    try {
      const host = await site()
        .host.start('groups', 'join', 'lo', family === 4 ? '0.0.0.0' : '::', PORT)
        .ready();
      const taken = {
        4: ['198.18.0.255', '198.18.7.77', '198.18.7.255', '198.18.8.200'],
        6: ['fd00:198::'],
      }[family];
      // It hears them all as long as it may.
      for (const address of taken) {
        await a.cast(address, PORT, `before ${address}`);
        expect(await host.find((line) => line === `before ${address}`, 5000)).toBeDefined();
      }

      await site().rest.expect('POST', '/policies', {
        apiVersion: 'policy.networking.k8s.io/v1alpha2',
        kind: 'ClusterNetworkPolicy',
        metadata: { name: 'not-the-node' },
        spec: {
          tier: 'Admin',
          priority: 1,
          subject: { namespaces: {} },
          egress: [{ action: 'Deny', to: [{ nodes: {} }] }],
        },
      });
      for (const address of taken) await a.cast(address, PORT, 'after');
      const query = '&container_id=a&verdict=dropped';
      await expect
        .poll(async () => (await site().rest.flows(query)).map(({ destination }) => destination))
        .toEqual(expect.arrayContaining(taken.map((ip) => expect.objectContaining({ kind: 'host', ip }))));
      expect(await host.find((line) => line === 'after', 300)).toBeUndefined();
      // The rest of the outside is not the host.
      expect(await unlike('open', family, [a, outside])).toEqual([]);
    } finally {
      await site().host.output('ip', 'address', 'del', '198.18.8.1/24', 'dev', 'lo');
    }
  });
});
