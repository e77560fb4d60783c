/** Which address the node speaks to its containers from: the gateway's, unless a socket says otherwise. */
import { describe, expect, it } from 'vitest';
import { FAMILIES, TCP_PORT, UDP_PORT, unlike } from '../support/containers.js';
import { useSite } from '../support/site.js';

const site = useSite();

describe.each(FAMILIES)('the node, IPv%i:', (family) => {
  it('opens connections from the gateway, and answers at every address of its own but one way', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await site().container('a', 'blue');
    const outside = await site().outside();
    await site().host.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`);
    const [gateway, uplink] = [a.gateway(family), outside.nodeAddress(family)];

    const route = await site().host.output('ip', '-o', 'route', 'get', a.address(family));
    expect(/ src (\S+)/.exec(route)?.[1]).toBe(gateway);
    expect(await unlike('open', family, [site().host, a], [a, gateway])).toEqual([]);
    expect(await a.dial(uplink, { protocol: 'tcp' })).toBe('open');
    expect(await a.ping(uplink, { family })).toBe('open');
    // A UDP server that is bound to no address lets the kernel choose, and it chooses the gateway's.
    expect(await a.dial(uplink, { protocol: 'udp', expected: 'blocked' })).toBe('blocked');
  });
});
