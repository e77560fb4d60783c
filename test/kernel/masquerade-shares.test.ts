/** Ports of the node are shared: who takes all that he can get towards a destination leaves the other containers some. */
import { expect, it } from 'vitest';
import { open, opening, sent } from '../support/masqueraded.js';
import type { Scenario } from '../support/scenario.js';
import { FAMILIES } from '../support/scenario-parties.js';
import { aliases, useTranslation } from '../support/translated.js';

/** An eighth is kept, in 32 shares of nine ports. */
const [FIRST, LAST, COMMON, SHARE] = [61000, 63303, 2016, 9];
/** A flow tries some ports alone: as many refused ones in a row say that there is none left. */
const REFUSED = 256;

let s: Scenario;
useTranslation(
  (scenario) => {
    s = scenario;
  },
  { nat_port_min: FIRST, nat_port_max: LAST },
);

it.each(FAMILIES)(
  'a container that takes all that it can get leaves another its share, over IPv%i',
  (family) => {
    let port = 1024;
    for (let refused = 0; refused < REFUSED; port++) {
      const { reason } = s.send(s.a, opening(sent(s.a, family), family, 'udp', port));
      if (reason === 'NONE') continue;
      expect(reason).toBe('NAT_PORTS');
      refused++;
    }
    const taken = new Set(aliases(s).map(({ key }) => key.localPort));
    expect(taken.size).toBe(COMMON + SHARE);
    expect([...taken].every((each) => each >= FIRST && each <= LAST)).toBe(true);
    expect(s.b.id % 32).not.toBe(s.a.id % 32);
    // Each of them at the first attempt, the last one too.
    const own = Array.from({ length: SHARE }, (_, at) => open(s, s.b, family, 'udp', at + 1));
    expect(own.every((each) => each >= FIRST + COMMON && each <= LAST && !taken.has(each))).toBe(true);
  },
);
