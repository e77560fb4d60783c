import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createVethPair, KernelError, Netns } from '../../src/netns/index.js';
import { connectedPair, TestNetns } from '../support/netns.js';

const linkNames = (netns: Netns) => netns.rtnl.links().map((link) => link.name);

describe('createVethPair', () => {
  let left: Netns;
  let right: Netns;
  beforeEach(() => {
    left = Netns.create();
    right = Netns.create();
  });
  afterEach(() => {
    left.close();
    right.close();
  });

  it('gives both ends their name, MAC, MTU, alias, addresses, routes, and sets them up', () => {
    const [a, b] = createVethPair(
      { netns: left, name: 'host0', mac: '02:00:00:00:00:01', alias: 'one', addresses: ['198.18.0.1/24'] },
      {
        netns: right,
        name: 'eth0',
        mac: '02:00:00:00:00:02',
        alias: 'two',
        addrGenMode: 'none',
        addresses: ['198.18.0.2/24', 'fd00::2/64'],
        routes: [
          { destination: 'default4', via: '198.18.0.1' },
          { destination: '10.0.0.0/8', via: '172.16.0.1', onLink: true, metric: 9 },
          { destination: 'default6', via: 'fd00::1' },
        ],
      },
      { mtu: 1400 },
    );
    expect(a).toMatchObject({ name: 'host0', mac: '02:00:00:00:00:01', mtu: 1400, up: true, alias: 'one' });
    expect(b).toMatchObject({ name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1400, up: true, alias: 'two' });
    expect(a.peerIndex).toBe(b.index);
    expect(right.rtnl.addresses(b.index)).toMatchObject([
      { address: '198.18.0.2', prefixLength: 24 },
      { address: 'fd00::2', prefixLength: 64, tentative: false },
    ]);
    const routes = right.rtnl.routes().filter((route) => route.protocol === 'static');
    expect(routes).toMatchObject([
      { destination: 'default4', via: '198.18.0.1' },
      { destination: '10.0.0.0/8', via: '172.16.0.1', onLink: true, metric: 9 },
      { destination: 'default6', via: 'fd00::1' },
    ]);
    expect(linkNames(left)).toEqual(['lo', 'host0']);
  });

  it('joins two ends within one namespace, and leaves an end down on request', () => {
    const [a, b] = createVethPair({ netns: left, name: 'a' }, { netns: left, name: 'b', up: false });
    expect([a.up, b.up]).toEqual([true, false]);
  });

  it('leaves nothing when a later step fails, and says which', () => {
    const pair = () =>
      createVethPair(
        { netns: left, name: 'a' },
        {
          netns: right,
          name: 'b',
          addresses: ['198.18.0.2/24'],
          routes: [{ destination: 'default4', via: '10.9.9.9' }],
        },
      );
    expect(pair).toThrow(KernelError);
    expect(pair).toThrow(/^add route to 0.0.0.0\/0 via 10.9.9.9 on link \d+ in netns \d+ .*\(ENETUNREACH\)$/);
    expect(linkNames(left)).toEqual(['lo']);
    expect(linkNames(right)).toEqual(['lo']);
  });

  it('leaves nothing when a name is taken or too long', () => {
    createVethPair({ netns: left, name: 'a' }, { netns: right, name: 'b' });
    expect(() => createVethPair({ netns: left, name: 'c' }, { netns: right, name: 'b' })).toThrow(/EEXIST/);
    expect(() =>
      createVethPair({ netns: left, name: 'sixteen-letters.' }, { netns: right, name: 'd' }),
    ).toThrow(RangeError);
    expect(linkNames(left)).toEqual(['lo', 'a']);
    expect(linkNames(right)).toEqual(['lo', 'b']);
  });

  it('configure() says which interface, address or route it stumbled over', () => {
    expect(() => left.configure('none', { up: true })).toThrow(
      /^change link none in netns \d+: No such device/,
    );
    left.configure('lo', { up: true, addresses: ['10.0.0.1/8'] });
    expect(() => left.configure('lo', { addresses: ['10.0.0.1/8'] })).toThrow(
      /^add address 10.0.0.1\/8 .*EEXIST/,
    );
  });
});

describe('packets between two namespaces', () => {
  it.each(['198.18.0.2', 'fd00::2'])('an echo request to %s is answered', async (address) => {
    using pair = connectedPair();
    expect(await pair.first.ping(address)).toBe(true);
  });

  it.each([
    ['tcp', '198.18.0.2', '::ffff:198.18.0.1'],
    ['tcp', 'fd00::2', 'fd00::1'],
    ['udp', '198.18.0.2', '198.18.0.1'],
    ['udp', 'fd00::2', 'fd00::1'],
  ] as const)('%s to %s reaches the server there', async (protocol, address, from) => {
    using pair = connectedPair();
    await pair.second.listen({ address, port: 8080, protocol });
    const answer = await pair.first.dial({ address, port: 8080, protocol });
    expect(answer).toBe(`${from.replace('::ffff:', '')}|hello`);
  });

  it('what is not connected gets no answer', async () => {
    using pair = connectedPair();
    using stranger = TestNetns.create();
    await pair.second.listen({ address: '198.18.0.2', port: 8080 });
    expect(await stranger.dial({ address: '198.18.0.2', port: 8080 })).toBeUndefined();
    expect(await pair.first.dial({ address: '198.18.0.2', port: 8081 })).toBeUndefined();
  });

  it('a packet larger than the MTU does not pass with "do not fragment"', async () => {
    using first = TestNetns.create();
    using second = TestNetns.create();
    createVethPair(
      { netns: first.net, name: 'eth0', addresses: ['198.18.0.1/24'] },
      { netns: second.net, name: 'eth0', addresses: ['198.18.0.2/24'] },
      { mtu: 1400 },
    );
    const ping = (bytes: number) =>
      first.exec('ping', ['-c', '1', '-W', '1', '-M', 'do', '-s', `${bytes}`, '198.18.0.2']);
    await ping(1400 - 28);
    await expect(ping(1400 - 27)).rejects.toThrow();
  });
});
