/** In which order the tiers are asked, and when the asking ends. */
import { beforeEach, describe, expect, it } from 'vitest';
import { PolicyPeer, PolicyTier } from '../../src/datapath/abi/generated.js';
import { PROTOCOL } from '../support/packet.js';
import type { Rule, Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, NETWORK } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario((scenario) => {
  s = scenario;
});

const { ADMIN, NETWORK_POLICY, BASELINE, DEFAULT } = PolicyTier;
/** With the name that failures show. */
const TIERS = { ADMIN, NETWORK_POLICY, BASELINE, DEFAULT };
const ORDER = Object.entries(TIERS);
const EARLIER_AND_LATER = ORDER.flatMap(([first, earlier], at) =>
  ORDER.slice(at + 1).map(([second, later]) => [first, second, earlier, later] as const),
);
const BLUE = PolicyPeer.NETWORK_FLAG | NETWORK.BLUE;
const TCP_80 = { protocol: PROTOCOL.TCP, port: 80 };
const VERDICTS = ['allow', 'deny', 'pass'] as const;
const REASON = { allow: 'NONE', deny: 'POLICY_EGRESS_DENY', pass: 'POLICY_EGRESS' } as const;
const STRENGTH = ['allow', 'pass', 'deny'];

describe.each(FAMILIES)('IPv%i', (family) => {
  const ask = () => {
    s.programs.conntrack.clear();
    return s.send(s.a, outgoing(s.a, addressOf(s.b, family)).tcp({ destinationPort: 80 })).reason;
  };
  const egress = (rule: Partial<Rule>) => s.rule({ subject: s.a, direction: 'egress', ...rule });
  beforeEach(() => s.rule({ subject: s.b, direction: 'ingress' }));

  describe.each(EARLIER_AND_LATER)('%s before %s', (_first, _second, earlier, later) => {
    it.each(['allow', 'deny'] as const)(
      '%s there ends it, whatever is higher or more exact later',
      (verdict) => {
        egress({ tier: earlier, verdict, precedence: 0 });
        egress({
          tier: later,
          verdict: verdict === 'allow' ? 'deny' : 'allow',
          peer: s.b,
          ...TCP_80,
          precedence: 0xffffffff,
        });
        expect(ask()).toBe(REASON[verdict]);
      },
    );

    it.each(['allow', 'deny'] as const)('pass there leaves it to %s later', (verdict) => {
      egress({ tier: earlier, verdict: 'pass' });
      egress({ tier: later, verdict });
      expect(ask()).toBe(REASON[verdict]);
    });

    it.each(['allow', 'deny'] as const)('nothing that matches there leaves it to %s later', (verdict) => {
      egress({ tier: earlier, verdict: verdict === 'allow' ? 'deny' : 'allow', peer: s.c });
      egress({ tier: later, verdict });
      expect(ask()).toBe(REASON[verdict]);
    });
  });

  describe.each(ORDER)('in %s', (_name, tier) => {
    const pairs = VERDICTS.flatMap((one) => VERDICTS.map((other) => [one, other] as const));

    it.each(pairs)(
      'of equal rules, %s for the peer and %s for anybody, the stronger decides',
      (one, other) => {
        egress({ tier, verdict: one, peer: s.b, ...TCP_80, precedence: 7 });
        egress({ tier, verdict: other, precedence: 7 });
        const stronger = STRENGTH.indexOf(one) > STRENGTH.indexOf(other) ? one : other;
        expect(ask()).toBe(REASON[stronger]);
      },
    );

    it.each(pairs)('a higher %s decides against a lower %s', (high, low) => {
      egress({ tier, verdict: high, precedence: 0x10000 });
      egress({ tier, verdict: low, peer: BLUE, ...TCP_80, precedence: 0xffff });
      expect(ask()).toBe(REASON[high]);
    });

    it('pass skips the lower rules of the tier', () => {
      egress({ tier, verdict: 'pass', precedence: 2 });
      egress({ tier, verdict: 'allow', precedence: 1, peer: s.b });
      expect(ask()).toBe('POLICY_EGRESS');
    });
  });

  it('isolation denies what no rule of NetworkPolicy allows, and asks nobody behind it', () => {
    s.isolate(s.a, 'egress');
    egress({ tier: BASELINE });
    egress({ tier: DEFAULT });
    egress({ tier: NETWORK_POLICY, peer: s.c });
    expect(ask()).toBe('POLICY_EGRESS');
    egress({ tier: NETWORK_POLICY, peer: s.b });
    expect(ask()).toBe('NONE');
  });

  it.each(['allow', 'deny'] as const)('isolation does not matter when the admin says %s', (verdict) => {
    s.isolate(s.a, 'egress');
    egress({ tier: NETWORK_POLICY, peer: verdict === 'deny' ? s.b : s.c });
    egress({ tier: ADMIN, verdict });
    expect(ask()).toBe(REASON[verdict]);
  });

  it('an admin who passes leaves it to the isolation', () => {
    s.isolate(s.a, 'egress');
    egress({ tier: ADMIN, verdict: 'pass' });
    egress({ tier: BASELINE });
    expect(ask()).toBe('POLICY_EGRESS');
  });

  it('isolation is of one direction', () => {
    s.isolate(s.a, 'ingress');
    s.isolate(s.b, 'egress');
    egress({ tier: DEFAULT });
    expect(ask()).toBe('NONE');
    s.isolate(s.b, 'ingress');
    s.programs.policy.clear();
    egress({ tier: DEFAULT });
    s.rule({ subject: s.b, direction: 'ingress', tier: BASELINE });
    expect(ask()).toBe('POLICY_INGRESS');
  });

  it('the record names the rule of the tier that decided, not the one that passed', () => {
    egress({ tier: ADMIN, verdict: 'pass', rule: 1 });
    egress({ tier: BASELINE, rule: 3 });
    egress({ tier: DEFAULT, rule: 4 });
    ask();
    expect(s.programs.conntrack.entries()[0]?.value.rule[0]).toBe(3);
  });

  it('the event of a default denial names no rule, also when one has passed', async () => {
    egress({ tier: ADMIN, verdict: 'pass', rule: 1 });
    egress({ tier: DEFAULT, verdict: 'pass', rule: 2 });
    expect(ask()).toBe('POLICY_EGRESS');
    expect(await s.programs.takeEvent()).toMatchObject({ egressRule: 0, ingressRule: 0 });
  });
});
