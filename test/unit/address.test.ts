import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressAt,
  anyCidr,
  cidrContains,
  cidrSize,
  cidrsOverlap,
  eui64LinkLocal,
  formatAddress,
  formatCidr,
  fromBytes16,
  ipAddress,
  ipv4Address,
  ipv6Address,
  lastAddress,
  networkCidr4,
  networkCidr6,
  offsetOf,
  parseAddress,
  parseCidr,
  reservedUse,
  toBytes16,
} from '../../src/model/address.js';

const family = fc.constantFrom(4 as const, 6 as const);
const address = family.chain((of) =>
  fc.bigInt({ min: 0n, max: (1n << (of === 4 ? 32n : 128n)) - 1n }).map((value) => ({ family: of, value })),
);
const isMapped = ({ family: of, value }: { family: 4 | 6; value: bigint }) =>
  of === 6 && value >> 32n === 0xffffn;

function messageOf(schema: typeof ipAddress, text: string): string {
  return schema.safeParse(text).error?.issues[0]?.message ?? 'accepted';
}

describe('an address', () => {
  it.each([
    '10.0.0',
    '010.0.0.1',
    '0x7f.0.0.1',
    '10.0.0.256',
    '1',
    '',
    ' 10.0.0.1',
    '10.0.0.1/8',
    'fd00:::1',
    'g::',
  ])('is not %j', (text) => expect(() => parseAddress(text)).toThrow('must be an IPv4 or IPv6 address'));

  it('has no zone id and is not IPv4-mapped', () => {
    expect(() => parseAddress('fe80::1%eth0')).toThrow('zone id');
    for (const text of ['::ffff:10.0.0.1', '::ffff:a00:1', '0:0:0:0:0:ffff:0a00:0001']) {
      expect(() => parseAddress(text)).toThrow('IPv4-mapped');
    }
  });

  it.each([
    ['FD00:0:0:0::1', 'fd00::1'],
    ['fd00:0:0:1:0:0:0:1', 'fd00:0:0:1::1'],
    ['::', '::'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
    ['10.0.0.1', '10.0.0.1'],
  ])('%s is written %s', (text, canonical) => {
    expect(formatAddress(parseAddress(text))).toBe(canonical);
    expect(ipAddress.parse(text)).toBe(canonical);
  });

  it('is the same after being written and read, as text and as 16 bytes', () => {
    fc.assert(
      fc.property(address, (one) => {
        fc.pre(!isMapped(one));
        expect(parseAddress(formatAddress(one))).toEqual(one);
        expect(fromBytes16(toBytes16(one))).toEqual(one.value === 0n && one.family === 6 ? undefined : one);
      }),
    );
  });

  it('of IPv4 is 16 bytes in its mapped form, and none is all zero', () => {
    expect(Buffer.from(toBytes16(parseAddress('198.18.0.1'))).toString('hex')).toBe(
      '00000000000000000000ffffc6120001',
    );
    expect(fromBytes16(new Uint8Array(16))).toBeUndefined();
    expect(() => fromBytes16(new Uint8Array(4))).toThrow(RangeError);
  });

  it('is refused by a schema of the other family', () => {
    expect(messageOf(ipv4Address, 'fd00::1')).toBe('must be an IPv4 address');
    expect(messageOf(ipv6Address, '10.0.0.1')).toBe('must be an IPv6 address');
  });
});

describe('a range', () => {
  it('with host bits is refused, naming the right base', () => {
    expect(() => parseCidr('10.1.2.3/16')).toThrow('the range is 10.1.0.0/16');
    expect(() => parseCidr('fd00::5/64')).toThrow('the range is fd00::/64');
    expect(formatCidr(parseCidr('10.1.2.3/16', 'mask'))).toBe('10.1.0.0/16');
  });

  it.each([
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0/8',
    'fd00::/129',
    '/8',
    '1/2/3',
  ])('is not %j', (text) => {
    expect(() => parseCidr(text)).toThrow();
    expect(anyCidr.safeParse(text).success).toBe(false);
  });

  it('contains exactly the addresses from its base to its last', () => {
    fc.assert(
      fc.property(address, fc.nat(128), address, (inside, length, other) => {
        fc.pre(!isMapped(inside));
        const prefixLength = Math.min(length, inside.family === 4 ? 32 : 128);
        const cidr = parseCidr(`${formatAddress(inside)}/${prefixLength}`, 'mask');
        expect(cidrContains(cidr, inside)).toBe(true);
        expect(addressAt(cidr, offsetOf(cidr, inside))).toEqual(inside);
        const isBetween = other.value >= cidr.base && other.value <= lastAddress(cidr).value;
        expect(cidrContains(cidr, other)).toBe(other.family === cidr.family && isBetween);
        expect(cidrSize(cidr)).toBe(lastAddress(cidr).value - cidr.base + 1n);
      }),
    );
  });

  it.each([
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.0.0.0/16', '10.1.0.0/16', false],
    ['0.0.0.0/0', '10.1.0.0/16', true],
    ['::/0', '10.1.0.0/16', false],
    ['fd00::/48', 'fd00:0:0:1::/64', true],
  ])('%s and %s overlap: %s', (left, right, expected) => {
    expect(cidrsOverlap(parseCidr(left), parseCidr(right))).toBe(expected);
    expect(cidrsOverlap(parseCidr(right), parseCidr(left))).toBe(expected);
  });

  it('knows which of its addresses are not for interfaces', () => {
    const use = (cidr: string, text: string) => reservedUse(parseCidr(cidr), parseAddress(text));
    expect(use('10.0.0.0/24', '10.0.0.0')).toBe('the network address');
    expect(use('10.0.0.0/24', '10.0.0.255')).toBe('the broadcast address');
    expect(use('10.0.0.0/24', '10.0.0.1')).toBeUndefined();
    expect(use('fd00::/64', 'fd00::')).toBe('the subnet-router anycast address');
    expect(use('fd00::/126', 'fd00::3')).toBeUndefined();
  });

  it('does not reach beyond itself', () => {
    expect(() => addressAt(parseCidr('10.0.0.0/30'), 4n)).toThrow(RangeError);
    expect(() => offsetOf(parseCidr('10.0.0.0/30'), parseAddress('10.0.0.4'))).toThrow(RangeError);
  });
});

describe('the range of a network', () => {
  it.each([
    ['127.0.0.0/16', 'loopback'],
    ['224.1.0.0/16', 'multicast'],
    ['169.254.0.0/16', 'link-local'],
    ['0.0.0.0/8', 'unspecified'],
    ['0.1.0.0/16', 'unspecified'],
    ['240.0.0.0/8', 'reserved'],
    ['0.0.0.0/0', 'unspecified'],
    ['10.0.0.0/31', 'between 8 and 30'],
    ['12.0.0.0/7', 'between 8 and 30'],
    ['10.0.0.1/16', 'the range is 10.0.0.0/16'],
    ['fd00::/64', 'must be an IPv4 range'],
  ])('is not %s: %s', (text, why) => expect(messageOf(networkCidr4, text)).toContain(why));

  it.each([
    ['fe80::/64', 'link-local'],
    ['ff02::/64', 'multicast'],
    ['::/64', 'loopback'],
    ['::1/128', 'loopback'],
    ['::ffff:10.0.0.0/112', 'IPv4-mapped'],
    ['fd00::/127', 'between 48 and 126'],
    ['fd00::/32', 'between 48 and 126'],
    ['fe80::%eth0/64', 'zone id'],
    ['10.0.0.0/8', 'must be an IPv6 range'],
  ])('is not %s: %s', (text, why) => expect(messageOf(networkCidr6, text)).toContain(why));

  it.each(['10.0.0.0/8', '172.16.0.0/30', '198.18.0.0/15'])('can be %s', (text) => {
    expect(networkCidr4.parse(text)).toBe(text);
  });
});

describe('a link-local address', () => {
  it('is derived from the MAC as the kernel does it', () => {
    expect(eui64LinkLocal('02:00:00:00:00:01')).toBe('fe80::ff:fe00:1');
    expect(eui64LinkLocal('52:54:00:12:34:56')).toBe('fe80::5054:ff:fe12:3456');
    expect(() => eui64LinkLocal('02:00')).toThrow(RangeError);
  });
});
