/**
 * What was judged of a packet is what the receiver gets: its sender cannot change the headers afterwards, although it
 * has given the kernel pages that it can still write. What is behind the headers is the sender's own business.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Container, FAMILIES, type Family, Host } from '../support/containers.js';
import { Holder, Lender } from '../support/lent.js';
import type { Outside } from '../support/outside.js';
import { type Packet, PROTOCOL, packet } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { uplink: 'auto' } });

const ETHERNET = 14;
/** Nobody else's frames are as long. */
const PAYLOAD = 77;

let attacker: Container;
let victim: Container;
let outside: Outside;

beforeEach(async () => {
  outside = await site().outside({ isUplink: true });
  await expect
    .poll(async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink)
    .toMatchObject({ ip_address: outside.nodeAddress(4), ip6_address: outside.nodeAddress(6) });
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true, multicast: true } });
  [attacker, victim] = [await site().container('attacker', 'blue'), await site().container('victim', 'blue')];
});

interface Ends {
  source: string;
  destination: string;
}
/** Headers alone. */
type Build = (ethernet: Packet, ends: Ends) => Packet;

const udp: Build = (ethernet, ends) => ethernet.ip(ends).udp();
/** With a checksum for which nobody answers it: the next one is of the same connection. */
const tcp: Build = (ethernet, ends) => ethernet.ip(ends).tcp({ checksum: 1 });
const options: Build = (ethernet, ends) => ethernet.ipv4({ ...ends, options: Array(8).fill(1) }).udp();
const extension: Build = (ethernet, ends) => ethernet.ip(ends).extension(PROTOCOL.DESTINATION).udp();
/** About what udp() is answered. */
const error: Build = (ethernet, { source, destination }) => {
  const answer = packet().ip({ source: destination, destination: source });
  const quoted = answer.udp({ sourcePort: 53, destinationPort: 40000 }).bytes();
  const ip = ethernet.ip({ source, destination });
  return (source.includes(':') ? ip.icmpv6({ type: 1, code: 4 }) : ip.icmp({ type: 3, code: 3 })).payload(
    quoted,
  );
};

const ROWS: Record<Family, [what: string, build: Build][]> = {
  4: [
    ['a UDP datagram', udp],
    ['a TCP SYN', tcp],
    ['a UDP datagram behind IPv4 options', options],
    ['an ICMP error', error],
  ],
  6: [
    ['a UDP datagram', udp],
    ['a TCP SYN', tcp],
    ['a UDP datagram behind an extension header', extension],
    ['an ICMP error', error],
  ],
};

/** Groups that everybody of the network hears, and their MAC addresses. */
const GROUP: Record<Family, [address: string, mac: string]> = {
  4: ['239.1.2.3', '01:00:5e:01:02:03'],
  6: ['ff05::1:3', '33:33:00:01:00:03'],
};

const ethernet = (destination = site().gatewayMac(attacker)) =>
  packet().ethernet({ source: attacker.endpoint.mac_address, destination });

const between = (family: Family, destination: string) => ({ source: attacker.address(family), destination });

/** What has arrived of a frame whose sender writes these bytes behind its Ethernet header once it is there. */
async function received(lender: Lender, holder: Holder, frame: Uint8Array, later?: Uint8Array) {
  await lender.send(frame);
  await holder.arrived();
  if (later !== undefined) await lender.change(ETHERNET, later);
  return holder.read();
}

const inverted = (bytes: Uint8Array) => bytes.map((byte) => byte ^ 0xff);

describe.each(['ring', 'spliced'] as const)('%s:', (way) => {
  async function expectLasting(to: Host, headers: Packet): Promise<void> {
    const { length } = headers.bytes();
    const frame = headers.payload(PAYLOAD).bytes();
    using lender = await Lender[way](attacker);
    using holder = await Holder.of(to, frame.length);
    const honest = await received(lender, holder, frame);
    const later = inverted(frame.subarray(ETHERNET, length));
    const changed = await received(lender, holder, frame, later);
    const seen = (bytes: Buffer) => bytes.toString('hex', 0, length);
    expect(seen(changed)).toBe(seen(honest));
  }

  describe.each(FAMILIES)('IPv%i,', (family) => {
    describe.each(['victim', 'outside'] as const)('to the %s:', (where) => {
      it.each(ROWS[family])('%s', async (_, build) => {
        const to = where === 'victim' ? victim : outside;
        const ends = between(family, to.address(family));
        await attacker.sendFrames([udp(ethernet(), ends).bytes()]);
        await expectLasting(to, build(ethernet(), ends));
      });
    });

    it('to a group: a UDP datagram', async () => {
      const [address, mac] = GROUP[family];
      await expectLasting(victim, udp(ethernet(mac), between(family, address)));
    });
  });
});

it('where nobody judges them, spliced frames do change', async () => {
  using alone = new Host('alone');
  await alone.output('ip', 'link', 'add', 'eth0', 'up', 'type', 'veth', 'peer', 'name', 'other');
  await alone.output('ip', 'link', 'set', 'other', 'up');
  const frame = udp(ethernet(), between(4, victim.address(4)))
    .payload(PAYLOAD)
    .bytes();
  using lender = await Lender.spliced(alone);
  using holder = await Holder.of(alone, frame.length, 'other');
  const later = inverted(frame.subarray(ETHERNET));
  const changed = await received(lender, holder, frame, later);
  // The kernel has read, and so copied, the IP header.
  const transport = ETHERNET + 20;
  expect(changed.toString('hex', transport)).toBe(Buffer.from(later).toString('hex', transport - ETHERNET));
});
