/** An ICMP error that a container makes up about a flow of others changes nothing of it, and is told of as its sender's. */
import { describe, expect, it } from 'vitest';
import { reasonName } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useScenario(
  (scenario) => {
    s = scenario;
  },
  (scenario) => scenario.allowAll(),
);

describe.each(FAMILIES)('IPv%i', (family) => {
  const open = () => s.send(s.b, outgoing(s.b, addressOf(s.c, family)).udp()).reason;
  /** From a to c, about what c would have answered b. */
  const made = () => {
    const answer = outgoing(s.c, addressOf(s.b, family)).udp({ sourcePort: 53, destinationPort: 40000 });
    return unreachable(outgoing(s.a, addressOf(s.c, family)), family, quoted(answer));
  };

  it.each<[string, (slot: number) => void]>([
    ['lets the flow go on', (slot) => s.allowAll(slot)],
    ['does not', () => undefined],
  ])('after a change of policy that %s', async (_what, write) => {
    expect(open()).toBe('NONE');
    s.newEpoch(write);
    const before = s.programs.conntrack.entries();
    expect(before).toHaveLength(1);
    expect(s.send(s.a, made()).reason).toBe('ICMP_UNRELATED');
    const event = await s.programs.takeEvent();
    expect({ ...event, reason: reasonName(event.reason) }).toMatchObject({
      reason: 'ICMP_UNRELATED',
      endpointId: s.a.id,
      sourceEndpointId: s.a.id,
      sourceIdentity: s.a.identity,
      destinationEndpointId: 0,
    });
    expect(s.programs.conntrack.entries()).toEqual(before);
  });
});
