/** Limits of bandwidth: what a bucket lets pass, and that no way past it exists. */
import { describe, expect, it } from 'vitest';
import { BandwidthScale, Direction, EndpointFlags } from '../../src/datapath/abi/generated.js';
import { monotonicNs } from '../../src/native/bpf.js';
import { macBytes, type Packet } from '../support/packet.js';
import { skBuff } from '../support/program-context.js';
import { ACTION, reasonName } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { incoming, outgoing } from '../support/scenario-frames.js';
import { BYTE_NS, bandwidthKey } from '../support/scenario-limits.js';
import { addressOf, FAMILIES, type TestEndpoint, UPLINK, WORLD } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario(
  (scenario) => {
    s = scenario;
  },
  (scenario) => scenario.allowAll(),
);

/** lib/deliver.h */
const HANDED_OVER = 0x716e6862;

/** A frame that another program has handed over to the endpoint. */
function handedOver(to: TestEndpoint, frame: Packet | Uint8Array, cb = [HANDED_OVER, to.id]) {
  const bytes = frame instanceof Uint8Array ? frame : frame.bytes();
  s.programs.forget();
  const context = skBuff({ ifindex: to.ifindex, ingressIfindex: s.a.ifindex, cb });
  const { returnValue } = s.programs.runUncounted('to_container', bytes, context);
  const counted = s.programs.metrics().map(({ reason, packets }) => ({ reason, packets }));
  return { verdict: returnValue | 0, counted };
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const sent = () => outgoing(s.a, addressOf(s.b, family)).udp().payload(200);
  const received = (from: string) => incoming(s.b, from).udp().payload(200);
  const size = () => sent().bytes().length;

  it('what a container sends passes to the byte of its bucket, and what comes then is dropped', () => {
    s.limit(s.a, 'egress', { burst: 3 * size() });
    const reasons = Array.from({ length: 5 }, () => s.send(s.a, sent()).reason);
    expect(reasons).toEqual(['NONE', 'NONE', 'NONE', 'BANDWIDTH_EGRESS', 'BANDWIDTH_EGRESS']);
    s.limit(s.a, 'egress', { burst: 3 * size() - 1 });
    expect([1, 2, 3].map(() => s.send(s.a, sent()).reason)).toEqual(['NONE', 'NONE', 'BANDWIDTH_EGRESS']);
  });

  it.each([
    [1, 'BANDWIDTH_EGRESS'],
    [7, 'BANDWIDTH_EGRESS'],
    [8, 'NONE'],
  ])('a packet in segments of %i bytes, which no stack makes so small, is %s', (gsoSize, reason) => {
    s.limit(s.a, 'egress', { burst: 1_000_000 });
    s.programs.forget();
    s.programs.runUncounted('from_container', sent().bytes(), skBuff({ ifindex: s.a.ifindex, gsoSize }));
    expect(s.programs.metrics().map((count) => count.reason)).toEqual([reason]);
  });

  it.each([
    ['as much as its segments are', 0, 'NONE'],
    // As of a tunnel, of which it knows the headers inside.
    ['no less than the kernel says', 2000, 'BANDWIDTH_INGRESS'],
  ])('a packet that the kernel will cut counts %s', (_what, wireLength, reason) => {
    const frame = received(WORLD[family]).payload(1400).bytes();
    s.limit(s.b, 'ingress', { burst: 1999 });
    s.programs.forget();
    const context = { ifindex: s.b.ifindex, ingressIfindex: UPLINK, gsoSize: 700, wireLength };
    s.programs.runUncounted('to_container', frame, skBuff(context));
    expect(s.programs.metrics().map((count) => count.reason)).toEqual([reason]);
  });

  /** As if so many frames more, or less, had passed than their time has come for. */
  const ahead = (frames: number) => {
    const entry = s.programs.bandwidth.get(bandwidthKey(s.a, 'egress'));
    const now = monotonicNs() + (1n << BigInt(BandwidthScale.EPOCH_BITS));
    const dueNs = now + BigInt(size() * frames) * BYTE_NS;
    s.programs.bandwidth.set(bandwidthKey(s.a, 'egress'), { ...entry, dueNs } as typeof entry & object);
  };

  it('a bucket fills at its rate', () => {
    s.limit(s.a, 'egress', { burst: 2 * size() });
    ahead(-1.5);
    expect([1, 2].map(() => s.send(s.a, sent()).reason)).toEqual(['NONE', 'BANDWIDTH_EGRESS']);
  });

  it('a bucket that has the time of another, which the kernel has recycled, begins anew', () => {
    s.limit(s.a, 'egress', { burst: 2 * size() });
    ahead(1000);
    expect([1, 2, 3].map(() => s.send(s.a, sent()).reason)).toEqual(['NONE', 'NONE', 'BANDWIDTH_EGRESS']);
  });

  it('a bucket in which others take their places meanwhile does not', () => {
    s.limit(s.a, 'egress', { burst: 2 * size() });
    ahead(100);
    expect(s.send(s.a, sent()).reason).toBe('BANDWIDTH_EGRESS');
  });

  it('what a container is sent may wait, as long as its queue has room', () => {
    s.limit(s.b, 'ingress', { burst: 2 * size(), queue: 3 * size() });
    const reasons = Array.from({ length: 6 }, () => s.receive(s.b, received(WORLD[family]), UPLINK).reason);
    expect(reasons).toEqual(['NONE', 'NONE', 'NONE', 'NONE', 'NONE', 'BANDWIDTH_INGRESS']);
  });

  it('the limits of two endpoints, and of both directions, do not touch each other', () => {
    s.limit(s.b, 'ingress', { burst: 0 });
    expect(s.send(s.b, outgoing(s.b, addressOf(s.a, family)).udp()).reason).toBe('NONE');
    expect(s.receive(s.a, incoming(s.a, WORLD[family]).udp(), UPLINK).reason).toBe('NONE');
    expect(s.receive(s.b, received(WORLD[family]), UPLINK).reason).toBe('BANDWIDTH_INGRESS');
  });

  it('a limit without its bucket lets nothing pass', () => {
    s.add({ ...s.a, flags: EndpointFlags.LIMITED_INGRESS });
    expect(s.receive(s.a, incoming(s.a, WORLD[family]).udp(), UPLINK).reason).toBe('MAP_CORRUPT');
    s.add({ ...s.a, flags: EndpointFlags.LIMITED_EGRESS });
    expect(s.send(s.a, sent()).reason).toBe('MAP_CORRUPT');
  });

  it('a frame for a container with a limit is handed over by way of its queue, judged and counted once', () => {
    s.limit(s.b, 'ingress', { burst: 10 * size() });
    const outcome = s.send(s.a, sent());
    expect(outcome).toMatchObject({ verdict: ACTION.REDIRECT, reason: 'NONE', packets: 1 });
    // That policy and connections have nothing against it was said before; so nobody asks again.
    s.programs.conntrack.clear();
    s.newEpoch(() => undefined);
    expect(handedOver(s.b, outcome.frame)).toEqual({ verdict: ACTION.PASS, counted: [] });
  });

  it('a frame that was handed over is dropped when the queue is full, on the account of the receiver', async () => {
    const { frame } = s.send(s.a, sent());
    s.limit(s.b, 'ingress', { burst: size() });
    expect(handedOver(s.b, frame)).toEqual({ verdict: ACTION.PASS, counted: [] });
    expect(handedOver(s.b, frame)).toEqual({
      verdict: ACTION.DROP,
      counted: [{ reason: 'BANDWIDTH_INGRESS', packets: 1 }],
    });
    const event = await s.programs.takeEvent();
    expect({ ...event, reason: reasonName(event.reason) }).toMatchObject({
      reason: 'BANDWIDTH_INGRESS',
      endpointId: s.b.id,
      sourceEndpointId: s.a.id,
      destinationEndpointId: s.b.id,
      direction: Direction.INGRESS,
    });
  });

  const judgedAnew = { verdict: ACTION.DROP, counted: [{ reason: 'POLICY_INGRESS', packets: 1 }] };

  it.each<[string, (frame: Uint8Array) => Uint8Array, (to: TestEndpoint) => number[]]>([
    ['the mark of another endpoint', (frame) => frame, ({ id }) => [HANDED_OVER, id + 1]],
    ['half of the mark', (frame) => frame, ({ id }) => [0, id]],
    ['no mark', (frame) => frame, () => []],
    [
      "the mark, from the interface's own MAC address",
      (frame) =>
        Uint8Array.from([...frame.slice(0, 6), ...macBytes('02:aa:00:00:00:07'), ...frame.slice(12)]),
      ({ id }) => [HANDED_OVER, id],
    ],
  ])('a frame with %s is judged as any other', (_name, change, cb) => {
    const { frame } = s.send(s.a, sent());
    s.limit(s.b, 'ingress', { burst: 10 * size() });
    s.programs.conntrack.clear();
    s.newEpoch((slot) => s.rule({ subject: s.a, direction: 'egress' }, slot));
    expect(handedOver(s.b, change(frame), cb(s.b))).toEqual(judgedAnew);
  });

  it('a container without a limit takes no frame for judged, whatever it carries', () => {
    const { frame } = s.send(s.a, sent());
    s.programs.conntrack.clear();
    s.newEpoch((slot) => s.rule({ subject: s.a, direction: 'egress' }, slot));
    expect(handedOver(s.b, frame)).toEqual(judgedAnew);
  });
});
