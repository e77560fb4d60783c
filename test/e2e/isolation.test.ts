/** The isolation modes of a network, without any policy and with policies. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Container, FAMILIES, unlike } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import type { NetworkInput } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

type Mode = NonNullable<NetworkInput['isolation_mode']>;

/** Makes a network and its containers `<network>-1`, `<network>-2`. */
async function network(name: string, mode: Mode, peers: string[] = []): Promise<[Container, Container]> {
  await site().network(name, { isolation_mode: mode, peers });
  const [first, second] = [`${name}-1`, `${name}-2`];
  return Promise.all([site().container(first, name), site().container(second, name)]);
}

describe.each(FAMILIES)('isolation mode, IPv%i:', (family) => {
  describe('without any policy', () => {
    const rows: { mode: Mode; peers: string; others: string }[] = [
      { mode: 'full', peers: 'blocked', others: 'blocked' },
      { mode: 'peer', peers: 'open', others: 'blocked' },
      { mode: 'peer-only', peers: 'open', others: 'blocked' },
      { mode: 'mesh', peers: 'open', others: 'blocked' },
      { mode: 'mesh-only', peers: 'open', others: 'blocked' },
      { mode: 'none', peers: 'open', others: 'open' },
    ];

    it.each(rows)('$mode: endpoints of the same network are $peers', async ({ mode, peers }) => {
      const [a, b] = await network('blue', mode);
      expect(await unlike(peers, family, [a, b], [b, a])).toEqual([]);
    });

    it.each(rows.filter(({ mode }) => !mode.endsWith('-only')))(
      '$mode: a network that allows everything, the host and the outside are $others',
      async ({ mode, others }) => {
        const [a] = await network('blue', mode);
        const [b] = await network('red', 'none');
        const outside = await site().outside();
        const { host } = site();
        await host.serve('tcp:80', 'udp:53');
        const pairs = [
          [a, b],
          [b, a],
          [a, outside],
          [outside, a],
          [a, a.gateway(family)],
          [host, a],
        ] as const;
        expect(await unlike(others, family, ...pairs)).toEqual([]);
      },
    );

    it('mesh: networks that name each other as peers may talk', async () => {
      const [a] = await network('blue', 'mesh', ['red']);
      const [b] = await network('red', 'mesh-only', ['blue']);
      expect(await unlike('open', family, [a, b], [b, a])).toEqual([]);
    });

    it('mesh: a peer that does not name the network back is not reached, nor reaches it', async () => {
      const [a] = await network('blue', 'mesh', ['red', 'green']);
      const [b] = await network('red', 'mesh');
      const [c] = await network('green', 'peer');
      expect(await unlike('blocked', family, [a, b], [b, a], [a, c], [c, a])).toEqual([]);
    });

    it('mesh: a peer of a peer is no peer', async () => {
      const [a] = await network('blue', 'mesh', ['red']);
      const [b] = await network('red', 'mesh', ['blue', 'green']);
      const [c] = await network('green', 'mesh', ['red']);
      expect(await unlike('open', family, [a, b], [b, c])).toEqual([]);
      expect(await unlike('blocked', family, [a, c], [c, a])).toEqual([]);
    });
  });

  describe('with policies', () => {
    let outside: Outside;
    beforeEach(async () => {
      outside = await site().outside();
      await site().host.serve('tcp:80', 'udp:53');
    });

    /** Everything is allowed to and from endpoints with the label `app=open`. */
    const openEverything = () =>
      site().rest.apply({
        name: 'open',
        spec: {
          podSelector: { matchLabels: { app: 'open' } },
          policyTypes: ['Ingress', 'Egress'],
          ingress: [{}],
          egress: [{}],
        },
      });
    /** Every pair of a container with the host and with the outside. */
    const beyond = (container: Container) =>
      [
        [container, outside],
        [outside, container],
        [container, container.gateway(family)],
        [site().host, container],
      ] as const;

    it.each<Mode>(['full', 'peer', 'mesh'])(
      '%s: a rule without peers opens host and outside',
      async (mode) => {
        await site().network('blue', { isolation_mode: mode });
        const a = await site().container('a', 'blue', { labels: { app: 'open' } });
        await openEverything();
        expect(await unlike('open', family, ...beyond(a))).toEqual([]);
      },
    );

    it.each<Mode>(['full', 'peer'])(
      '%s: a rule that names endpoints, all of them even, opens neither host nor outside',
      async (mode) => {
        await site().network('blue', { isolation_mode: mode });
        const a = await site().container('a', 'blue');
        const b = await site().container('b', 'blue');
        await site().rest.apply({
          name: 'endpoints',
          spec: {
            policyTypes: ['Ingress', 'Egress'],
            ingress: [{ from: [{ namespaceSelector: {} }] }],
            egress: [{ to: [{ namespaceSelector: {} }] }],
          },
        });
        expect(await unlike('open', family, [a, b], [b, a])).toEqual([]);
        expect(await unlike('blocked', family, ...beyond(a))).toEqual([]);
      },
    );

    it('full: what no policy selects keeps the mode', async () => {
      await site().network('blue');
      const a = await site().container('a', 'blue', { labels: { app: 'open' } });
      const b = await site().container('b', 'blue');
      await openEverything();
      expect(await unlike('blocked', family, [a, b], [b, a], ...beyond(b))).toEqual([]);
    });

    it.each<Mode>(['peer', 'none'])(
      '%s: a selected endpoint is restricted in the directions that are named, and only it',
      async (mode) => {
        await site().network('blue', { isolation_mode: mode });
        const a = await site().container('a', 'blue', { labels: { app: 'a' } });
        const b = await site().container('b', 'blue', { labels: { app: 'b' } });
        const c = await site().container('c', 'blue');
        await site().rest.apply({
          name: 'from-b',
          spec: {
            podSelector: { matchLabels: { app: 'a' } },
            policyTypes: ['Ingress'],
            ingress: [{ from: [{ podSelector: { matchLabels: { app: 'b' } } }] }],
          },
        });
        expect(await unlike('open', family, [b, a], [a, c], [b, c], [c, b])).toEqual([]);
        expect(await unlike('blocked', family, [c, a], [outside, a], [site().host, a])).toEqual([]);
        const others = mode === 'none' ? 'open' : 'blocked';
        expect(await unlike(others, family, [a, outside], ...beyond(c))).toEqual([]);
      },
    );

    it('full: policies of both sides open another network', async () => {
      await site().network('blue');
      await site().network('red');
      const a = await site().container('a', 'blue', { labels: { app: 'open' } });
      const b = await site().container('b', 'red', { labels: { app: 'open' } });
      const c = await site().container('c', 'red');
      await openEverything();
      expect(await unlike('open', family, [a, b], [b, a])).toEqual([]);
      expect(await unlike('blocked', family, [a, c], [c, a])).toEqual([]);
    });
  });
});
