/** Headers with more fields than one would read past in the builder (packet.ts). */
import { addressBytes, be16, checksum, concat, macBytes, sealed } from './packet-bytes.js';
import { type ArpFields, ETHERTYPE, type Ipv4Fields } from './packet-fields.js';

/** What stands for a protocol that nobody knows (RFC 3692). */
const EXPERIMENTAL_PROTOCOL = 253;

/** RFC 826 */
export function arpMessage(fields: ArpFields): Uint8Array {
  return concat(
    be16(fields.hardwareType ?? 1),
    be16(fields.protocolType ?? ETHERTYPE.IPV4),
    [fields.hardwareLength ?? 6, fields.protocolLength ?? 4],
    be16(fields.operation ?? 1),
    macBytes(fields.senderMac),
    addressBytes(fields.senderIp),
    macBytes(fields.targetMac ?? '00:00:00:00:00:00'),
    addressBytes(fields.targetIp),
  );
}

/** RFC 791 §3.1, for so many bytes of the given protocol. */
export function ipv4Header(fields: Ipv4Fields, payload: number, protocol: number | undefined): Uint8Array {
  const options = fields.options ?? [];
  const optionWords = Math.ceil(options.length / 4);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0);
  const header = concat(
    [((fields.version ?? 4) << 4) | (fields.headerLength ?? 5 + optionWords), 0],
    be16(fields.totalLength ?? 20 + optionWords * 4 + payload),
    be16(fields.id ?? 0),
    be16(flags | ((fields.fragmentOffset ?? 0) / 8)),
    [fields.ttl ?? 64, fields.protocol ?? protocol ?? EXPERIMENTAL_PROTOCOL],
    [0, 0],
    addressBytes(fields.source),
    addressBytes(fields.destination),
    options,
    new Uint8Array(optionWords * 4 - options.length),
  );
  return sealed(header, 10, () => checksum(header), fields.checksum);
}
