import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CNI_VERSIONS, cniResult, createVethPair, Netns } from '../../src/netns/index.js';

const SANDBOX = '/run/netns/container';

let host: Netns;
let container: Netns;
beforeEach(() => {
  host = Netns.create();
  container = Netns.create();
  createVethPair(
    { netns: host, name: 'host0', mac: '02:00:00:00:00:01', addresses: ['198.18.0.1/24'] },
    {
      netns: container,
      name: 'eth0',
      mac: '02:00:00:00:00:02',
      addresses: ['198.18.0.2/24', 'fd00::2/64'],
      routes: [
        { destination: 'default4', via: '198.18.0.1' },
        { destination: '10.0.0.1/32', scope: 'link', metric: 5 },
        { destination: 'default6', via: 'fd00::1' },
      ],
    },
    { mtu: 1400 },
  );
});
afterEach(() => {
  host.close();
  container.close();
});

const interfaces = () => [
  { netns: host, name: 'host0' },
  { netns: container, name: 'eth0', sandbox: SANDBOX },
];

describe('cniResult', () => {
  it('1.1.0 has everything that the kernel has, and the DNS that it is given', () => {
    const dns = { nameservers: ['198.18.0.1'], search: ['example.org'] };
    expect(cniResult({ interfaces: interfaces(), dns })).toEqual({
      cniVersion: '1.1.0',
      interfaces: [
        { name: 'host0', mac: '02:00:00:00:00:01', mtu: 1400 },
        { name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1400, sandbox: SANDBOX },
      ],
      ips: [
        { address: '198.18.0.2/24', gateway: '198.18.0.1', interface: 1 },
        { address: 'fd00::2/64', gateway: 'fd00::1', interface: 1 },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '198.18.0.1' },
        { dst: '10.0.0.1/32', priority: 5, scope: 253 },
        { dst: '::/0', gw: 'fd00::1', priority: 1024 },
      ],
      dns,
    });
  });

  it('1.0.0 has none of the fields that came with 1.1.0', () => {
    expect(cniResult({ cniVersion: '1.0.0', interfaces: interfaces() })).toEqual({
      cniVersion: '1.0.0',
      interfaces: [
        { name: 'host0', mac: '02:00:00:00:00:01' },
        { name: 'eth0', mac: '02:00:00:00:00:02', sandbox: SANDBOX },
      ],
      ips: [
        { address: '198.18.0.2/24', gateway: '198.18.0.1', interface: 1 },
        { address: 'fd00::2/64', gateway: 'fd00::1', interface: 1 },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '198.18.0.1' },
        { dst: '10.0.0.1/32' },
        { dst: '::/0', gw: 'fd00::1' },
      ],
    });
  });

  it.each(CNI_VERSIONS.filter((version) => version.startsWith('0.')))(
    '%s names the family of each address',
    (cniVersion) => {
      const { ips } = cniResult({ cniVersion, interfaces: interfaces() });
      expect(ips.map((ip) => ip.version)).toEqual(['4', '6']);
    },
  );

  it('says which interface is not there', () => {
    expect(() => cniResult({ interfaces: [{ netns: host, name: 'none' }] })).toThrow(
      `CNI result: no interface none in netns ${host.inode}`,
    );
  });
});
