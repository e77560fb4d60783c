/** The times at which packets may leave by a limit of bandwidth, as the programs write them on frames. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bandwidth, BandwidthDeparture, BandwidthScale } from '../../src/datapath/abi/generated.js';
import { BpfObject, type BpfProgram, monotonicNs, tcxSupported } from '../../src/native/bpf.js';
import { Rtnl } from '../../src/native/net.js';
import type { Packet } from '../support/packet.js';
import { departureOf, skBuff } from '../support/program-context.js';
import { ACTION, OBJECT_FOLDER } from '../support/programs.js';
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

/** A time that no queue should wait for. */
const FAR = 1n << 61n;

/** What became of a frame, when it may leave, and between which times it passed the program. */
interface Passed {
  verdict: number;
  departure: bigint;
  before: bigint;
  after: bigint;
}

function pass(
  program: 'to_container' | BpfProgram,
  frame: Packet | Uint8Array,
  where: Parameters<typeof skBuff>[0],
): Passed {
  const bytes = frame instanceof Uint8Array ? frame : frame.bytes();
  const before = monotonicNs();
  const { returnValue, contextOut } = s.programs.runUncounted(program, bytes, skBuff(where));
  return {
    verdict: returnValue | 0,
    departure: departureOf(contextOut),
    before,
    after: monotonicNs(),
  };
}

/** Of frames of the same size after a pause: two pass at once, three wait, and for the next there is no room. */
function expectTimes(passed: Passed[], cost: bigint): void {
  const { PASS, DROP } = ACTION;
  expect(passed.map(({ verdict }) => verdict)).toEqual([PASS, PASS, PASS, PASS, PASS, DROP]);
  for (const { departure, before, after } of passed.slice(0, 2)) {
    expect(departure).toBeGreaterThanOrEqual(before);
    expect(departure).toBeLessThanOrEqual(after);
  }
  const [first, , third, fourth, fifth] = passed;
  if (!first || !third || !fourth || !fifth) throw new Error('too few');
  // The bucket was full when the first came: the third is one packet ahead of what it had.
  expect(third.departure).toBeGreaterThanOrEqual(first.before + cost);
  expect(third.departure).toBeLessThanOrEqual(first.after + cost);
  expect([fourth.departure - third.departure, fifth.departure - fourth.departure]).toEqual([cost, cost]);
}

/** A queue of ours behind an interface; or of that handle, which the programs take for one. */
const queueBehind = (index: number, handle = '716f') =>
  s.programs.inside(() => {
    using rtnl = Rtnl.open();
    const dev = rtnl.link(index)?.name ?? '';
    execFileSync('tc', ['qdisc', 'replace', 'dev', dev, 'root', 'handle', `${handle}:`, 'pfifo']);
  });
/** Nothing waits there: it is full where nothing may. */
const FULL = 0;

describe.each(FAMILIES)('what a container is sent, IPv%i', (family) => {
  const packet = () => incoming(s.b, WORLD[family]).udp().payload(200);
  const size = () => packet().bytes().length;
  const receive = (more = {}) =>
    pass('to_container', packet(), { ifindex: s.b.ifindex, ingressIfindex: UPLINK, ...more });

  it('leaves at the rate of its limit, and what is too far ahead of its time is dropped', () => {
    s.limit(s.b, 'ingress', { burst: 2 * size(), queue: 3 * size() });
    expectTimes(
      Array.from({ length: 6 }, () => receive()),
      BigInt(size()) * BYTE_NS,
    );
  });

  it('leaves by its limit and not when its sender has written', () => {
    s.limit(s.b, 'ingress', { burst: 2 * size() });
    const { departure, after } = receive({ departureNs: FAR });
    expect(departure).toBeLessThanOrEqual(after);
  });

  it.each(['716f', '716e'])(
    'is dropped where as many packets wait in the queue %s: as may, and takes no place in the bucket',
    (handle) => {
      queueBehind(s.b.ifindex, handle);
      s.limit(s.b, 'ingress', { burst: size(), packets: FULL });
      expect([receive().verdict, receive().verdict]).toEqual([ACTION.DROP, ACTION.DROP]);
      expect(s.programs.metrics().map(({ reason, packets }) => ({ reason, packets }))).toEqual([
        { reason: 'BANDWIDTH_INGRESS', packets: 2 },
      ]);
      const key = bandwidthKey(s.b, 'ingress');
      const entry = s.programs.bandwidth.get(key) as Bandwidth;
      expect(entry.dueNs).toBe(0n);
      s.programs.bandwidth.set(key, { ...entry, queuePackets: 1 });
      expect(receive().verdict).toBe(ACTION.PASS);
    },
  );

  it('is not held up by what waits in a queue that is none of ours', () => {
    queueBehind(s.b.ifindex, '1');
    s.limit(s.b, 'ingress', { burst: size(), packets: FULL });
    expect(receive().verdict).toBe(ACTION.PASS);
  });

  it('leaves at any time without a limit', () => {
    expect(receive()).toMatchObject({ verdict: ACTION.PASS, departure: 0n });
  });
});

