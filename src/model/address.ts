/**
 * Addresses and address ranges: a thin layer over ipaddr.js that is strict about what it accepts and does
 * its arithmetic on bigint. Text is always canonical (dotted decimal, RFC 5952); bytes are in network order.
 */
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { AppError } from './errors.js';

export type Family = 4 | 6;

/** An address as a number of `family`'s width (32 or 128 bits). */
export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

/** A range of addresses; `base` has no bit set beyond `prefixLength`. */
export interface Cidr {
  readonly family: Family;
  readonly base: bigint;
  readonly prefixLength: number;
}

/** ::ffff:0:0, the prefix that carries IPv4 in the 16-byte form. */
const MAPPED_PREFIX = 0xffffn << 32n;

/** Longest text of an IPv6 address with a prefix length; longer text is not looked at. */
const TEXT_MAX = 49;

/** Width in bits of an address of the family. */
export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** Why a text is no address that may be used here, or the address. */
function readAddress(text: string): Address | string {
  if (text.length > TEXT_MAX) return 'must be an IPv4 or IPv6 address';
  if (!text.includes(':')) {
    // Of the forms that ipaddr.js takes, IPv4 in octal, hexadecimal or fewer than four parts is for nobody's good.
    if (!ipaddr.IPv4.isValidFourPartDecimal(text)) return 'must be an IPv4 or IPv6 address';
    return { family: 4, value: fromBytes(ipaddr.IPv4.parse(text).toByteArray()) };
  }
  if (text.includes('%')) return 'must have no zone id';
  const address = parseIPv6(text);
  if (address === undefined) return 'must be an IPv4 or IPv6 address';
  if (address.isIPv4MappedAddress()) return 'must not be an IPv4-mapped IPv6 address; write the IPv4 address';
  return { family: 6, value: fromBytes(address.toByteArray()) };
}

function parseIPv6(text: string): ipaddr.IPv6 | undefined {
  try {
    return ipaddr.IPv6.parse(text);
  } catch {
    return undefined;
  }
}

function readCidr(text: string, hostBits: 'refuse' | 'mask'): Cidr | string {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (match?.[1] === undefined) return 'must be an address range such as 10.0.0.0/16 or fd00::/64';
  const address = readAddress(match[1]);
  if (typeof address === 'string') return address;
  const prefixLength = Number(match[2]);
  const bits = addressBits(address.family);
  if (prefixLength > bits) return `prefix length must be at most ${bits}`;
  const cidr = cidrOf(address, prefixLength);
  if (hostBits === 'refuse' && cidr.base !== address.value) {
    return `has bits set beyond its prefix length; the range is ${formatCidr(cidr)}`;
  }
  return cidr;
}

/** Parses an address. Throws AppError INVALID_REQUEST: not an address, IPv4-mapped, or with a zone id. */
export function parseAddress(text: string): Address {
  return orThrow(text, readAddress(text));
}

/** Parses a range; host bits that are set are refused, naming the right base, unless they are to be masked. */
export function parseCidr(text: string, hostBits: 'refuse' | 'mask' = 'refuse'): Cidr {
  return orThrow(text, readCidr(text, hostBits));
}

function orThrow<T>(text: string, result: T | string): T {
  if (typeof result !== 'string') return result;
  throw new AppError('INVALID_REQUEST', `${JSON.stringify(text.slice(0, TEXT_MAX))}: ${result}`);
}

