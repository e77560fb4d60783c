import { describe, expect, it } from 'vitest';
import type { AddressInfo, LinkInfo, RouteInfo } from '../../src/native/net.js';
import { findUplink, type UplinkHost, xdpUnwanted } from '../../src/vnet/uplink.js';

const MAC = '02:00:00:00:00:01';

function link(index: number, name: string, mac = MAC): LinkInfo {
  return { index, name, mac, mtu: 1500, up: true, arp: true, operState: 'up' };
}

function address(index: number, text: string, more: Partial<AddressInfo> = {}): AddressInfo {
  const family = text.includes(':') ? 6 : 4;
  const flags = { noDad: false, noPrefixRoute: false, tentative: false };
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
    routeTo: (to) => routes.filter((route) => route.family === (to.includes(':') ? 6 : 4)) as RouteInfo[],
  };
}

const ETH0 = link(2, 'eth0');
const ETH1 = link(3, 'eth1');

describe('the uplink', () => {
  it('is the interface of the default route of either family', () => {
    const node = { links: [ETH0, ETH1], addresses: [address(2, '192.168.0.2'), address(2, 'fd01::2')] };
    for (const family of [4, 6] as const) {
      expect(findUplink('auto', host({ ...node, routes: [{ family, index: 2 }] }))).toEqual({
        link: ETH0,
        ip4: '192.168.0.2',
        ip6: 'fd01::2',
      });
    }
  });

  it('is the interface of the setting, with or without a default route', () => {
    const node = host({
      links: [ETH0, ETH1],
      addresses: [address(3, '10.0.0.3')],
      routes: [{ family: 4, index: 2, source: '192.168.0.2' }],
    });
    expect(findUplink('eth1', node)).toEqual({ link: ETH1, ip4: '10.0.0.3', ip6: undefined });
  });

  it('is missing for a reason', () => {
    expect(findUplink('none', host({ links: [ETH0] }))).toEqual({ problem: 'the setting uplink is none' });
    expect(findUplink('auto', host({ links: [ETH0] }))).toEqual({ problem: 'the node has no default route' });
    expect(findUplink('eth9', host({ links: [ETH0] }))).toEqual({ problem: 'there is no interface eth9' });
    for (const mac of ['', '00:00:00:00:00:00']) {
      expect(findUplink('tun0', host({ links: [link(4, 'tun0', mac)] }))).toEqual({
        problem: 'tun0 is no Ethernet interface',
      });
    }
  });

  it('has the address that the node speaks from, of those that others can answer', () => {
    const addresses = [
      address(2, 'fe80::1', { scope: 'link' }),
      address(2, 'fd01::9', { tentative: true }),
      address(2, 'fd01::3'),
      address(2, 'fd01::2'),
    ];
    const found = (source?: string) =>
      findUplink(
        'auto',
        host({
          links: [ETH0],
          addresses,
          routes: [{ family: 6, index: 2, ...(source === undefined ? {} : { source }) }],
        }),
      );
    expect(found('fd01::2')).toMatchObject({ ip4: undefined, ip6: 'fd01::2' });
    expect(found('fd01::9')).toMatchObject({ ip6: 'fd01::3' });
    expect(found()).toMatchObject({ ip6: 'fd01::3' });
  });
});

it('gets XDP where that gains something, or where it is asked for', () => {
  const veth = { ...ETH0, kind: 'veth' };
  expect([ETH0, veth].map((link) => xdpUnwanted('auto', link))).toEqual([undefined, 'eth0 is a veth']);
  expect([ETH0, veth].map((link) => xdpUnwanted('native', link))).toEqual([undefined, undefined]);
  expect(xdpUnwanted('off', ETH0)).toBe('the setting xdp is off');
});
