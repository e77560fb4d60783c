/** Addresses, numbers and checksums as bytes in network order. */
import ipaddr from 'ipaddr.js';

/** 4 or 16 bytes in network order. */
export function addressBytes(text: string): Uint8Array {
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

/** 16 bytes, IPv4 as ::ffff:a.b.c.d: the form of the maps. */
export function mappedAddress(text: string): Uint8Array {
  const bytes = addressBytes(text);
  return bytes.length === 16 ? bytes : concat(new Uint8Array(10), [0xff, 0xff], bytes);
}

export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

export function concat(...parts: (Uint8Array | number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** RFC 1071. */
export function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) sum += ((part[at] ?? 0) << 8) | (part[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** RFC 9260 Appendix A, bit by bit: the four bytes as SCTP carries them. */
export function crc32c(bytes: Uint8Array): number[] {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return be32(~crc).reverse();
}

export const be16 = (value: number): number[] => [(value >>> 8) & 0xff, value & 0xff];
export const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value)];

/** The header that a transport's checksum is about. */
export interface IpContext {
  family: 4 | 6;
  source: Uint8Array;
  destination: Uint8Array;
}
/** Over the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) and the segment. */
export function transportChecksum(ip: IpContext | undefined, protocol: number, segment: Uint8Array): number {
  if (!ip) return checksum(segment);
  const pseudo = concat(ip.source, ip.destination, be32(segment.length), be32(protocol));
  return checksum(pseudo, segment);
}

/** Writes the checksum (over the pseudo header, unless the protocol has none) unless a fixed one is wanted. */
export function sealed(bytes: Uint8Array, at: number, compute: () => number, fixed?: number): Uint8Array {
  const [high = 0, low = 0] = be16(fixed ?? compute());
  bytes[at] = high;
  bytes[at + 1] = low;
  return bytes;
}
