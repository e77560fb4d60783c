/**
 * What becomes of flows to a container that is gone, or that serves no longer: whoever opened them learns it with the
 * next packet, and datagrams go to another one.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SERVICE } from '../support/frontends.js';
import { type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NOBODY,
  type TestEndpoint,
} from '../support/scenario-parties.js';
import { quoted, unreachable } from './rows/icmp.js';

const CLIENT_PORT = 40000;
const PORT = 80;
const TARGET = 8080;
/** What the client has said and heard so far. */
const [SENT, HEARD] = [0x12345678, 0xfedcba98];

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
});

const records = () => s.programs.conntrack.entries();

function serve(family: Family, protocol: number, ...backends: TestEndpoint[]): void {
  s.frontend({
    ...{ address: SERVICE[family], port: PORT, protocol },
    backends: backends.map((backend) => ({ address: addressOf(backend, family), port: TARGET })),
  });
}

/** Which container a packet was handed to. */
function receiver({ frame }: { frame: Uint8Array }): TestEndpoint | undefined {
  const mac = Buffer.from(frame.subarray(0, 6)).toString('hex');
  return [s.a, s.b, s.c].find((endpoint) => endpoint.mac.replaceAll(':', '') === mac);
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const fromA = (to: string, flags: number, port: number) =>
    outgoing(s.a, to).tcp({
      ...{ sourcePort: CLIENT_PORT, destinationPort: port, flags },
      ...{ sequence: SENT, acknowledgement: HEARD },
    });
  const fromB = (flags: number, port: number) =>
    outgoing(s.b, addressOf(s.a, family)).tcp({
      ...{ sourcePort: port, destinationPort: CLIENT_PORT, flags },
      ...{ sequence: SENT, acknowledgement: HEARD },
    });
  /** Establishes a connection of a with b, and gives what a sends next. */
  const connect = (to: string, port: number, target = port): Packet => {
    s.send(s.a, fromA(to, TCP.SYN, port));
    s.send(s.b, fromB(TCP.SYN | TCP.ACK, target));
    expect(s.send(s.a, fromA(to, TCP.ACK, port)).reason).toBe('NONE');
    return fromA(to, TCP.ACK | TCP.PSH, port).payload(300);
  };
  const answerTo = (end: TestEndpoint, source: string) =>
    packet()
      .ethernet({ source: end.gatewayMac, destination: end.mac })
      .ip({ source, destination: addressOf(end, family) });
  const reset = (source: string, port: number) =>
    answerTo(s.a, source)
      .tcp({
        ...{ sourcePort: port, destinationPort: CLIENT_PORT, flags: TCP.RST },
        ...{ sequence: HEARD, window: 0 },
      })
      .bytes();

  describe.each([
    ['a container', () => addressOf(s.b, family), PORT],
    ['a service', () => SERVICE[family], TARGET],
  ] as const)('a connection to %s that is gone', (_name, to, target) => {
    beforeEach(() => serve(family, PROTOCOL.TCP, s.b));

    it('is reset as soon as the client speaks, with the sequence number that it waits for, and once', () => {
      const next = connect(to(), PORT, target);
      s.remove(s.b);
      const out = s.send(s.a, next);
      expect(out).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.REDIRECT });
      expect(out.frame).toEqual(reset(to(), PORT));
      expect(records()).toEqual([]);
      expect(s.programs.nat.entries()).toEqual([]);
      expect(s.programs.flowCounts.get(s.a.id)).toMatchObject({ flows: 0 });
    });

    it('is reset also when it was idle over sweeps and changes of the policy', () => {
      const next = connect(to(), PORT, target);
      s.remove(s.b);
      expect(s.programs.sweep()).toMatchObject({ cut: 0 });
      s.newEpoch(() => {});
      expect(s.programs.sweep()).toMatchObject({ cut: 0 });
      expect(s.send(s.a, next).frame).toEqual(reset(to(), PORT));
    });

    it('is forgotten by the sweep when the client has said all that it had to, and waits to be told nothing', () => {
      connect(to(), PORT, target);
      s.send(s.a, fromA(to(), TCP.FIN | TCP.ACK, PORT));
      s.remove(s.b);
      expect(s.programs.sweep()).toMatchObject({ cut: 1 });
      expect(s.programs.flowCounts.get(s.a.id)).toMatchObject({ flows: 0 });
    });

    it('is reset when somebody else has the address, whom it never reaches', () => {
      const next = connect(to(), PORT, target);
      s.remove(s.b);
      s.add({ ...s.b, id: 22, ifindex: s.spare[0] ?? 0 });
      expect(s.send(s.a, next).frame).toEqual(reset(to(), PORT));
    });

    it('ends without an answer to a RST', () => {
      connect(to(), PORT, target);
      s.remove(s.b);
      const out = s.send(s.a, fromA(to(), TCP.RST | TCP.ACK, PORT));
      expect(out).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.DROP });
    });

    it('is on the account of who opened it, and goes with that or when its time is up', () => {
      connect(to(), PORT, target);
      s.remove(s.b);
      s.programs.sweep();
      expect(s.programs.flowCounts.get(s.a.id)).toMatchObject({ flows: 1 });
      s.expireFlows();
      expect(s.programs.sweep()).toMatchObject({ expired: 1 });
      s.add(s.b);
      connect(to(), PORT, target);
      s.remove(s.a);
      s.remove(s.b);
      expect(s.programs.sweep()).toMatchObject({ cut: 1 });
      expect([records(), s.programs.nat.entries()]).toEqual([[], []]);
    });
  });

  it('a connection with a client that is gone is reset as soon as the server speaks', () => {
    connect(addressOf(s.b, family), PORT);
    s.remove(s.a);
    const out = s.send(s.b, fromB(TCP.ACK | TCP.PSH, PORT).payload(9));
    expect(out).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.REDIRECT });
    expect(out.frame).toEqual(
      answerTo(s.b, addressOf(s.a, family))
        .tcp({
          ...{ sourcePort: CLIENT_PORT, destinationPort: PORT, flags: TCP.RST },
          ...{ sequence: HEARD, window: 0 },
        })
        .bytes(),
    );
  });

  it('who has never talked to an address is not told whether it is somebody’s', () => {
    for (const frame of [
      fromA(NOBODY[family], TCP.ACK, PORT),
      fromA(NOBODY[family], TCP.SYN, PORT),
      outgoing(s.a, NOBODY[family]).udp(),
    ])
      expect(s.send(s.a, frame)).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.DROP });
    const known = fromA(addressOf(s.b, family), TCP.ACK, PORT);
    expect(s.send(s.a, known)).toMatchObject({ reason: 'NO_CONNECTION', verdict: ACTION.DROP });
  });

  it('a connection to a service that nobody knows any more is reset', () => {
    serve(family, PROTOCOL.TCP, s.b);
    const next = connect(SERVICE[family], PORT, TARGET);
    s.programs.conntrack.clear();
    s.programs.sweep();
    expect(s.send(s.a, next).frame).toEqual(reset(SERVICE[family], PORT));
  });

  it('datagrams to a container that is gone are refused, once', () => {
    const datagram = outgoing(s.a, addressOf(s.b, family)).udp().payload(7);
    s.send(s.a, datagram);
    s.send(s.b, outgoing(s.b, addressOf(s.a, family)).udp({ sourcePort: 53, destinationPort: CLIENT_PORT }));
    s.remove(s.b);
    s.programs.sweep();
    const out = s.send(s.a, datagram);
    expect(out).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.REDIRECT });
    expect(out.frame).toEqual(unreachable(answerTo(s.a, GATEWAY[family]), family, quoted(datagram)).bytes());
    expect(s.send(s.a, datagram)).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.DROP });
  });

  describe('a service that leads to another container', () => {
    const datagram = () =>
      outgoing(s.a, SERVICE[family]).udp({ sourcePort: CLIENT_PORT, destinationPort: PORT });

    it('has the datagrams of its clients there after the sweep, and connections stay', () => {
      serve(family, PROTOCOL.TCP, s.b);
      const next = connect(SERVICE[family], PORT, TARGET);
      serve(family, PROTOCOL.TCP, s.c);
      serve(family, PROTOCOL.UDP, s.b);
      expect(receiver(s.send(s.a, datagram()))).toBe(s.b);
      expect(s.programs.sweep()).toMatchObject({ cut: 0 });
      serve(family, PROTOCOL.UDP, s.c);
      expect(s.programs.sweep()).toMatchObject({ cut: 1 });
      expect(receiver(s.send(s.a, datagram()))).toBe(s.c);
      serve(family, PROTOCOL.UDP);
      expect(s.programs.sweep()).toMatchObject({ cut: 1 });
      expect(s.send(s.a, datagram())).toMatchObject({ reason: 'NO_BACKEND', verdict: ACTION.REDIRECT });
      expect(receiver(s.send(s.a, next))).toBe(s.b);
    });

    it('has a client with affinity there too', () => {
      const frontend = { address: SERVICE[family], port: PORT, protocol: PROTOCOL.UDP, affinityS: 600 };
      const backend = (endpoint: TestEndpoint) => ({ address: addressOf(endpoint, family), port: TARGET });
      s.frontend({ ...frontend, id: 1, backends: [backend(s.b)] });
      expect(receiver(s.send(s.a, datagram()))).toBe(s.b);
      // As the daemon leaves a place whose backend is no more.
      const place = s.programs.backends.get(16);
      if (!place) throw new Error('no backend');
      s.frontend({ ...frontend, id: 2, backends: [backend(s.c)] });
      s.programs.backends.set(16, { ...place, frontendId: 0 });
      s.programs.sweep();
      expect(receiver(s.send(s.a, datagram()))).toBe(s.c);
    });

    it('and what was opened by a port that leads nowhere now goes on', () => {
      serve(family, PROTOCOL.UDP, s.b);
      s.send(s.a, datagram());
      s.programs.frontends.clear();
      expect(s.programs.sweep()).toMatchObject({ cut: 0 });
      expect(receiver(s.send(s.a, datagram()))).toBe(s.b);
    });
  });
});
