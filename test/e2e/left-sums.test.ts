/**
 * Checksums that a sender leaves to the network card: it says where one is to be written, and can say anything. What was
 * judged is not written over on the way into a container, and what is left in earnest arrives.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Service } from '../../src/model/service.js';
import type { Frame } from '../support/capture.js';
import { type Container, FAMILIES, type Family } from '../support/containers.js';
import { checksum, type Packet, packet } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();

const ETHERNET = 14;
const HEADER = { 4: 20, 6: 40 } as const;
const UDP = 8;
/** Where a datagram has its destination port, and its checksum. */
const [PORT_AT, SUM_AT] = [2, 6];
const [SERVED, INSIDE] = [5353, 4789];
const GROUP: Record<Family, [address: string, mac: string]> = {
  4: ['239.1.2.3', '01:00:5e:01:02:03'],
  6: ['ff05::1:3', '33:33:00:01:00:03'],
};

let sender: Container;

beforeEach(async () => {
  await site().network('blue', { isolation_mode: 'none', options: { multicast: true } });
  sender = await site().container('sender', 'blue');
});

const transportOf = (family: Family) => ETHERNET + HEADER[family];

function datagram(
  family: Family,
  to: string,
  payload: Uint8Array | number,
  mac = site().gatewayMac(sender),
): Packet {
  return packet()
    .ethernet({ source: sender.endpoint.mac_address, destination: mac })
    .ip({ source: sender.address(family), destination: to })
    .udp({ destinationPort: SERVED })
    .payload(payload);
}

/** What a sender writes into the place of a checksum at `at` that it leaves: as much as makes up for the rest. */
function leave(frame: Uint8Array, start: number, at: number): Uint8Array {
  const complete = frame.slice(start + at, start + at + 2).map((byte) => byte ^ 0xff);
  const rest = frame.slice(start);
  rest.fill(0, at, at + 2);
  const without = checksum(rest);
  const sum = ~checksum(complete, Uint8Array.of(without >> 8, without & 0xff)) & 0xffff;
  const left = frame.slice();
  left.set([sum >> 8, sum & 0xff], start + at);
  return left;
}

const dropped = () => site().packets({ container: sender, reason: 'CHECKSUM_OFFSET' });

/** What a container receives of the sender's datagrams while `send` runs, whatever their ports are by then. */
async function received(receiver: Container, family: Family, send: () => Promise<void>): Promise<Buffer[]> {
  const capture = await receiver.capture();
  await send();
  const isOurs = ({ bytes, type }: Frame) =>
    type === (family === 4 ? 0x0800 : 0x86dd) && bytes[ETHERNET + (family === 4 ? 9 : 6)] === 17;
  return (await capture.stop()).filter(isOurs).map(({ bytes }) => bytes);
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const transport = transportOf(family);
  /** What is written over its port is the sender's to choose: a sum of what it has made itself. */
  const forged = (to: string, mac?: string) => datagram(family, to, Uint8Array.of(0, 0), mac).bytes();
  const honest = (to: string, mac?: string) => leave(datagram(family, to, 9, mac).bytes(), transport, SUM_AT);

  async function expectUntouched(receiver: Container, to: string, mac?: string): Promise<void> {
    const before = await dropped();
    const frames = await received(receiver, family, async () => {
      await sender.sendLeft(forged(to, mac), { start: transport, at: PORT_AT });
      await sender.sendLeft(honest(to, mac), { start: transport, at: SUM_AT });
    });
    expect(frames.map((bytes) => bytes.readUInt16BE(transport + PORT_AT))).toEqual([SERVED]);
    expect(await dropped()).toBe(before + 1);
  }

  it('to a container: what would be written over its port is dropped', async () => {
    const receiver = await site().container('receiver', 'blue');
    await expectUntouched(receiver, receiver.address(family));
  });

  it('to one whose queue completes checksums, as one may be told to: also', async () => {
    const options = { bandwidth: { ingress_rate: 100_000_000 } };
    const receiver = await site().container('receiver', 'blue', { options });
    await site().host.output('ethtool', '-K', receiver.endpoint.host_interface, 'tx', 'off');
    await expectUntouched(receiver, receiver.address(family));
    const [address, mac] = GROUP[family];
    await expectUntouched(receiver, address, mac);
  });

  it('to a service: also', async () => {
    const receiver = await site().container('receiver', 'blue', { labels: { app: 'web' } });
    const service = await site().rest.expect<Service>('POST', '/services', {
      name: 'web',
      selector: { matchLabels: { app: 'web' } },
      ports: [{ port: SERVED, target_port: SERVED, protocol: 'UDP' }],
    });
    await expectUntouched(receiver, (family === 4 ? service.ip_address : service.ip6_address) ?? '');
  });

  it('a datagram to a service that has a packet inside whose checksum is left arrives with a sum that is right', async () => {
    const receiver = await site().container('receiver', 'blue', { labels: { app: 'tunnel' } });
    const service = await site().rest.expect<Service>('POST', '/services', {
      name: 'tunnel',
      selector: { matchLabels: { app: 'tunnel' } },
      ports: [{ port: SERVED, target_port: INSIDE, protocol: 'UDP' }],
    });
    const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
    const tunnel = Uint8Array.of(8, 0, 0, 0, 0, 0, 7, 0);
    const inside = packet()
      .ethernet({ source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' })
      .ip(ends)
      .tcp()
      .payload(33)
      .bytes();
    const payload = Uint8Array.from([...tunnel, ...inside]);
    const [start, at] = [transport + UDP + tunnel.length + ETHERNET + HEADER[4], 16];
    const to = (family === 4 ? service.ip_address : service.ip6_address) ?? '';
    const frame = leave(datagram(family, to, payload).bytes(), start, at);
    const frames = await received(receiver, family, () => sender.sendLeft(frame, { start, at }));
    const whole = packet()
      .ethernet({ source: site().gatewayMac(sender), destination: receiver.endpoint.mac_address })
      .ip({ source: sender.address(family), destination: receiver.address(family) })
      .udp({ destinationPort: INSIDE })
      .payload(payload)
      .bytes();
    expect(frames.map((bytes) => bytes.toString('hex'))).toEqual([
      Buffer.from(leave(whole, start, at)).toString('hex'),
    ]);
    expect(await dropped()).toBe(0);
  });
});
