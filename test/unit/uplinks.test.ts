import { describe, expect, it } from 'vitest';
import {
  type FoundUplink,
  findUplinks,
  needsRoutes,
  type UplinkHost,
} from '../../src/bridge/find-uplinks.js';
import { UplinkLimit } from '../../src/datapath/abi/generated.js';
import type { UplinkState } from '../../src/model/health.js';
import { UPLINKS_MAX } from '../../src/model/settings.js';
import type { AddressInfo, LinkInfo, RouteInfo, Rtnl } from '../../src/native/net.js';
import { Uplinks, xdpUnwanted } from '../../src/vnet/nat/uplinks.js';

const MAC = '02:00:00:00:00:01';

function link(index: number, name: string, mac = MAC): LinkInfo {
  return { index, name, mac, mtu: 1500, up: true, arp: true, operState: 'up' };
}

function address(index: number, text: string, more: Partial<AddressInfo> = {}): AddressInfo {
  const family = text.includes(':') ? 6 : 4;
  const flags = { noDad: false, noPrefixRoute: false, tentative: false, deprecated: false };
  return { index, address: text, prefixLength: 24, family, scope: 'global', ...flags, ...more };
}

interface Node {
  links?: LinkInfo[];
  addresses?: AddressInfo[];
  routes?: Partial<RouteInfo>[];
}

function host({ links = [], addresses = [], routes = [] }: Node): UplinkHost {
  return {
    link: (which) => links.find(({ name, index }) => name === which || index === which),
    addresses: (index) => addresses.filter((one) => one.index === index),
    routeTo: (to, by) =>
      routes.filter(
        ({ family, index }) =>
          family === (to.includes(':') ? 6 : 4) && (by === undefined || index === undefined || index === by),
      ) as RouteInfo[],
  };
}

const ETH0 = link(2, 'eth0');
const ETH1 = link(3, 'eth1');

/** As it is found: with what is not said there being none. */
const uplink = (of: LinkInfo, more: Partial<FoundUplink> = {}): FoundUplink => ({
  link: of,
  ip4: undefined,
  ip6: undefined,
  others: [],
  gateway6: undefined,
  isSecond: false,
  ...more,
});

const plain = (text: string) => {
  const { address: own, prefixLength, family } = address(0, text);
  return { address: own, prefixLength, family };
};

describe('the uplink', () => {
  it('is the interface of the default route of either family', () => {
    const node = { links: [ETH0, ETH1], addresses: [address(2, '192.168.0.2'), address(2, 'fd01::2')] };
    for (const family of [4, 6] as const) {
      const found = findUplinks('auto', host({ ...node, routes: [{ family, index: 2, via: 'router' }] }));
      const known = {
        ip4: plain('192.168.0.2'),
        ip6: plain('fd01::2'),
        gateway6: family === 6 ? 'router' : undefined,
      };
      expect(found).toEqual({ uplinks: [uplink(ETH0, known)], problems: [] });
      expect(needsRoutes(found.uplinks)).toBe(false);
    }
  });

  it('is one of each family, where their default routes lead by different interfaces', () => {
    const routes = [
      { family: 4, index: 2 },
      { family: 6, index: 3 },
    ] as const;
    const { uplinks } = findUplinks('auto', host({ links: [ETH0, ETH1], routes: [...routes] }));
    expect(uplinks.map(({ link: { name } }) => name)).toEqual(['eth0', 'eth1']);
    expect(needsRoutes(uplinks)).toBe(true);
  });

  it('is each interface of a default route with several next hops', () => {
    const routes = [2, 3].map((index) => ({ family: 4 as const, index, via: `router${index}` }));
    const { uplinks } = findUplinks('auto', host({ links: [ETH0, ETH1], routes }));
    expect(uplinks.map(({ link: { name } }) => name)).toEqual(['eth0', 'eth1']);
  });

  it('is what the setting names, in its order, with or without a default route', () => {
    const node = host({
      links: [ETH0, ETH1],
      addresses: [address(3, '10.0.0.3')],
      routes: [{ family: 4, index: 2, source: '192.168.0.2' }],
    });
    const eth1 = uplink(ETH1, { ip4: plain('10.0.0.3'), isSecond: true });
    expect(findUplinks('eth1', node)).toEqual({ uplinks: [eth1], problems: [] });
    expect(findUplinks('eth1,eth0', node)).toEqual({ uplinks: [eth1, uplink(ETH0)], problems: [] });
    // What is on the other way's side must not be asked to send on what leaves by this one.
    expect(needsRoutes([eth1])).toBe(true);
  });

  it('is missing for a reason, which keeps no other from being there', () => {
    const problem = (setting: string, node: UplinkHost) => {
      const { uplinks, problems } = findUplinks(setting, node);
      expect(uplinks).toEqual([]);
      return problems;
    };
    expect(problem('none', host({ links: [ETH0] }))).toEqual(['the setting uplink is none']);
    expect(problem('auto', host({ links: [ETH0] }))).toEqual(['the node has no default route']);
    expect(problem('eth9', host({ links: [ETH0] }))).toEqual(['there is no interface eth9']);
    for (const mac of ['', '00:00:00:00:00:00']) {
      expect(problem('tun0', host({ links: [link(4, 'tun0', mac)] }))).toEqual([
        'tun0 is no Ethernet interface',
      ]);
    }
    const { uplinks, problems } = findUplinks('eth9,eth0', host({ links: [ETH0] }));
    expect(uplinks.map(({ link: { name } }) => name)).toEqual(['eth0']);
    expect(problems).toEqual(['there is no interface eth9']);
  });

  it('has the address that the node speaks from, of those that others can answer', () => {
    const addresses = [
      address(2, 'fe80::1', { scope: 'link' }),
      address(2, 'fd01::9', { tentative: true }),
      address(2, 'fd01::3'),
      address(2, 'fd01::2'),
    ];
    const found = (source?: string) =>
      findUplinks(
        'auto',
        host({
          links: [ETH0],
          addresses,
          routes: [{ family: 6, index: 2, ...(source === undefined ? {} : { source }) }],
        }),
      ).uplinks[0];
    expect(found('fd01::2')).toMatchObject({
      ip4: undefined,
      ip6: plain('fd01::2'),
      others: [plain('fd01::3')],
    });
    expect(found('fd01::9')).toMatchObject({ ip6: plain('fd01::3') });
    expect(found()).toMatchObject({ ip6: plain('fd01::3') });
    addresses[2] = address(2, 'fd01::3', { deprecated: true });
    expect(found()).toMatchObject({ ip6: plain('fd01::2'), others: [plain('fd01::3')] });
  });

  it('leaves the choice of the address to the routes when it has some in several subnets', () => {
    const isLed = (...texts: string[]) => {
      const addresses = texts.map((text) => {
        const [one = '', length = '24'] = text.split('/');
        return address(2, one, { prefixLength: Number(length) });
      });
      return needsRoutes(findUplinks('eth0', host({ links: [ETH0], addresses })).uplinks);
    };
    expect(isLed('10.0.0.2', '10.0.0.3', 'fd01::2')).toBe(false);
    expect(isLed('10.0.0.2', '10.0.1.2')).toBe(true);
    expect(isLed('10.0.0.2', 'fd01::2/64', 'fd01:0:0:1::2/64')).toBe(true);
    // One that comes and goes between nodes, and one of DHCPv6, are of a subnet that is there.
    expect(isLed('10.0.0.2', '10.0.0.100/32', 'fd01::7/128', 'fd01::2/64')).toBe(false);
  });
});

