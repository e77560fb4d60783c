/**
 * Ports that lead to containers, each frame as a whole, so that every checksum is proved: what a client sends to the
 * port reaches the container under its own address, and what the container says comes from the port.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { SERVICE } from '../support/frontends.js';
import { packet, TCP } from '../support/packet.js';
import {
  type AddressAndPort,
  CLIENT_PORT,
  type End,
  EVERY,
  expectWhole,
  handedTo,
  isOutside,
  KINDS,
  ownAddress,
  PORT,
  pass,
  protocolOf,
  type Segment,
  sentBy,
  serve,
  TARGET,
  TTL,
} from '../support/port-connections.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NODE,
  type TestEndpoint,
} from '../support/scenario-parties.js';
import { aliases, OUTSIDE_MACS, useTranslation } from '../support/translated.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useTranslation((scenario) => {
  s = scenario;
});

interface Case {
  name: string;
  client: () => End;
  /** What the client connects to. */
  asked: (family: Family) => string;
  listed: (family: Family) => string;
  server: () => TestEndpoint;
}

const CASES: Case[] = [
  {
    name: 'from a container to a service of its network',
    client: () => s.a,
    asked: (family) => SERVICE[family],
    listed: (family) => SERVICE[family],
    server: () => s.b,
  },
  {
    name: 'from a container to a service of another network',
    client: () => s.a,
    asked: (family) => SERVICE[family],
    listed: (family) => SERVICE[family],
    server: () => s.c,
  },
  {
    name: "from a container to a port of the node's address",
    client: () => s.a,
    asked: (family) => NODE[family],
    listed: (family) => NODE[family],
    server: () => s.b,
  },
  {
    name: 'from a container to a port of every address of the node',
    client: () => s.a,
    asked: (family) => GATEWAY[family],
    listed: (family) => EVERY[family],
    server: () => s.c,
  },
  {
    name: 'from outside to a port of the node',
    client: () => 'outside',
    asked: (family) => NODE[family],
    listed: (family) => EVERY[family],
    server: () => s.b,
  },
];

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    const protocol = protocolOf(kind);

    describe.each(CASES)('$name', ({ client, asked, listed, server }) => {
      /** What the client says, and what it hears, by its own names and by the container's. */
      const names = (port = CLIENT_PORT) => {
        const own: AddressAndPort = [ownAddress(client(), family), port];
        const front: AddressAndPort = [asked(family), PORT];
        const back: AddressAndPort = [addressOf(server(), family), TARGET];
        return { own, front, back };
      };
      const request = (port?: number, flags?: number): Segment => {
        const { own, front } = names(port);
        return { kind, source: own, destination: front, ...(flags === undefined ? {} : { flags }) };
      };
      const delivered = (port?: number, flags?: number): Segment => {
        const { own, back } = names(port);
        return { kind, source: own, destination: back, ...(flags === undefined ? {} : { flags }) };
      };
      const reply = (flags = TCP.SYN | TCP.ACK): Segment => {
        const { own, back } = names();
        return { kind, source: back, destination: own, flags };
      };
      const heard = (flags = TCP.SYN | TCP.ACK): Segment => {
        const { own, front } = names();
        return { kind, source: front, destination: own, flags };
      };
      /** One hop more for what crosses the uplink. */
      const hop = () => (isOutside(client()) ? TTL - 1 : TTL);

      beforeEach(() => serve(s, server(), family, kind, listed(family)));

      it('reaches the container, and the answer comes from the port', () => {
        const there = pass(s, client(), sentBy(client(), request()));
        expect(there).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        expect(there.frame).toEqual(handedTo(server(), delivered(), hop()).bytes());
        expectWhole(s, 1);

        const back = s.send(server(), sentBy(server(), reply()));
        expect(back).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        const end = client();
        const expected = isOutside(end)
          ? sentBy(server(), heard(), hop()) // MAC addresses are the kernel's to change
          : handedTo(end, heard());
        expect(back.frame).toEqual(expected.bytes());

        const more = pass(s, client(), sentBy(client(), request(CLIENT_PORT, TCP.ACK)));
        expect(more.frame).toEqual(handedTo(server(), delivered(CLIENT_PORT, TCP.ACK), hop()).bytes());
        expectWhole(s, 1);
      });

      it('is judged as a connection to the container', () => {
        s.newEpoch((slot) => {
          for (const subject of [s.a, s.b, s.c]) s.rule({ subject, direction: 'egress' }, slot);
          s.rule({ subject: server(), direction: 'ingress', protocol, port: PORT }, slot);
        });
        expect(pass(s, client(), sentBy(client(), request())).reason).toBe('POLICY_INGRESS');
        expectWhole(s, 0);
        s.newEpoch((slot) => {
          for (const subject of [s.a, s.b, s.c]) s.rule({ subject, direction: 'egress' }, slot);
          s.rule({ subject: server(), direction: 'ingress', protocol, port: TARGET }, slot);
        });
        expect(pass(s, client(), sentBy(client(), request())).reason).toBe('NONE');
        expectWhole(s, 1);
      });

      it('is cut when the policy changes, with its alias, and may come again', () => {
        pass(s, client(), sentBy(client(), request()));
        s.newEpoch(() => {});
        const left = s.send(server(), sentBy(server(), reply()));
        expect(left.reason).toBe('CONNECTION_CUT');
        expectWhole(s, 0);
        s.newEpoch((slot) => s.allowAll(slot));
        expect(pass(s, client(), sentBy(client(), request())).reason).toBe('NONE');
        expectWhole(s, 1);
      });

      it('keeps its container when the port leads to another, which the next client gets', () => {
        pass(s, client(), sentBy(client(), request()));
        const other = server() === s.b ? s.c : s.b;
        serve(s, other, family, kind, listed(family));
        const same = pass(s, client(), sentBy(client(), request(CLIENT_PORT, TCP.ACK)));
        expect(same.frame).toEqual(handedTo(server(), delivered(CLIENT_PORT, TCP.ACK), hop()).bytes());
        const next = pass(s, client(), sentBy(client(), request(CLIENT_PORT + 1)));
        const back: AddressAndPort = [addressOf(other, family), TARGET];
        expect(next.frame).toEqual(
          handedTo(other, { ...delivered(CLIENT_PORT + 1), destination: back }, hop()).bytes(),
        );
        expectWhole(s, 2);
      });

      it('an error of the container about it comes from the port, and quotes what the client sent', () => {
        pass(s, client(), sentBy(client(), request()));
        const base = (segment: Segment, end: End, ttl?: number) => {
          const frame = sentBy(end, segment, ttl);
          return quoted(frame);
        };
        const macs = { source: server().mac, destination: server().gatewayMac };
        const { own, front, back } = names();
        const error = unreachable(
          packet().ethernet(macs).ip({ source: back[0], destination: own[0], ttl: TTL }),
          family,
          base(delivered(), client(), hop()),
        );
        const out = s.send(server(), error);
        expect(out).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        const end = client();
        const told = isOutside(end) ? macs : { source: end.gatewayMac, destination: end.mac };
        expect(out.frame).toEqual(
          unreachable(
            packet().ethernet(told).ip({ source: front[0], destination: own[0], ttl: hop() }),
            family,
            base(request(), client(), hop()),
          ).bytes(),
        );
      });

      it('an error of the client about an answer reaches the container, and quotes what it sent', () => {
        pass(s, client(), sentBy(client(), request()));
        s.send(server(), sentBy(server(), reply()));
        const end = client();
        const macs = isOutside(end) ? OUTSIDE_MACS : { source: end.mac, destination: end.gatewayMac };
        const { own, front, back } = names();
        const error = unreachable(
          packet().ethernet(macs).ip({ source: own[0], destination: front[0], ttl: TTL }),
          family,
          quoted(sentBy(server(), heard())),
        );
        const there = pass(s, end, error);
        expect(there).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        expect(there.frame).toEqual(
          unreachable(
            packet()
              .ethernet({ source: server().gatewayMac, destination: server().mac })
              .ip({ source: own[0], destination: back[0], ttl: hop() }),
            family,
            quoted(sentBy(server(), reply())),
          ).bytes(),
        );
      });

      it('a container that is gone is served by the next one, without what the first one left', () => {
        pass(s, client(), sentBy(client(), request()));
        s.remove(server());
        const other = server() === s.b ? s.c : s.b;
        serve(s, other, family, kind, listed(family));
        const again = pass(s, client(), sentBy(client(), request()));
        const back: AddressAndPort = [addressOf(other, family), TARGET];
        expect(again.frame).toEqual(handedTo(other, { ...delivered(), destination: back }, hop()).bytes());
        expectWhole(s, 1);
      });

      it('a connection that has ended makes room for the next one of its ports', () => {
        pass(s, client(), sentBy(client(), request()));
        if (kind === 'tcp') pass(s, client(), sentBy(client(), request(CLIENT_PORT, TCP.RST)));
        else s.expireFlows();
        const again = pass(s, client(), sentBy(client(), request()));
        expect(again.frame).toEqual(handedTo(server(), delivered(), hop()).bytes());
        expectWhole(s, 1);
      });

      it('goes on without its port mapping, and takes its alias with it when it ends', () => {
        pass(s, client(), sentBy(client(), request()));
        s.programs.frontends.clear();
        expect(s.send(server(), sentBy(server(), reply())).reason).toBe('NONE');
        expect(pass(s, client(), sentBy(client(), request(CLIENT_PORT, TCP.ACK))).reason).toBe('NONE');
        s.expireFlows();
        s.programs.sweep();
        expect([s.programs.conntrack.entries(), aliases(s)]).toEqual([[], []]);
      });
    });
  });
});
