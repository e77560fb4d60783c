/** The first packet of a flow, made up: what the programs are shown when somebody asks what they would decide. Pure. */
import { type Address, addressBits, type Family } from '../model/address.js';
import type { Protocol } from '../model/names.js';

export interface ProbePacket {
  /** MAC addresses. */
  readonly from: string;
  readonly to: string;
  /** Both of one family. */
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: Protocol | 'ICMP';
  /** Destination port; ICMP has none. */
  readonly port?: number;
}

const ETHERTYPE: Readonly<Record<Family, number>> = { 4: 0x0800, 6: 0x86dd };
const ICMPV6 = 58;
const PROTOCOL_CODES = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 } as const;

/** Of the range that stacks take from for connections of their own (RFC 6335 §6). */
const SOURCE_PORT = 49152;
const HOP_LIMIT = 64;
const ECHO_REQUEST: Readonly<Record<Family, number>> = { 4: 8, 6: 128 };
const ECHO_ID = 0x514e;

/** IPPROTO_* of the protocol in a packet of the family. */
export function protocolNumber(protocol: ProbePacket['protocol'], family: Family): number {
  return protocol === 'ICMP' && family === 6 ? ICMPV6 : PROTOCOL_CODES[protocol];
}

/** A TCP SYN, an empty UDP datagram, an SCTP INIT or an ICMP echo request, as a stack would send it. */
export function probeFrame(probe: ProbePacket): Uint8Array {
  const { source, destination } = probe;
  const { family } = source;
  if (destination.family !== family) throw new RangeError('a packet has addresses of one family');
  const addresses = [addressBytes(source), addressBytes(destination)];
  const protocol = protocolNumber(probe.protocol, family);
  const segment = transport(probe, family, pseudoHeader(addresses, protocol));
  const ip =
    family === 4
      ? ip4Header(addresses, protocol, segment.length)
      : ip6Header(addresses, protocol, segment.length);
  return Buffer.concat([macBytes(probe.to), macBytes(probe.from), be16(ETHERTYPE[family]), ip, segment]);
}

/** What a transport's checksum is about beside its segment. */
type PseudoHeader = (length: number) => Buffer;

/** RFC 9293 §3.1; RFC 8200 §8.1. */
function pseudoHeader(addresses: readonly Buffer[], protocol: number): PseudoHeader {
  return (length) => Buffer.concat([...addresses, be32(length), be32(protocol)]);
}

function transport({ protocol, port = 0 }: ProbePacket, family: Family, pseudo: PseudoHeader): Buffer {
  switch (protocol) {
    case 'TCP':
      return tcpSyn(port, pseudo);
    case 'UDP':
      return udpDatagram(port, pseudo);
    case 'SCTP':
      return sctpInit(port);
    case 'ICMP':
      return echoRequest(family, pseudo);
  }
}

/** RFC 9293 §3.1. */
function tcpSyn(port: number, pseudo: PseudoHeader): Buffer {
  const segment = Buffer.alloc(20);
  segment.writeUInt16BE(SOURCE_PORT, 0);
  segment.writeUInt16BE(port, 2);
  segment.writeUInt32BE(1, 4); // sequence number
  segment[12] = 5 << 4; // header length in words
  segment[13] = 0x02; // SYN
  segment.writeUInt16BE(64240, 14); // window
  segment.writeUInt16BE(internetChecksum(pseudo(segment.length), segment), 16);
  return segment;
}

/** RFC 768. */
function udpDatagram(port: number, pseudo: PseudoHeader): Buffer {
  const segment = Buffer.alloc(8);
  segment.writeUInt16BE(SOURCE_PORT, 0);
  segment.writeUInt16BE(port, 2);
  segment.writeUInt16BE(segment.length, 4);
  // 0 would say that there is no checksum.
  segment.writeUInt16BE(internetChecksum(pseudo(segment.length), segment) || 0xffff, 6);
  return segment;
}

/** RFC 9260 §3.1, §3.3.2. An INIT carries the verification tag 0. */
function sctpInit(port: number): Buffer {
  const segment = Buffer.alloc(32);
  segment.writeUInt16BE(SOURCE_PORT, 0);
  segment.writeUInt16BE(port, 2);
  segment[12] = 1; // INIT
  segment.writeUInt16BE(20, 14); // length of the chunk
  segment.writeUInt32BE(1, 16); // initiate tag
  segment.writeUInt32BE(106496, 20); // receiver window
  segment.writeUInt16BE(1, 24); // outbound streams
  segment.writeUInt16BE(1, 26); // inbound streams
  segment.writeUInt32BE(1, 28); // initial sequence number
  segment.writeUInt32LE(crc32c(segment), 8);
  return segment;
}

/** RFC 792; RFC 4443 §4.1, whose checksum has the pseudo header. */
function echoRequest(family: Family, pseudo: PseudoHeader): Buffer {
  const message = Buffer.alloc(8);
  message[0] = ECHO_REQUEST[family];
  message.writeUInt16BE(ECHO_ID, 4);
  message.writeUInt16BE(1, 6); // sequence number
  const covered = family === 4 ? [message] : [pseudo(message.length), message];
  message.writeUInt16BE(internetChecksum(...covered), 2);
  return message;
}

/** RFC 791 §3.1. */
function ip4Header(addresses: readonly Buffer[], protocol: number, length: number): Buffer {
  const header = Buffer.alloc(12);
  header[0] = 0x45; // version, header length in words
  header.writeUInt16BE(20 + length, 2);
  header[6] = 0x40; // do not fragment
  header[8] = HOP_LIMIT;
  header[9] = protocol;
  const whole = Buffer.concat([header, ...addresses]);
  whole.writeUInt16BE(internetChecksum(whole), 10);
  return whole;
}

/** RFC 8200 §3. */
function ip6Header(addresses: readonly Buffer[], protocol: number, length: number): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 6 << 4;
  header.writeUInt16BE(length, 4);
  header[6] = protocol;
  header[7] = HOP_LIMIT;
  return Buffer.concat([header, ...addresses]);
}

/** RFC 1071. Every part has an even length. */
function internetChecksum(...parts: readonly Buffer[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) sum += part.readUInt16BE(at);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** RFC 9260, appendix A: the Castagnoli polynomial, reflected. Bit by bit is soon done for one header. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

function addressBytes({ family, value }: Address): Buffer {
  const digits = addressBits(family) / 4;
  return Buffer.from(value.toString(16).padStart(digits, '0'), 'hex');
}

function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function be16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function be32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
