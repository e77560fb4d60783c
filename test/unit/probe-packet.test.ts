/** The packet that explanations are asked about is one that a stack could have sent, byte for byte. */
import { describe, expect, it } from 'vitest';
import { type ProbePacket, probeFrame, protocolNumber } from '../../src/datapath/probe-packet.js';
import { parseAddress } from '../../src/model/address.js';
import { checksum, packet, TCP } from '../support/packet.js';

const MACS = { from: '02:00:00:00:00:01', to: '02:00:00:00:00:02' };
const ADDRESSES = {
  4: { source: '10.1.0.2', destination: '198.51.100.255' },
  6: { source: 'fd00::2', destination: '2001:db8:ffff::1' },
} as const;

function probe(family: 4 | 6, protocol: ProbePacket['protocol'], port?: number): Buffer {
  const { source, destination } = ADDRESSES[family];
  const ends = { source: parseAddress(source), destination: parseAddress(destination) };
  return Buffer.from(probeFrame({ ...MACS, ...ends, protocol, ...(port === undefined ? {} : { port }) }));
}

/** The same headers, by the builder that the tests of the programs use. */
const built = (family: 4 | 6) =>
  packet()
    .ethernet({ source: MACS.from, destination: MACS.to })
    .ip({ ...ADDRESSES[family], ttl: 64 });

describe.each([4, 6] as const)('IPv%i:', (family) => {
  const headerBytes = 14 + (family === 4 ? 20 : 40);

  it('a frame of the right type, protocol and length', () => {
    const frame = probe(family, 'TCP', 443);
    expect(frame.subarray(0, 12).toString('hex')).toBe('020000000002020000000001');
    expect(frame.readUInt16BE(12)).toBe(family === 4 ? 0x0800 : 0x86dd);
    expect(frame[family === 4 ? 14 + 9 : 14 + 6]).toBe(6);
    const length = family === 4 ? frame.readUInt16BE(14 + 2) : frame.readUInt16BE(14 + 4) + 40;
    expect(length).toBe(frame.length - 14);
    if (family === 4) expect(checksum(frame.subarray(14, 34))).toBe(0);
  });

  it('TCP: a SYN, and nothing but a SYN, with a right checksum', () => {
    const segment = probe(family, 'TCP', 65535).subarray(headerBytes);
    expect(segment.readUInt16BE(2)).toBe(65535);
    expect(segment[13]).toBe(TCP.SYN);
    expect((segment[12] ?? 0) >> 4).toBe(segment.length / 4);
    const other = Buffer.from(
      built(family)
        .tcp({ sourcePort: segment.readUInt16BE(0), destinationPort: 65535, flags: TCP.SYN })
        .bytes(),
    ).subarray(headerBytes);
    // Sequence number and window differ; a segment with its checksum sums up to the same whatever is in it.
    expect(checksum(segment)).toBe(checksum(other));
  });

  it('UDP: a datagram with its length and a right checksum', () => {
    const segment = probe(family, 'UDP', 53).subarray(headerBytes);
    const sourcePort = segment.readUInt16BE(0);
    const other = built(family).udp({ sourcePort, destinationPort: 53 }).bytes();
    expect(segment).toEqual(Buffer.from(other).subarray(headerBytes));
  });

  it('SCTP: an INIT with the checksum of RFC 9260', () => {
    const segment = Buffer.from(probe(family, 'SCTP', 9899).subarray(headerBytes));
    expect(segment.readUInt16BE(2)).toBe(9899);
    expect([segment.readUInt32BE(4), segment[12], segment.readUInt16BE(14)]).toEqual([0, 1, 20]);
    const given = segment.readUInt32LE(8);
    segment.writeUInt32LE(0, 8);
    expect(given).toBe(castagnoli(segment));
  });

  it('ICMP: an echo request with a right checksum', () => {
    const message = probe(family, 'ICMP').subarray(headerBytes);
    const echo = { id: message.readUInt16BE(4), sequence: message.readUInt16BE(6) };
    const other =
      family === 4 ? built(4).icmp({ type: 8, ...echo }) : built(6).icmpv6({ type: 128, ...echo });
    expect(message).toEqual(Buffer.from(other.bytes()).subarray(headerBytes));
  });
});

it('ICMP has the number of its family', () => {
  expect([protocolNumber('ICMP', 4), protocolNumber('ICMP', 6), protocolNumber('UDP', 6)]).toEqual([
    1, 58, 17,
  ]);
});

it('addresses of two families make no packet', () => {
  const ends = { source: parseAddress('10.1.0.2'), destination: parseAddress('fd00::2') };
  expect(() => probeFrame({ ...MACS, ...ends, protocol: 'ICMP' })).toThrow(RangeError);
});

/** By table, to be another way to the same number; its check value is that of RFC 3720, B.4. */
function castagnoli(bytes: Uint8Array): number {
  const table = Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    return value;
  });
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

it('the checksum that the test compares with is that of the standard', () => {
  expect(castagnoli(new Uint8Array(32))).toBe(0x8a9136aa);
});
