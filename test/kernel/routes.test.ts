/** What becomes of a flow's address where the node's routes say less of it than they could. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Rtnl } from '../../src/native/net.js';
import { mappedAddress } from '../support/packet.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { FAMILIES, NODE, WORLD } from '../support/scenario-parties.js';
import { translatedRecords } from '../support/translated.js';

const BITS = { 4: 32, 6: 128 } as const;

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
  s.programs.inside(() => {
    using rtnl = Rtnl.open();
    // No address on any interface, so none that the kernel could name.
    for (const { index, name } of rtnl.links()) {
      if (name !== 'lo') rtnl.setLink(index, { addrGenMode: 'none', up: true });
    }
    for (const family of FAMILIES)
      rtnl.addRoute({ destination: `${WORLD[family]}/${BITS[family]}`, index: s.outside, scope: 'link' });
  });
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
});

describe.each(FAMILIES)('IPv%i', (family) => {
  const ways = {
    'one of several uplinks': [{ ifindex: () => s.spare[1] ?? 0, ip4: '10.99.9.5', ip6: 'fd00:99:9::5' }],
    'an uplink with addresses of the other family alone beside it': [
      { ifindex: () => s.outside, ...(family === 4 ? { ip6: 'fd00:99::6' } : { ip4: '10.99.0.6' }) },
    ],
  };

  it.each(Object.entries(ways))(
    "by %s a flow has the uplink's address where the kernel names none, and never its own",
    (_name, others) => {
      s.masquerade(s.a);
      const more = others.map(({ ifindex, ...addresses }) => ({ ifindex: ifindex(), ...addresses }));
      s.routed([{ ifindex: s.outside, ip4: NODE[4], ip6: NODE[6] }, ...more]);
      const sent = s.send(s.a, outgoing(s.a, WORLD[family]).udp().payload(8));
      expect(sent).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
      expect(translatedRecords(s).map(({ natAddress }) => natAddress)).toEqual([mappedAddress(NODE[family])]);
    },
  );

  it('by an uplink that has no address of the family nothing leaves', () => {
    s.masquerade(s.a);
    const only = family === 4 ? { ip6: NODE[6] } : { ip4: NODE[4] };
    s.routed([
      { ifindex: s.outside, ...only },
      { ifindex: s.outside, ...only },
    ]);
    const sent = s.send(s.a, outgoing(s.a, WORLD[family]).udp().payload(8));
    expect(sent).toMatchObject({ reason: 'NO_UPLINK_ADDRESS', verdict: ACTION.DROP });
    expect(s.programs.conntrack.entries()).toEqual([]);
  });
});
