/** The answers to ARP requests and neighbour solicitations, byte by byte. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { linkLayerOption, type Packet, packet } from '../support/packet.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { addressOf, GATEWAY, NOBODY } from '../support/scenario-parties.js';

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
});
afterAll(() => s?.programs.close());
beforeEach(() => s.reset());

const BROADCAST = 'ff:ff:ff:ff:ff:ff';

describe('ARP', () => {
  const request = (destination: string, targetIp: string): Packet =>
    packet()
      .ethernet({ source: s.a.mac, destination })
      .arp({ senderMac: s.a.mac, senderIp: addressOf(s.a, 4), targetIp });
  const reply = (targetIp: string): Packet =>
    packet()
      .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
      .arp({
        operation: 2,
        senderMac: s.a.gatewayMac,
        senderIp: targetIp,
        targetMac: s.a.mac,
        targetIp: addressOf(s.a, 4),
      });

  it.each([
    ['the gateway', GATEWAY[4]],
    ['another container', '10.7.0.12'],
    ['nobody', NOBODY[4]],
    ['the last address', '10.7.0.254'],
  ])('a request for %s is answered with the MAC of the gateway', (_name, target) => {
    for (const destination of [BROADCAST, s.a.gatewayMac]) {
      const outcome = s.send(s.a, request(destination, target));
      expect(outcome).toMatchObject({
        verdict: ACTION.REDIRECT,
        reason: 'NONE',
        endpointId: s.a.id,
        packets: 1,
        bytes: 42,
      });
      expect(outcome.frame).toEqual(reply(target).bytes());
    }
  });

  it('needs no policy, and opens no flow', () => {
    s.programs.subjects.clear();
    expect(s.send(s.a, request(BROADCAST, GATEWAY[4])).reason).toBe('NONE');
    expect(s.programs.conntrack.entries()).toEqual([]);
  });

  it('padding stays behind the answer', () => {
    const outcome = s.send(s.a, request(BROADCAST, GATEWAY[4]).pad(18));
    expect(outcome.frame).toEqual(reply(GATEWAY[4]).pad(18).bytes());
  });

  it('what the request says about the MAC that it asks for does not matter', () => {
    const odd = packet()
      .ethernet({ source: s.a.mac, destination: BROADCAST })
      .arp({ senderMac: s.a.mac, senderIp: addressOf(s.a, 4), targetMac: s.b.mac, targetIp: GATEWAY[4] });
    expect(s.send(s.a, odd).frame).toEqual(reply(GATEWAY[4]).bytes());
  });
});

describe('neighbour discovery', () => {
  const solicitation = (source: string, destination: string, target: string, options: number[]): Packet =>
    packet()
      .ethernet({ source: s.a.mac, destination: '33:33:ff:00:00:01' })
      .ip({ source, destination, ttl: 255 })
      .neighbour({ target, options });
  const advertisement = (destination: string, target: string): Packet =>
    packet()
      .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
      .ip({ source: target, destination, ttl: 255 })
      .neighbour({ type: 136, target, flags: 0x60, options: linkLayerOption(2, s.a.gatewayMac) });
  const nonce = [14, 1, 1, 2, 3, 4, 5, 6];

  it.each([
    ['the gateway', GATEWAY[6]],
    ['another container', 'fd00:7::c'],
    ['nobody', NOBODY[6]],
    ['the end of the network', 'fd00:7::ffff:ffff:ffff:ffff'],
  ])('a solicitation for %s is answered with the MAC of the gateway', (_name, target) => {
    const sources = [addressOf(s.a, 6), s.a.linkLocal ?? ''];
    const destinations = ['ff02::1:ff00:1', target];
    const options = [
      [],
      linkLayerOption(1, s.a.mac),
      [...nonce, ...linkLayerOption(1, s.a.mac)],
      [...linkLayerOption(1, s.a.mac), ...nonce],
    ];
    for (const source of sources) {
      for (const destination of destinations) {
        for (const some of options) {
          const outcome = s.send(s.a, solicitation(source, destination, target, some));
          expect(outcome).toMatchObject({
            verdict: ACTION.REDIRECT,
            reason: 'NONE',
            endpointId: s.a.id,
            packets: 1,
          });
          expect(outcome.frame).toEqual(advertisement(source, target).bytes());
        }
      }
    }
  });

  it('is answered right for addresses that make the checksum carry', () => {
    for (const tail of [
      'ffff:ffff:ffff:ffff',
      'ffff:ffff:ffff:fffe',
      '0:0:0:8000',
      '8000:8000:8000:8000',
      'fffe:1:fffe:1',
    ]) {
      const target = `fd00:7::${tail}`;
      const outcome = s.send(s.a, solicitation(addressOf(s.a, 6), target, target, []));
      expect(outcome.frame).toEqual(advertisement(addressOf(s.a, 6), target).bytes());
    }
  });

  it('needs no policy and no multicast option, and opens no flow', () => {
    s.programs.subjects.clear();
    expect(s.send(s.a, solicitation(addressOf(s.a, 6), 'ff02::1:ff00:1', GATEWAY[6], [])).reason).toBe(
      'NONE',
    );
    expect(s.programs.conntrack.entries()).toEqual([]);
  });

  it('what comes in is counted, not the longer answer', () => {
    const frame = solicitation(addressOf(s.a, 6), 'ff02::1:ff00:1', GATEWAY[6], []).bytes();
    expect(s.send(s.a, frame).bytes).toBe(frame.length);
  });
});
