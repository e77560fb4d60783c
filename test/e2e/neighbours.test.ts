/** ARP and neighbour discovery end at the node: a container sees one MAC address, the gateway's, and nobody's questions. */
import { describe, expect, it } from 'vitest';
import { gatewayMac } from '../../src/bridge/mac.js';
import { type Container, FAMILIES, unlike } from '../support/containers.js';
import { useSite } from '../support/site.js';

const site = useSite();

const ARP = 0x0806;
const ICMPV6_DISCOVERY = [133, 134, 135, 136, 137];

/** MAC address by IP address. */
async function neighboursOf(container: Container): Promise<Map<string, string>> {
  const text = await container.output('ip', '-o', 'neigh', 'show', 'dev', 'eth0');
  return new Map(
    text
      .split('\n')
      .map((line) => /^(\S+) .*?lladdr (\S+)/.exec(line))
      .flatMap((match) => (match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const])),
  );
}

describe.each(FAMILIES)('neighbours, IPv%i:', (family) => {
  it('every address of the network has the MAC address of the gateway', async () => {
    const network = await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    await site().host.serve('tcp:80', 'udp:53');
    const nobody = a.address(family).replace(/.$/, '9');
    expect(await unlike('open', family, [a, b], [a, a.gateway(family)])).toEqual([]);
    await a.dial(nobody, { expected: 'blocked' });
    const neighbours = await neighboursOf(a);
    for (const address of [b.address(family), a.gateway(family), nobody]) {
      expect([address, neighbours.get(address)]).toEqual([address, gatewayMac(network.id)]);
    }
    expect(new Set((await neighboursOf(b)).values())).toEqual(new Set([gatewayMac(network.id)]));
  });

  it('no question or answer of a container ever reaches another, and none of the host', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b, c] = [
      await site().container('a', 'blue'),
      await site().container('b', 'blue'),
      await site().container('c', 'blue'),
    ];
    const captures = await Promise.all([a, b, c].map((container) => container.capture()));
    const inHost = await site().host.capture();
    expect(await unlike('open', family, [a, b], [b, a], [a, c], [site().host, c])).toEqual([]);
    await a.dial(a.address(family).replace(/.$/, '9'), { expected: 'blocked' });
    for (const container of [a, b]) await container.output('ip', 'neigh', 'flush', 'dev', 'eth0');
    expect(await unlike('open', family, [a, b])).toEqual([]);

    for (const [index, container] of [a, b, c].entries()) {
      const own = container.endpoint.mac_address;
      const discovery = (await captures[index]?.stop())?.filter(({ bytes, type }) =>
        family === 4 ? type === ARP : ICMPV6_DISCOVERY.includes(bytes[54] ?? 0) && bytes[20] === 58,
      );
      // What comes in are answers to its own questions alone.
      for (const { bytes, destinationMac } of discovery ?? []) {
        expect(destinationMac).toBe(own);
        expect(family === 4 ? bytes.readUInt16BE(20) : bytes[54]).toBe(family === 4 ? 2 : 136);
      }
    }
    // On the bridge there is nothing at all; on the host's sides of the pairs, what containers sent.
    const frames = await inHost.stop();
    expect(frames.filter((frame) => frame.interface.startsWith('qnbr'))).toEqual([]);
    const macs = new Set([a, b, c].map(({ endpoint }) => endpoint.mac_address));
    expect(frames.filter(({ sourceMac }) => !macs.has(sourceMac))).toEqual([]);
  });

  it('a container of another network is no neighbour', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await site().network('red', { isolation_mode: 'none' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'red')];
    expect(await unlike('open', family, [a, b])).toEqual([]);
    expect((await neighboursOf(a)).get(b.address(family))).toBeUndefined();
  });
});

it('the kernel of a container finds nobody else with its address', async () => {
  await site().network('blue');
  const a = await site().container('a', 'blue');
  const addresses = await a.output('ip', '-o', '-6', 'addr', 'show', 'dev', 'eth0');
  expect(addresses).toContain(a.address(6));
  await expect
    .poll(() => a.output('ip', '-o', '-6', 'addr', 'show', 'dev', 'eth0'), { timeout: 5000 })
    .not.toContain('tentative');
  expect(await a.output('ip', '-o', '-6', 'addr', 'show', 'dev', 'eth0')).not.toContain('dadfailed');
});
