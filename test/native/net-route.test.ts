import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KernelError } from '../../src/native/errors.js';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';

let netns: NetnsHandle;
let rtnl: Rtnl;
let index: number;

beforeEach(() => {
  netns = NetnsHandle.createUnnamed();
  rtnl = Rtnl.open(netns);
  rtnl.createVeth({ name: 'a', peerName: 'b' });
  for (const name of ['a', 'b']) rtnl.setLink(name, { addrGenMode: 'none', up: true });
  index = rtnl.link('a')?.index ?? 0;
});
afterEach(() => {
  rtnl.close();
  netns.close();
});

const codeOf = (fn: () => unknown) => {
  try {
    fn();
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
  return 'no error';
};

describe('addresses', () => {
  it('adds IPv4 and IPv6 addresses with their prefix length', () => {
    rtnl.addAddress({ index, address: '10.1.2.3/16' });
    rtnl.addAddress({ index, address: 'fd00::3/64', noDad: true });
    expect(rtnl.addresses(index)).toEqual([
      expect.objectContaining({ index, address: '10.1.2.3', prefixLength: 16, family: 4, scope: 'global' }),
      expect.objectContaining({ index, address: 'fd00::3', prefixLength: 64, family: 6, scope: 'global' }),
    ]);
  });

  it('noDad makes an IPv6 address usable at once', () => {
    rtnl.addAddress({ index, address: 'fd00::1/64', noDad: true });
    rtnl.addAddress({ index, address: 'fd00::2/64' });
    expect(rtnl.addresses(index)).toMatchObject([
      { address: 'fd00::2', tentative: true, noDad: false },
      { address: 'fd00::1', tentative: false, noDad: true },
    ]);
  });

  it('noPrefixRoute leaves the routing table as it is', () => {
    rtnl.addAddress({ index, address: '10.1.2.3/16', noPrefixRoute: true });
    rtnl.addAddress({ index, address: 'fd00::3/64', noPrefixRoute: true, noDad: true });
    expect(rtnl.routes()).toEqual([]);
    expect(rtnl.addresses(index).map((address) => address.noPrefixRoute)).toEqual([true, true]);
  });

  it('an unreachable route refuses what has no closer one, and is told by its metric', () => {
    for (const [range, address] of [
      ['10.1.0.0/16', '10.1.2.3'],
      ['fd00:1::/64', 'fd00:1::3'],
    ] as const) {
      const route = { destination: range, type: 'unreachable', metric: 4711 } as const;
      rtnl.addRoute(route);
      rtnl.addRoute({ ...route, replace: true });
      rtnl.addRoute({ destination: `${address}/${address.includes(':') ? 128 : 32}`, index, scope: 'link' });
      expect(rtnl.unreachable(4711)).toEqual([range]);
      expect(rtnl.unreachable(4712)).toEqual([]);
      expect(rtnl.routes().map(({ destination }) => destination)).not.toContain(range);
      expect(rtnl.deleteRoute({ ...route, metric: 4712 })).toBe(false);
      expect(rtnl.deleteRoute(route)).toBe(true);
      expect(rtnl.deleteRoute(route)).toBe(false);
      expect(rtnl.unreachable(4711)).toEqual([]);
    }
    expect(() => rtnl.addRoute({ destination: '10.0.0.0/8', type: 'unreachable', index })).toThrow(
      RangeError,
    );
  });

  it.each([
    ['10.1.0.0/16', '10.1.2.3/32', '10.1.2.3', '10.1.2.4', '10.2.0.1'],
    ['fd00:1::/64', 'fd00:1::3/128', 'fd00:1::3', 'fd00:1::4', 'fd00:2::1'],
  ])('routeTo tells the route that the kernel takes: %s', (range, single, address, near, far) => {
    const other = rtnl.link('b')?.index ?? 0;
    rtnl.addRoute({ destination: range, index: other, scope: 'link' });
    rtnl.addRoute({ destination: single, index, scope: 'link' });
    expect(rtnl.routeTo(address)).toMatchObject([{ destination: single, index }]);
    expect(rtnl.routeTo(near)).toMatchObject([{ destination: range, index: other }]);
    expect(rtnl.routeTo(far)).toEqual([]);
    rtnl.deleteRoute({ destination: range });
    rtnl.addRoute({ destination: range, type: 'unreachable' });
    expect(rtnl.routeTo(near)).toEqual([]);
  });

  it('routes stops at as many as are asked for', () => {
    for (let at = 1; at <= 3; at++) rtnl.addRoute({ destination: `10.${at}.0.0/16`, index, scope: 'link' });
    expect(rtnl.routes(4, 3)).toHaveLength(3);
    expect(codeOf(() => rtnl.routes(4, 2))).toBe('E2BIG');
  });

  it('an address in use is EEXIST and says on which link of which namespace', () => {
    rtnl.addAddress({ index, address: '10.1.2.3/16' });
    expect(() => rtnl.addAddress({ index, address: '10.1.2.3/16' })).toThrow(
      new RegExp(
        `^add address 10.1.2.3/16 on link ${index} in netns ${netns.inode}.*: File exists \\(EEXIST\\)$`,
      ),
    );
  });

  it('deleteAddress says whether it was there', () => {
    rtnl.addAddress({ index, address: '10.1.2.3/16' });
    rtnl.addAddress({ index, address: 'fd00::3/64', noDad: true });
    expect(rtnl.deleteAddress({ index, address: 'fd00::3/64' })).toBe(true);
    expect(rtnl.deleteAddress({ index, address: 'fd00::3/64' })).toBe(false);
    expect(rtnl.deleteAddress({ index, address: '10.1.2.3/16' })).toBe(true);
    expect(rtnl.deleteAddress({ index, address: '10.1.2.3/16' })).toBe(false);
    expect(rtnl.deleteAddress({ index: 4711, address: '10.1.2.3/16' })).toBe(false);
    expect(rtnl.addresses(index)).toEqual([]);
  });

  it('a link that is not there has no addresses and takes none', () => {
    expect(rtnl.addresses(4711)).toEqual([]);
    expect(codeOf(() => rtnl.addAddress({ index: 4711, address: '10.0.0.1/8' }))).toBe('ENODEV');
  });

  it.each([
    '',
    '10.0.0.1',
    '10.0.0/8',
    '10.0.0.1/33',
    '10.0.0.1/',
    '10.0.0.1/8x',
    'fd00::1/129',
    'host/8',
    '10.0.0.1/-1',
  ])('refuses "%s" before the kernel sees it', (address) => {
    expect(() => rtnl.addAddress({ index, address })).toThrow(RangeError);
  });

  it('lists more addresses than fit into one message', () => {
    for (let i = 0; i < 1000; i++) rtnl.addAddress({ index, address: `10.1.${i >> 8}.${i & 255}/32` });
    expect(rtnl.addresses(index)).toHaveLength(1000);
    expect(new Set(rtnl.addresses().map((address) => address.address)).size).toBe(1000);
  });
});

it('a namespace in which nothing has made the main table yet has no routes', () => {
  using empty = NetnsHandle.createUnnamed();
  using inside = Rtnl.open(empty);
  expect(inside.routes()).toEqual([]);
  expect(inside.unreachable(100)).toEqual([]);
});

describe('routes', () => {
  beforeEach(() => {
    rtnl.addAddress({ index, address: '10.1.0.1/16' });
    rtnl.addAddress({ index, address: 'fd00::1/64', noDad: true });
  });

  it('adds default routes of both families', () => {
    rtnl.addRoute({ destination: 'default4', via: '10.1.0.2' });
    rtnl.addRoute({ destination: 'default6', via: 'fd00::2' });
    expect(rtnl.routes(4)).toContainEqual({
      family: 4,
      destination: 'default4',
      via: '10.1.0.2',
      index,
      scope: 'global',
      protocol: 'static',
      onLink: false,
    });
    expect(rtnl.routes(6)).toContainEqual(
      expect.objectContaining({ destination: 'default6', via: 'fd00::2', index, protocol: 'static' }),
    );
  });

  it('onLink takes a gateway that no prefix covers; without it the kernel says why not', () => {
    expect(() => rtnl.addRoute({ destination: '10.9.0.0/16', via: '172.16.0.1', index })).toThrow(
      /kernel: Nexthop has invalid gateway.*\(ENETUNREACH\)/,
    );
    rtnl.addRoute({ destination: '10.9.0.0/16', via: '172.16.0.1', index, onLink: true });
    rtnl.addRoute({ destination: 'fd09::/64', via: 'fd77::1', index, onLink: true });
    const found = rtnl.routes().filter((route) => route.via !== undefined);
    expect(found).toMatchObject([
      { destination: '10.9.0.0/16', via: '172.16.0.1', onLink: true },
      { destination: 'fd09::/64', via: 'fd77::1', onLink: true },
    ]);
  });

  it('keeps source, metric and scope', () => {
    rtnl.addRoute({ destination: '10.9.0.1/32', index, scope: 'link', source: '10.1.0.1', metric: 42 });
    expect(rtnl.routes(4)).toContainEqual(
      expect.objectContaining({ destination: '10.9.0.1/32', scope: 'link', source: '10.1.0.1', metric: 42 }),
    );
  });

  it('refuses a second route to the same destination unless replace is set', () => {
    rtnl.addRoute({ destination: '10.9.0.0/16', via: '10.1.0.2' });
    expect(codeOf(() => rtnl.addRoute({ destination: '10.9.0.0/16', via: '10.1.0.3' }))).toBe('EEXIST');
    rtnl.addRoute({ destination: '10.9.0.0/16', via: '10.1.0.3', replace: true });
    expect(rtnl.routes(4).filter((route) => route.destination === '10.9.0.0/16')).toMatchObject([
      { via: '10.1.0.3' },
    ]);
  });

  it('deleteRoute matches what is said and says whether there was one', () => {
    rtnl.addRoute({ destination: 'default4', via: '10.1.0.2' });
    rtnl.addRoute({ destination: 'default6', via: 'fd00::2' });
    expect(rtnl.deleteRoute({ destination: 'default4', via: '10.1.0.9' })).toBe(false);
    expect(rtnl.deleteRoute({ destination: 'default4' })).toBe(true);
    expect(rtnl.deleteRoute({ destination: 'default4' })).toBe(false);
    expect(rtnl.deleteRoute({ destination: 'default6', via: 'fd00::2', index })).toBe(true);
    expect(rtnl.deleteRoute({ destination: 'default6' })).toBe(false);
  });

  it('refuses destinations with host bits, and mixed families', () => {
    expect(codeOf(() => rtnl.addRoute({ destination: '10.9.0.1/16', index }))).toBe('EINVAL');
    expect(() => rtnl.addRoute({ destination: '10.9.0.0/16', via: 'fd00::2' })).toThrow(RangeError);
    expect(() => rtnl.addRoute({ destination: 'default', index })).toThrow(RangeError);
    expect(() => rtnl.addRoute({ destination: 'default4', via: '10.1.0.2/16' })).toThrow(RangeError);
    expect(() => rtnl.addRoute({ destination: '10.9.0.0/16', index, scope: 'x' as 'link' })).toThrow(
      RangeError,
    );
    expect(() => rtnl.routes(5 as 4)).toThrow(RangeError);
  });
});

describe('neighbours', () => {
  it('sets permanent entries of both families and replaces them', () => {
    rtnl.setNeighbour({ index, address: '10.1.0.9', mac: '02:00:00:00:00:09', permanent: true });
    rtnl.setNeighbour({ index, address: 'fd00::9', mac: '02:00:00:00:00:09', permanent: true });
    rtnl.setNeighbour({ index, address: '10.1.0.9', mac: '02:00:00:00:00:0a', permanent: true });
    expect(rtnl.neighbours(index).filter((entry) => entry.state === 'permanent')).toEqual([
      { index, address: '10.1.0.9', mac: '02:00:00:00:00:0a', state: 'permanent' },
      { index, address: 'fd00::9', mac: '02:00:00:00:00:09', state: 'permanent' },
    ]);
    const other = rtnl.link('b')?.index;
    expect(rtnl.neighbours(other).filter((entry) => entry.state === 'permanent')).toEqual([]);
  });

  it('deleteNeighbour says whether it was there', () => {
    rtnl.setNeighbour({ index, address: '10.1.0.9', mac: '02:00:00:00:00:09', permanent: true });
    expect(rtnl.deleteNeighbour({ index, address: '10.1.0.9' })).toBe(true);
    expect(rtnl.deleteNeighbour({ index, address: '10.1.0.9' })).toBe(false);
    expect(rtnl.deleteNeighbour({ index: 4711, address: '10.1.0.9' })).toBe(false);
  });

  it('refuses what is no address', () => {
    for (const address of ['', 'x', '10.0.0.1/8', '10.0.0.1 '])
      expect(() => rtnl.setNeighbour({ index, address, mac: '02:00:00:00:00:09', permanent: true })).toThrow(
        RangeError,
      );
  });
});