describe('what follows the uplinks', () => {
  const TWO = {
    links: [ETH0, ETH1],
    addresses: [address(2, '10.0.0.2'), address(3, '10.0.1.2')],
    routes: [{ family: 4, index: 2 }] as Partial<RouteInfo>[],
  };

  /** What is told to whom, in order. */
  function follow(setting: string, node: Node, failing: { attach?: number; router?: boolean } = {}) {
    const calls: string[] = [];
    const states: UplinkState[][] = [];
    const errors: unknown[] = [];
    const uplinks = new Uplinks({
      setting,
      xdpSetting: 'auto',
      host: host(node) as Rtnl,
      hook: {
        attach(ifindex) {
          calls.push(`attach ${ifindex}`);
          if (ifindex === failing.attach) throw new Error('it has gone');
        },
        use: (used, router) =>
          calls.push(
            `use ${used.map(({ ifindex }) => ifindex)}${router === undefined ? '' : ` by ${router}`}`,
          ),
      },
      xdp: {
        leaveOthers: (wanted, all) => calls.push(`xdp leaves all but ${wanted} of ${all}`),
        use(wanted, all) {
          calls.push(`xdp ${wanted} of ${all}`);
          return new Map();
        },
      },
      router: {
        ensure() {
          calls.push('make router');
          if (failing.router) throw new Error('its name is taken');
          return 77;
        },
        remove: () => calls.push('remove router'),
      },
      onChange: (changed) => states.push(changed),
      onError: (error) => errors.push(error),
    });
    uplinks.sync();
    return { calls, states, errors };
  }

  it('has the program on each before flows are led there, and XDP away before others come', () => {
    expect(follow('eth0,eth1', TWO).calls).toEqual([
      'xdp leaves all but 2,3 of 2,3',
      'attach 2',
      'attach 3',
      'make router',
      'use 2,3 by 77',
      'xdp 2,3 of 2,3',
    ]);
    expect(follow('none', TWO).calls).toEqual([
      'xdp leaves all but  of ',
      'use ',
      'remove router',
      'xdp  of ',
    ]);
  });

  it('goes on without one that cannot be put to use, and says so', () => {
    const { calls, states, errors } = follow('eth0,eth1', TWO, { attach: 2 });
    expect(calls.slice(-3)).toEqual(['make router', 'use 3 by 77', 'xdp 3 of 3']);
    expect(states.flat()).toMatchObject([
      { interface: 'eth1' },
      { message: 'eth0 could not be put to use; the log says why' },
    ]);
    expect(errors).toHaveLength(1);
  });

  it('leads all by the first where the routes cannot be asked, and says so', () => {
    const { calls, states, errors } = follow('eth0,eth1', TWO, { router: true });
    expect(calls.slice(-3)).toEqual(['make router', 'use 2,3', 'xdp 2,3 of 2,3']);
    expect(states.flat().at(-1)?.message).toMatch(/^the node's routes cannot be asked/);
    expect(errors).toHaveLength(1);
  });
});

it('gets XDP where that gains something, or where it is asked for', () => {
  const veth = { ...ETH0, kind: 'veth' };
  expect([ETH0, veth].map((link) => xdpUnwanted('auto', link))).toEqual([undefined, 'eth0 is a veth']);
  expect([ETH0, veth].map((link) => xdpUnwanted('native', link))).toEqual([undefined, undefined]);
  expect(xdpUnwanted('off', ETH0)).toBe('the setting xdp is off');
});

it('the setting names as many as the programs know', () => {
  expect(UPLINKS_MAX).toBe(UplinkLimit.UPLINKS_MAX);
});