/** Canonical text of an address. */
export function formatAddress(address: Address): string {
  const bytes = toBytes(address.value, addressBits(address.family) / 8);
  return address.family === 4 ? new ipaddr.IPv4(bytes).toString() : new ipaddr.IPv6(bytes).toRFC5952String();
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress({ family: cidr.family, value: cidr.base })}/${cidr.prefixLength}`;
}

/** The range of `prefixLength` bits that the address is in. */
export function cidrOf(address: Address, prefixLength: number): Cidr {
  const hostBits = BigInt(addressBits(address.family) - prefixLength);
  return { family: address.family, base: (address.value >> hostBits) << hostBits, prefixLength };
}

/** How many addresses the range has. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(addressBits(cidr.family) - cidr.prefixLength);
}

export function cidrContains(cidr: Cidr, address: Address): boolean {
  return cidr.family === address.family && cidrOf(address, cidr.prefixLength).base === cidr.base;
}

/** Whether any address is in both; ranges of different families never overlap. */
export function cidrsOverlap(left: Cidr, right: Cidr): boolean {
  const [wide, narrow] = left.prefixLength <= right.prefixLength ? [left, right] : [right, left];
  return cidrContains(wide, { family: narrow.family, value: narrow.base });
}

/** Whether every address of `inner` is in `outer`, equal ranges included. */
export function cidrWithin(inner: Cidr, outer: Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && cidrsOverlap(inner, outer);
}

/** The address `offset` places after the base. Throws RangeError outside the range. */
export function addressAt(cidr: Cidr, offset: bigint): Address {
  if (offset < 0n || offset >= cidrSize(cidr))
    throw new RangeError(`offset ${offset} is outside ${formatCidr(cidr)}`);
  return { family: cidr.family, value: cidr.base + offset };
}

/** How many places after the base the address is. Throws RangeError outside the range. */
export function offsetOf(cidr: Cidr, address: Address): bigint {
  if (!cidrContains(cidr, address))
    throw new RangeError(`${formatAddress(address)} is outside ${formatCidr(cidr)}`);
  return address.value - cidr.base;
}

/** The last address of a range: the broadcast address in IPv4, an ordinary one in IPv6. */
export function lastAddress(cidr: Cidr): Address {
  return addressAt(cidr, cidrSize(cidr) - 1n);
}

/** What a range's address must not be given to an interface for, or undefined when it may. */
export function reservedUse(cidr: Cidr, address: Address): string | undefined {
  if (address.value === cidr.base)
    return cidr.family === 4 ? 'the network address' : 'the subnet-router anycast address';
  if (cidr.family === 4 && address.value === lastAddress(cidr).value) return 'the broadcast address';
  return undefined;
}

/** 16 bytes in network order; IPv4 in its mapped form ::ffff:a.b.c.d, as the kernel's maps hold it. */
export function toBytes16(address: Address): Uint8Array {
  return Uint8Array.from(toBytes(address.family === 4 ? MAPPED_PREFIX | address.value : address.value, 16));
}

/** The address of 16 bytes, or undefined when all are zero: "none". Throws RangeError on another length. */
export function fromBytes16(bytes: Uint8Array): Address | undefined {
  if (bytes.length !== 16) throw new RangeError(`an address has 16 bytes, not ${bytes.length}`);
  const value = fromBytes(bytes);
  if (value === 0n) return undefined;
  return value >> 32n === 0xffffn ? { family: 4, value: value & 0xffffffffn } : { family: 6, value };
}

/** The IPv6 link-local address that a kernel derives from a MAC address (modified EUI-64, RFC 4291). */
export function eui64LinkLocal(mac: string): string {
  const bytes = mac.split(':').map((part) => Number.parseInt(part, 16));
  const [a, b, c, d, e, f] = bytes;
  if (bytes.length !== 6 || bytes.some((byte) => !(byte >= 0 && byte <= 255))) {
    throw new RangeError(`not a MAC address: ${mac}`);
  }
  const suffix = [(a ?? 0) ^ 2, b ?? 0, c ?? 0, 0xff, 0xfe, d ?? 0, e ?? 0, f ?? 0];
  return formatAddress({ family: 6, value: (0xfe80n << 112n) | fromBytes(suffix) });
}

function fromBytes(bytes: Uint8Array | readonly number[]): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function toBytes(value: bigint, length: number): number[] {
  return [...Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex')];
}

/** Ranges that have a meaning of their own on every host, so that no network may be made of them. */
const UNUSABLE = [
  ['0.0.0.0/8', 'unspecified'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/96', 'unspecified or loopback'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
].map(([text = '', use = '']) => ({ cidr: parseCidr(text), use }));

/** What an address is for on every host, where that is not to be somebody's; undefined: nothing of the kind. */
export function specialUse(address: Address): string | undefined {
  return UNUSABLE.find(({ cidr }) => cidrContains(cidr, address))?.use;
}

/** Prefix lengths that a network may have: room for a gateway and a container, and no more than is sane. */
export const NETWORK_PREFIX_LENGTHS = { 4: { min: 8, max: 30 }, 6: { min: 48, max: 126 } } as const;

/** Why no network can be made of the range, or undefined. */
function networkProblem(cidr: Cidr): string | undefined {
  const use = UNUSABLE.find((range) => cidrsOverlap(range.cidr, cidr))?.use;
  if (use !== undefined) return `must not overlap ${use} addresses`;
  const { min, max } = NETWORK_PREFIX_LENGTHS[cidr.family];
  if (cidr.prefixLength < min || cidr.prefixLength > max) {
    return `prefix length must be between ${min} and ${max} for IPv${cidr.family}`;
  }
  return undefined;
}

/** A string schema whose text `read` accepts; the result is the canonical text that `format` makes of it. */
function textSchema<T>(read: (text: string) => T | string, format: (value: T) => string, max = TEXT_MAX) {
  return z
    .string()
    .max(max, { error: `must have at most ${max} characters`, abort: true })
    .check((payload) => {
      const result = read(payload.value);
      if (typeof result !== 'string') payload.value = format(result);
      else payload.issues.push({ code: 'custom', message: result, input: payload.value, continue: false });
    });
}

function addressSchema(family?: Family) {
  return textSchema((text) => {
    const address = readAddress(text);
    if (typeof address === 'string' || family === undefined || address.family === family) return address;
    return `must be an IPv${family} address`;
  }, formatAddress);
}

function networkCidrSchema(family: Family) {
  return textSchema((text) => {
    const cidr = readCidr(text, 'refuse');
    if (typeof cidr === 'string') return cidr;
    return cidr.family === family ? (networkProblem(cidr) ?? cidr) : `must be an IPv${family} range`;
  }, formatCidr);
}

const prefixText = (family: Family) =>
  `prefix length ${NETWORK_PREFIX_LENGTHS[family].min} to ${NETWORK_PREFIX_LENGTHS[family].max}`;

export const ipAddress = addressSchema().describe('IPv4 or IPv6 address');
export const ipv4Address = addressSchema(4).meta({ format: 'ipv4' }).describe('IPv4 address');
export const ipv6Address = addressSchema(6).meta({ format: 'ipv6' }).describe('IPv6 address');

/** Range of a network: no host bits, no special addresses, /8 to /30 (IPv4) or /48 to /126 (IPv6). */
export const networkCidr4 = networkCidrSchema(4).describe(`IPv4 range, ${prefixText(4)}`);
export const networkCidr6 = networkCidrSchema(6).describe(`IPv6 range, ${prefixText(6)}`);

/** Any range (routes): host bits are refused. */
export const anyCidr = textSchema((text) => readCidr(text, 'refuse'), formatCidr).describe(
  'IPv4 or IPv6 address range',
);

/** Why a text is neither an address nor a range of some of all addresses, or the range. */
function readSome(text: string): Cidr | string {
  if (!text.includes('/')) {
    const address = readAddress(text);
    return typeof address === 'string' ? address : cidrOf(address, addressBits(address.family));
  }
  const cidr = readCidr(text, 'refuse');
  return typeof cidr === 'string' || cidr.prefixLength > 0 ? cidr : 'must not be everybody';
}

/** An address, which becomes the range of it alone, or a range, but not of all there are. */
export const someCidr = textSchema(readSome, formatCidr).describe('IPv4 or IPv6 address range, or address');

/** Any range as Kubernetes takes it, in policies: an address and how many of its leading bits count. */
export const maskedCidr = textSchema((text) => readCidr(text, 'mask'), formatCidr).describe(
  'IPv4 or IPv6 address range; bits beyond the prefix length do not count',
);
