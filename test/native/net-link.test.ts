import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClosedError, KernelError } from '../../src/native/errors.js';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';

const MAC = '02:00:00:00:00:01';
const PEER_MAC = '02:00:00:00:00:02';

let here: NetnsHandle;
let there: NetnsHandle;
let rtnl: Rtnl;
let peerRtnl: Rtnl;

beforeEach(() => {
  here = NetnsHandle.createUnnamed();
  there = NetnsHandle.createUnnamed();
  rtnl = Rtnl.open(here);
  peerRtnl = Rtnl.open(there);
});
afterEach(() => {
  for (const handle of [rtnl, peerRtnl, here, there]) handle.close();
});

const failure = (fn: () => unknown): KernelError => {
  try {
    fn();
  } catch (error) {
    if (error instanceof KernelError) return error;
    throw error;
  }
  throw new Error('it did not fail');
};
const names = (socket: Rtnl) => socket.links().map((link) => link.name);

describe('createVeth', () => {
  it('makes each end in its namespace, down, with its MAC, MTU and alias', () => {
    const alias = 'quantum:endpoint:7';
    const made = rtnl.createVeth({
      name: 'host0',
      peerName: 'eth0',
      peerNetns: there,
      mac: MAC,
      peerMac: PEER_MAC,
      mtu: 1400,
      alias,
      addrGenMode: 'none',
    });
    const host = rtnl.link('host0');
    const peer = peerRtnl.link('eth0');
    expect(host).toMatchObject({ name: 'host0', mac: MAC, mtu: 1400, up: false, kind: 'veth', alias });
    expect(peer).toMatchObject({ name: 'eth0', mac: PEER_MAC, mtu: 1400, up: false, kind: 'veth' });
    expect([host?.addrGenMode, peer?.addrGenMode]).toEqual(['none', 'eui64']);
    expect(host?.peerIndex).toBe(peer?.index);
    expect(peer?.peerIndex).toBe(host?.index);
    expect(made).toEqual({ index: host?.index, peerIndex: peer?.index });
    expect(names(rtnl)).toEqual(['lo', 'host0']);
    expect(names(peerRtnl)).toEqual(['lo', 'eth0']);
  });

  it('sets up IPv4 on the end that is not the peer', () => {
    const ipv4Conf = { arpIgnore: 8, acceptRedirects: 0, acceptSourceRoute: 1, dropUnicastInL2Multicast: 1 };
    rtnl.createVeth({ name: 'host0', peerName: 'eth0', ipv4Conf });
    const read = (name: string) =>
      here.run(() =>
        ['arp_ignore', 'accept_redirects', 'accept_source_route', 'drop_unicast_in_l2_multicast'].map(
          (setting) => readFileSync(`/proc/sys/net/ipv4/conf/${name}/${setting}`, 'utf8').trim(),
        ),
      );
    expect(read('host0')).toEqual(['8', '0', '1', '1']);
    expect(read('eth0')).toEqual(read('default'));
  });

  it('makes both ends in one namespace when no other is given, with MACs of the kernel', () => {
    rtnl.createVeth({ name: 'a', peerName: 'b' });
    expect(names(rtnl).sort()).toEqual(['a', 'b', 'lo']);
    expect(rtnl.link('a')?.mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    expect(rtnl.link('a')?.mtu).toBe(1500);
  });

  it('makes nothing when a name is taken on either side', () => {
    rtnl.createVeth({ name: 'taken', peerName: 'taken', peerNetns: there });
    expect(failure(() => rtnl.createVeth({ name: 'taken', peerName: 'x', peerNetns: there })).code).toBe(
      'EEXIST',
    );
    expect(failure(() => rtnl.createVeth({ name: 'x', peerName: 'taken', peerNetns: there })).code).toBe(
      'EEXIST',
    );
    expect(names(rtnl)).toEqual(['lo', 'taken']);
    expect(names(peerRtnl)).toEqual(['lo', 'taken']);
  });

  it('says what it tried, where, and what the kernel said', () => {
    rtnl.createVeth({ name: 'taken', peerName: 'x' });
    const error = failure(() => rtnl.createVeth({ name: 'taken', peerName: 'y' }));
    expect(error.message).toBe(`create link taken in netns ${here.inode}: File exists (EEXIST)`);
    expect(error.operation).toBe('create');
    const mtu = failure(() => rtnl.createBridge({ name: 'br', mtu: 1 }));
    expect(mtu.message).toMatch(/kernel: .*mtu.*\(EINVAL\)/);
  });

  it.each([
    ['empty', ''],
    ['longer than 15 bytes', 'abcdefghijklmnop'],
    ['longer than 15 bytes in UTF-8', 'éééééééé'],
    ['.', '.'],
    ['..', '..'],
    ['with a slash', 'a/b'],
    ['with a colon', 'a:b'],
    ['with a space', 'a b'],
    ['a pattern', 'veth%d'],
  ])('refuses a name that is %s before the kernel sees it', (_, name) => {
    expect(() => rtnl.createVeth({ name, peerName: 'ok' })).toThrow(RangeError);
    expect(() => rtnl.createVeth({ name: 'ok', peerName: name })).toThrow(RangeError);
    expect(names(rtnl)).toEqual(['lo']);
  });

  it('takes names of 15 bytes', () => {
    rtnl.createVeth({ name: 'abcdefghijklmno', peerName: 'bcdefghijklmnop' });
    expect(names(rtnl)).toContain('abcdefghijklmno');
  });

  it.each([
    '',
    '02:00:00:00:00',
    '02:00:00:00:00:0g',
    '02-00-00-00-00-01',
    '02:00:00:00:00:01:02',
    '+2:00:00:00:00:01',
  ])('refuses "%s" as MAC address', (mac) => {
    expect(() => rtnl.createVeth({ name: 'a', peerName: 'b', mac })).toThrow(RangeError);
  });

  it('refuses missing names, wrong types and too long aliases', () => {
    expect(() => rtnl.createVeth({ name: 'a' } as never)).toThrow(TypeError);
    expect(() => rtnl.createVeth({ name: 'a', peerName: 5 } as never)).toThrow(TypeError);
    expect(() => rtnl.createVeth({ name: 'a', peerName: 'b', mtu: -1 })).toThrow(RangeError);
    expect(() => rtnl.createBridge({ name: 'br', alias: 'x'.repeat(255) })).toThrow(RangeError);
    rtnl.createBridge({ name: 'br', alias: 'x'.repeat(254) });
    expect(rtnl.link('br')?.alias).toHaveLength(254);
  });
});

describe('other kinds', () => {
  it('createBridge makes a bridge with MAC, MTU and alias', () => {
    rtnl.createBridge({ name: 'br0', mac: MAC, mtu: 1450, alias: 'quantum:network:1' });
    expect(rtnl.link('br0')).toMatchObject({
      kind: 'bridge',
      mac: MAC,
      mtu: 1450,
      alias: 'quantum:network:1',
    });
  });

  it('createDummy makes a dummy, or says that the kernel has none', () => {
    try {
      rtnl.createDummy({ name: 'd0' });
      expect(rtnl.link('d0')?.kind).toBe('dummy');
    } catch (error) {
      expect(error).toMatchObject({ code: 'EOPNOTSUPP' });
    }
  });
});

describe('link', () => {
  it('finds by name and by index, and gives undefined for what is not there', () => {
    const byName = rtnl.link('lo');
    expect(byName).toMatchObject({ index: 1, name: 'lo', up: false, mac: '00:00:00:00:00:00' });
    expect(rtnl.link(1)).toEqual(byName);
    expect(rtnl.link('none')).toBeUndefined();
    expect(rtnl.link(4711)).toBeUndefined();
  });

  it('refuses indices that cannot be', () => {
    for (const index of [0, -1, 1.5, 2 ** 31, Number.NaN]) expect(() => rtnl.link(index)).toThrow(RangeError);
  });

  it('lists more links than fit into one message', () => {
    for (let i = 0; i < 60; i++) rtnl.createVeth({ name: `a${i}`, peerName: `b${i}` });
    expect(rtnl.links()).toHaveLength(121);
  });
});

describe('setLink', () => {
  beforeEach(() => rtnl.createVeth({ name: 'a', peerName: 'b', peerNetns: there }));

  it('changes what is named and nothing else', () => {
    const before = rtnl.link('a');
    rtnl.setLink('a', { mtu: 1300, mac: MAC, alias: 'new' });
    expect(rtnl.link('a')).toEqual({ ...before, mtu: 1300, mac: MAC, alias: 'new' });
  });

  it('sets a link up and down', () => {
    rtnl.setLink('a', { up: true });
    expect(rtnl.link('a')?.up).toBe(true);
    peerRtnl.setLink('b', { up: true });
    expect(rtnl.link('a')?.operState).toBe('up');
    rtnl.setLink('a', { up: false });
    expect(rtnl.link('a')).toMatchObject({ up: false, operState: 'down' });
  });

  it('takes an index in place of the name', () => {
    rtnl.setLink(rtnl.link('a')?.index ?? 0, { mtu: 1234 });
    expect(rtnl.link('a')?.mtu).toBe(1234);
  });

  it('renames', () => {
    rtnl.setLink('a', { name: 'renamed' });
    expect(names(rtnl)).toEqual(['lo', 'renamed']);
  });

  it('addrGenMode none leaves an interface that comes up without link-local address', () => {
    rtnl.setLink('a', { addrGenMode: 'none' });
    expect(rtnl.link('a')?.addrGenMode).toBe('none');
    rtnl.setLink('a', { up: true });
    peerRtnl.setLink('b', { up: true });
    expect(rtnl.addresses(rtnl.link('a')?.index)).toEqual([]);
    expect(peerRtnl.addresses(peerRtnl.link('b')?.index)).toMatchObject([{ family: 6, scope: 'link' }]);
  });

  it('switches ARP off and on', () => {
    rtnl.setLink('a', { arp: false });
    expect(rtnl.link('a')?.arp).toBe(false);
    rtnl.setLink('a', { arp: true });
    expect(rtnl.link('a')?.arp).toBe(true);
  });

  it('makes it a port of a bridge and releases it', () => {
    rtnl.createBridge({ name: 'br0' });
    const bridge = rtnl.link('br0')?.index ?? 0;
    rtnl.setLink('a', { master: bridge });
    expect(rtnl.link('a')?.masterIndex).toBe(bridge);
    rtnl.setLink('a', { master: null });
    expect(rtnl.link('a')?.masterIndex).toBeUndefined();
  });

  it('moves it to another namespace under another name', () => {
    rtnl.setLink('a', { netns: there, name: 'moved' });
    expect(names(rtnl)).toEqual(['lo']);
    expect(names(peerRtnl).sort()).toEqual(['b', 'lo', 'moved']);
  });

  it('says which link is not there', () => {
    const message = `change link none in netns ${here.inode}: No such device (ENODEV)`;
    expect(failure(() => rtnl.setLink('none', { up: true })).message).toBe(message);
    expect(failure(() => rtnl.setLink(4711, { up: true })).code).toBe('ENODEV');
  });
});

describe('deleteLink', () => {
  it('takes both ends of a veth and says whether there was one', () => {
    rtnl.createVeth({ name: 'a', peerName: 'b', peerNetns: there });
    expect(rtnl.deleteLink('a')).toBe(true);
    expect(names(peerRtnl)).toEqual(['lo']);
    expect(rtnl.deleteLink('a')).toBe(false);
    expect(rtnl.deleteLink(4711)).toBe(false);
  });

  it('deleteLinkAsync does the same off the event loop, also when the socket is closed meanwhile', async () => {
    rtnl.createVeth({ name: 'a', peerName: 'b', peerNetns: there });
    const gone = rtnl.deleteLinkAsync('a');
    expect(await rtnl.deleteLinkAsync('none')).toBe(false);
    await expect(rtnl.deleteLinkAsync('lo')).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
    rtnl.close();
    expect(await gone).toBe(true);
    expect(names(peerRtnl)).toEqual(['lo']);
    await expect(rtnl.deleteLinkAsync('a')).rejects.toThrow(ClosedError);
  });

  it('throws when the link cannot be deleted', () => {
    expect(failure(() => rtnl.deleteLink('lo')).code).toBe('EOPNOTSUPP');
  });
});

describe('a socket', () => {
  it('stays in its namespace, also after the handle of the namespace is closed', () => {
    rtnl.createBridge({ name: 'br0' });
    here.close();
    expect(names(rtnl)).toEqual(['lo', 'br0']);
  });

  it('without a namespace is in that of the calling thread', () => {
    const inside = there.run(() => Rtnl.open());
    peerRtnl.createBridge({ name: 'br0' });
    expect(names(inside)).toEqual(['lo', 'br0']);
    inside.close();
  });

  it('can be closed twice and used no more', () => {
    rtnl.close();
    rtnl.close();
    expect(rtnl.closed).toBe(true);
    for (const use of [
      () => rtnl.links(),
      () => rtnl.link('lo'),
      () => rtnl.addresses(),
      () => rtnl.createBridge({ name: 'x' }),
      () => rtnl.watch(['link'], () => {}),
    ])
      expect(use).toThrow(ClosedError);
  });
});