it.each(FAMILIES)(
  'no queue of the node keeps what a container sends until a time of its own, IPv%i',
  (family) => {
    const frame = outgoing(s.a, addressOf(s.b, family)).udp().bytes();
    const context = skBuff({ ifindex: s.a.ifindex, departureNs: FAR });
    const { returnValue, contextOut } = s.programs.runUncounted('from_container', frame, context);
    expect(returnValue).toBe(ACTION.REDIRECT);
    expect(departureOf(contextOut)).toBe(0n);
  },
);

describe.skipIf(!tcxSupported()).each(FAMILIES)('what a container sends, IPv%i', (family) => {
  let leaveContainer: BpfProgram;
  beforeEach(async () => {
    using object = BpfObject.open(join(OBJECT_FOLDER, 'leave_container.bpf.o'));
    s.programs.fitMaps(object);
    await object.load({ pinRoot: s.programs.pinRoot });
    leaveContainer = object.program('leave_container');
    s.programs.forget();
    for (const endpoint of [s.a, s.c]) queueBehind(inside(endpoint));
  });
  afterEach(() => leaveContainer.close());

  const packet = () => outgoing(s.a, addressOf(s.b, family)).udp().payload(200);
  const size = () => packet().bytes().length;
  /** The other end of an endpoint's interface, which is the container's. */
  const inside = ({ ifindex }: TestEndpoint) =>
    s.programs.inside(() => {
      using rtnl = Rtnl.open();
      const name = rtnl.link(ifindex)?.name ?? '';
      return rtnl.link(name.replace('host', 'peer'))?.index ?? 0;
    });
  const leave = (from: number, frame: Packet | Uint8Array = packet(), more = {}) =>
    pass(leaveContainer, frame, { ifindex: from, ...more });
  const counted = () =>
    s.programs.metrics().map(({ reason, endpointId, packets }) => ({ reason, endpointId, packets }));

  function limit({
    burst,
    queue = 0,
    packets = 1000,
  }: {
    burst: number;
    queue?: number;
    packets?: number;
  }): void {
    const key = { endpointId: s.a.id, direction: BandwidthDeparture.DEPARTURE };
    s.programs.bandwidth.set(key, {
      byteCost: BYTE_NS << BigInt(BandwidthScale.COST_BITS),
      burstNs: BigInt(burst) * BYTE_NS,
      queueNs: BigInt(queue) * BYTE_NS,
      dueNs: 0n,
      queuePackets: packets,
    });
  }

  it('is dropped and counted where as many packets wait as may', () => {
    limit({ burst: size(), packets: FULL });
    expect(leave(inside(s.a)).verdict).toBe(ACTION.DROP);
    expect(counted()).toEqual([{ reason: 'BANDWIDTH_EGRESS', endpointId: s.a.id, packets: 1 }]);
    limit({ burst: size(), packets: 1 });
    expect(leave(inside(s.a)).verdict).toBe(ACTION.PASS);
  });

  it('leaves at the rate of its limit, and what is too far ahead of its time is dropped and counted', () => {
    limit({ burst: 2 * size(), queue: 3 * size() });
    expectTimes(
      Array.from({ length: 6 }, () => leave(inside(s.a))),
      BigInt(size()) * BYTE_NS,
    );
    expect(counted()).toEqual([{ reason: 'BANDWIDTH_EGRESS', endpointId: s.a.id, packets: 1 }]);
  });

  it('counts as what the kernel will make of it', () => {
    limit({ burst: 0, queue: 10_000 });
    const wireLength = 4 * size();
    const [first, second] = [1, 2].map(() => leave(inside(s.a), packet(), { wireLength }).departure);
    expect((second ?? 0n) - (first ?? 0n)).toBe(BigInt(wireLength) * BYTE_NS);
  });

  it('leaves by its limit and not when its sender has written', () => {
    limit({ burst: size() });
    const { departure, after } = leave(inside(s.a), packet(), { departureNs: FAR });
    expect(departure).toBeLessThanOrEqual(after);
  });

  it("counts for whose interface it leaves by, and not for whose address it bears, nor for one with the interface's number", () => {
    limit({ burst: 0 });
    const kept = { verdict: ACTION.PASS, departure: 0n };
    expect(leave(inside(s.c))).toMatchObject(kept);
    // The number of the host's side, as an interface of a container may have it.
    queueBehind(s.a.ifindex);
    expect(leave(s.a.ifindex)).toMatchObject(kept);
    queueBehind(1);
    expect(leave(1)).toMatchObject(kept);
    expect(counted()).toEqual([]);
    expect(leave(inside(s.a)).verdict).toBe(ACTION.DROP);
  });

  it('leaves at any time without a limit, if it is no IP, or before a queue that pays no regard to times', () => {
    const kept = { verdict: ACTION.PASS, departure: 0n };
    expect(leave(inside(s.a))).toMatchObject(kept);
    limit({ burst: 0 });
    queueBehind(inside(s.a), '716e');
    expect(leave(inside(s.a))).toMatchObject(kept);
    queueBehind(inside(s.a));
    const arp = packet().bytes();
    arp.set([0x08, 0x06], 12);
    expect(leave(inside(s.a), arp)).toMatchObject(kept);
  });
});
