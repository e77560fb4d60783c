/** Where a packet goes that may pass, and what it looks like then. */
import { describe, expect, it } from 'vitest';
import { EndpointFlags } from '../../src/datapath/abi/generated.js';
import { monotonicNs } from '../../src/native/bpf.js';
import { macBytes, type Packet, TCP } from '../support/packet.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { echo, incoming, outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, GATEWAY, NODE, UPLINK, WORLD } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario(
  (scenario) => {
    s = scenario;
  },
  (scenario) => scenario.allowAll(),
);

const TRANSPORTS: Record<string, (base: Packet, family: 4 | 6) => Packet> = {
  tcp: (base) => base.tcp(),
  udp: (base) => base.udp(),
  sctp: (base) => base.sctp(),
  echo: (base, family) => echo(base, family, 5),
};

describe.each(FAMILIES)('IPv%i', (family) => {
  const withMacs = (frame: Uint8Array, to: string, from: string): Uint8Array => {
    const copy = frame.slice();
    copy.set(macBytes(to), 0);
    copy.set(macBytes(from), 6);
    return copy;
  };

  it.each(Object.entries(TRANSPORTS))(
    '%s for a container of the network goes straight to it, with the MACs that it knows',
    (_name, transport) => {
      const frame = transport(outgoing(s.a, addressOf(s.b, family)), family)
        .payload(700)
        .bytes();
      const outcome = s.send(s.a, frame);
      expect(outcome).toMatchObject({
        verdict: ACTION.REDIRECT,
        reason: 'NONE',
        packets: 1,
        bytes: frame.length,
      });
      expect(outcome.frame).toEqual(withMacs(frame, s.b.mac, s.b.gatewayMac));
    },
  );

  it('so does one for a container of another network, and its answer', () => {
    const frame = outgoing(s.a, addressOf(s.c, family)).tcp().bytes();
    expect(s.send(s.a, frame).frame).toEqual(withMacs(frame, s.c.mac, s.c.gatewayMac));
    const reply = outgoing(s.c, addressOf(s.a, family))
      .tcp({ sourcePort: 80, destinationPort: 40000, flags: TCP.SYN | TCP.ACK })
      .bytes();
    const outcome = s.send(s.c, reply);
    expect(outcome.verdict).toBe(ACTION.REDIRECT);
    expect(outcome.frame).toEqual(withMacs(reply, s.a.mac, s.a.gatewayMac));
  });

  it.each([
    ['the world', WORLD[family]],
    ['the node', NODE[family]],
    ['the gateway', GATEWAY[family]],
  ])('a packet for %s goes on to the host as it came', (_name, destination) => {
    for (const transport of Object.values(TRANSPORTS)) {
      const frame = transport(outgoing(s.a, destination), family).bytes();
      const outcome = s.send(s.a, frame);
      expect(outcome).toMatchObject({ verdict: ACTION.PASS, reason: 'NONE' });
      expect(outcome.frame).toEqual(frame);
    }
  });

  it('what the host hands to a container stays as it is', () => {
    for (const transport of Object.values(TRANSPORTS)) {
      const frame = transport(incoming(s.a, WORLD[family]), family).bytes();
      const outcome = s.receive(s.a, frame, UPLINK);
      expect(outcome).toMatchObject({ verdict: ACTION.PASS, reason: 'NONE', bytes: frame.length });
      expect(outcome.frame).toEqual(frame);
    }
  });

  it.each([
    ['multicast', EndpointFlags.ALLOW_MULTICAST, family === 4 ? '224.0.0.251' : 'ff02::fb'],
    ...(family === 4
      ? ([
          ['limited broadcast', EndpointFlags.ALLOW_BROADCAST, '255.255.255.255'],
          ['subnet broadcast', EndpointFlags.ALLOW_BROADCAST, '10.7.0.255'],
        ] as const)
      : []),
  ] as const)(
    '%s is copied where the network allows it, and the original ends there',
    (_name, flag, destination) => {
      s.add({ ...s.a, flags: flag });
      const outcome = s.send(
        s.a,
        outgoing(s.a, destination).udp({ sourcePort: 5353, destinationPort: 5353 }),
      );
      // Each receiver's own program judges its copy.
      expect(outcome).toMatchObject({ verdict: ACTION.DROP, reason: 'NONE' });
      s.add({ ...s.a, flags: 3 & ~flag });
      expect(s.send(s.a, outgoing(s.a, destination).udp()).reason).toBe(
        _name === 'multicast' ? 'MULTICAST' : 'BROADCAST',
      );
      expect(s.programs.conntrack.entries()).toEqual([]);
    },
  );

  it('the event of a new flow says all that is known of it, and there is none for its other packets', async () => {
    const frame = outgoing(s.a, addressOf(s.b, family)).udp().payload(9);
    const { length } = frame.bytes();
    const since = monotonicNs();
    s.send(s.a, frame);
    s.send(s.a, frame);
    s.send(s.b, outgoing(s.b, addressOf(s.c, family)).udp());
    s.programs.since(since);
    const [first, second] = await s.programs.takeEvents(2);
    expect(first).toMatchObject({
      kind: 1,
      direction: 0,
      protocol: 17,
      family,
      reason: 0,
      ethertype: family === 4 ? 0x0800 : 0x86dd,
      endpointId: 11,
      ifindex: s.a.ifindex,
      networkId: 7,
      sourceIdentity: 301,
      destinationIdentity: 302,
      sourceEndpointId: 11,
      destinationEndpointId: 12,
      egressRule: 1011,
      ingressRule: 2012,
      length,
      sourcePort: 40000,
      destinationPort: 53,
    });
    expect(second).toMatchObject({ kind: 1, endpointId: 12 });
  });
});
