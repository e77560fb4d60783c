/** What comes in by the uplink to a port that leads to containers: what is refused, and what is left to the node. */
import { spawn } from 'node:child_process';
import { describe, expect, it, vi } from 'vitest';
import { Rtnl } from '../../src/native/net.js';
import { SERVICE } from '../support/frontends.js';
import { type Packet, packet, TCP } from '../support/packet.js';
import {
  type AddressAndPort,
  CLIENT_PORT,
  EVERY,
  expectWhole,
  KINDS,
  PORT,
  protocolOf,
  type Segment,
  sentBy,
  serve,
  TARGET,
  TTL,
  transport,
} from '../support/port-connections.js';
import { skBuff } from '../support/program-context.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import {
  addressOf,
  FAMILIES,
  GATEWAY,
  NETWORK,
  NOBODY,
  NODE,
  WORLD,
  WORLD_ROUTER,
} from '../support/scenario-parties.js';
import { trafficProgram } from '../support/traffic.js';
import { expectUntouched, OUTSIDE_MACS, useTranslation } from '../support/translated.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useTranslation((scenario) => {
  s = scenario;
});

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    const protocol = protocolOf(kind);

    it.each([
      ['a service', SERVICE[family], SERVICE[family]],
      ["the node's address", NODE[family], EVERY[family]],
      ['the gateway', GATEWAY[family], EVERY[family]],
    ])(
      'nobody outside speaks or complains in place of a container that talks to %s',
      (_name, asked, listed) => {
        for (const server of [s.a, s.b]) {
          serve(s, server, family, kind, listed);
          const own: AddressAndPort = [addressOf(s.a, family), CLIENT_PORT];
          const front: AddressAndPort = [asked, PORT];
          expect(s.send(s.a, sentBy(s.a, { kind, source: own, destination: front })).reason).toBe('NONE');
          s.programs.frontends.clear();
          const forged = sentBy('outside', { kind, source: own, destination: front, flags: TCP.ACK });
          expect(s.answer(forged).reason).toBe('BAD_SOURCE');
          const router = { source: WORLD_ROUTER[family], destination: asked };
          const heard = quoted(sentBy(server, { kind, source: front, destination: own, flags: TCP.ACK }));
          expectUntouched(s, unreachable(packet().ethernet(OUTSIDE_MACS).ip(router), family, heard));
          s.programs.conntrack.clear();
          s.programs.sweep();
        }
      },
    );

    it('from outside a port of which nobody serves is left to the node, and so is every other', () => {
      s.frontend({ address: EVERY[family], port: PORT + 1, protocol, backends: [] });
      serve(s, s.b, family, kind, EVERY[family]);
      s.frontend({
        address: SERVICE[family],
        port: PORT + 3,
        protocol,
        backends: [{ address: addressOf(s.b, family), port: TARGET }],
        id: 2,
      });
      const arriving = (destination: string, port: number) =>
        sentBy('outside', {
          kind,
          source: [WORLD[family], CLIENT_PORT],
          destination: [destination, port],
        });
      expectUntouched(s, arriving(NODE[family], PORT + 1));
      expectUntouched(s, arriving(NODE[family], PORT + 2));
      // To an address that is not the node's: a service's among them.
      expectUntouched(s, arriving(WORLD_ROUTER[family], PORT));
      expectUntouched(s, arriving(SERVICE[family], PORT + 3));
      expect(s.answer(arriving(NODE[family], PORT)).reason).toBe('NONE');
    });

    it("a frame that is another host's, or everybody's, is left to the node's stack", () => {
      serve(s, s.b, family, kind, EVERY[family]);
      for (const destination of ['02:aa:00:00:00:03', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff']) {
        const macs = packet().ethernet({ ...OUTSIDE_MACS, destination });
        const ip = { source: WORLD[family], destination: NODE[family], ttl: TTL };
        const source: AddressAndPort = [WORLD[family], CLIENT_PORT];
        expectUntouched(s, transport(macs.ip(ip), { kind, source, destination: [NODE[family], PORT] }));
      }
      expectWhole(s, 0);
    });

    it('nobody outside gets in under an address of the fabric', () => {
      serve(s, s.b, family, kind, EVERY[family]);
      const source = (address: string): AddressAndPort => [address, CLIENT_PORT];
      for (const address of [addressOf(s.a, family), GATEWAY[family], NODE[family], NOBODY[family]]) {
        const frame = sentBy('outside', {
          kind,
          source: source(address),
          destination: [NODE[family], PORT],
        });
        expect(s.answer(frame).reason).toBe('BAD_SOURCE');
      }
      expectWhole(s, 0);
    });
  });

  it.each(['udp', 'tcp'] as const)(
    'what comes to a socket of the node that talks to its sender is not for the %s port mapping of its port',
    async (kind) => {
      serve(s, s.b, family, kind, EVERY[family]);
      const coming = (port: number, flags?: number) =>
        sentBy('outside', {
          ...{ kind, source: [WORLD[family], port], destination: [NODE[family], PORT] },
          ...(flags === undefined ? {} : { flags }),
        });
      expect(s.answer(coming(CLIENT_PORT)).reason).toBe('NONE');
      const dial = ['dial', kind, WORLD[family], `${CLIENT_PORT}`, '60000', '1', `${PORT}`];
      const own = { index: s.outside, address: `${NODE[family]}/${family === 4 ? 32 : 128}`, noDad: true };
      const socket = s.programs.inside(() => {
        using rtnl = Rtnl.open();
        const { index } = own;
        rtnl.setLink(index, { up: true });
        rtnl.addAddress(own);
        rtnl.addRoute({ destination: family === 4 ? 'default4' : 'default6', index });
        return spawn(trafficProgram('sockets'), dial, { stdio: 'ignore' });
      });
      try {
        // A connection that the mapping has already goes on.
        expect(s.answer(coming(CLIENT_PORT, TCP.ACK)).reason).toBe('NONE');
        await vi.waitFor(() => {
          s.programs.conntrack.clear();
          s.programs.nat.clear();
          expectUntouched(s, coming(CLIENT_PORT));
        }, 10_000);
        expectUntouched(s, coming(CLIENT_PORT, TCP.SYN | TCP.ACK));
        expect(s.answer(coming(CLIENT_PORT + 1)).reason).toBe('NONE');
      } finally {
        socket.kill('SIGKILL');
        s.programs.inside(() => {
          using rtnl = Rtnl.open();
          rtnl.deleteAddress(own);
          rtnl.setLink(own.index, { up: false });
        });
      }
    },
  );

  it('who would send a packet on is told that it came too far, if the policy lets it in, and at a rate', () => {
    serve(s, s.b, family, 'tcp', EVERY[family]);
    const far = (flags?: number) =>
      sentBy(
        'outside',
        {
          ...{ kind: 'tcp', source: [WORLD[family], CLIENT_PORT], destination: [NODE[family], PORT] },
          ...(flags === undefined ? {} : { flags }),
        },
        1,
      );
    const told = (frame: Packet) => {
      const base = packet()
        .ethernet({ source: OUTSIDE_MACS.destination, destination: OUTSIDE_MACS.source })
        .ip({ source: NODE[family], destination: WORLD[family] });
      const body = quoted(frame);
      return (family === 4 ? base.icmp({ type: 11, body }) : base.icmpv6({ type: 3, body })).bytes();
    };
    const first = s.answer(far());
    expect(first).toMatchObject({ reason: 'HOP_LIMIT', verdict: ACTION.REDIRECT });
    expect(first.frame).toEqual(told(far()));
    expectWhole(s, 0);

    const request: Segment = {
      ...{ kind: 'tcp', source: [WORLD[family], CLIENT_PORT], destination: [NODE[family], PORT] },
    };
    expect(s.answer(sentBy('outside', request)).reason).toBe('NONE');
    const known = s.answer(far(TCP.ACK));
    expect(known.frame).toEqual(told(far(TCP.ACK)));

    const context = skBuff({ ifindex: s.outside });
    const verdicts = s.programs.inside(() =>
      Array.from(
        { length: 4000 },
        () => s.programs.runUncounted('from_uplink', far(TCP.ACK).bytes(), context).returnValue | 0,
      ),
    );
    expect(verdicts).toContain(ACTION.DROP);
    s.newEpoch(() => {});
    expect(s.answer(far()).verdict).toBe(ACTION.DROP);
    s.programs.conntrack.clear();
    s.programs.sweep();
    expect(s.answer(far())).toMatchObject({ reason: 'POLICY_INGRESS', verdict: ACTION.DROP });
  });
});

it('the two families are services of their own', () => {
  expect(NETWORK.BLUE).not.toBe(NETWORK.RED);
  serve(s, s.b, 4, 'tcp', EVERY[4]);
  const frame = sentBy('outside', {
    kind: 'tcp',
    source: [WORLD[6], CLIENT_PORT],
    destination: [NODE[6], PORT],
  });
  expectUntouched(s, frame);
});
