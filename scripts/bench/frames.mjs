/** Frames as a container sends them: Ethernet, IPv4 or IPv6, TCP or UDP. The programs look at no checksum. */
import { parseAddress, toBytes16 } from '../../dist/model/address.js';

export const TCP = { SYN: 0x02, ACK: 0x10 };

const PROTOCOLS = { tcp: 6, udp: 17 };

/** @returns {Buffer} */
export function tcpFrame({ sourcePort, destinationPort, flags, payload, ...link }) {
  const tcp = Buffer.alloc(20 + payload);
  tcp.writeUInt16BE(sourcePort, 0);
  tcp.writeUInt16BE(destinationPort, 2);
  tcp[12] = 5 << 4;
  tcp[13] = flags;
  return frame(link, PROTOCOLS.tcp, tcp);
}

/** @returns {Buffer} */
export function udpFrame({ sourcePort, destinationPort, payload, ...link }) {
  const udp = Buffer.alloc(8 + payload);
  udp.writeUInt16BE(sourcePort, 0);
  udp.writeUInt16BE(destinationPort, 2);
  udp.writeUInt16BE(udp.length, 4);
  return frame(link, PROTOCOLS.udp, udp);
}

function frame({ mac, source, destination }, protocol, data) {
  const [from, to] = [source, destination].map((text) => Buffer.from(toBytes16(parseAddress(text))));
  const isIp6 = source.includes(':');
  const ip = isIp6
    ? ip6Header(from, to, protocol, data.length)
    : ip4Header(from.subarray(12), to.subarray(12), protocol, data.length);
  const macs = Buffer.from(`${mac}:${mac}`.replaceAll(':', ''), 'hex');
  return Buffer.concat([macs, Buffer.from(isIp6 ? [0x86, 0xdd] : [0x08, 0x00]), ip, data]);
}

function ip4Header(from, to, protocol, length) {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header[8] = 64;
  header[9] = protocol;
  from.copy(header, 12);
  to.copy(header, 16);
  return header;
}

function ip6Header(from, to, protocol, length) {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header[6] = protocol;
  header[7] = 64;
  from.copy(header, 8);
  to.copy(header, 24);
  return header;
}
