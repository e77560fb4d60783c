/** What becomes of the packets between two parties, before and after: by protocol and range of ports. */
import type { Family } from '../model/address.js';
import type { Steps } from '../work/steps.js';
import type { PacketPeer } from './lookup.js';
import { intervalsOf, LAST_PORT, portsText } from './preview-side.js';
import type { PreviewChange, Side } from './preview-types.js';
import type { Variant } from './preview-variants.js';

const WITH_PORTS = [6, 17, 132] as const;
const ICMP: Readonly<Record<Family, number>> = { 4: 1, 6: 58 };
const EVERY_PROTOCOL = 0;

export type Outcome = Omit<PreviewChange, 'source' | 'destination'>;

export class Outcomes {
  /** How often a side was asked. */
  decisions = 0;

  /** Those that differ. */
  *between(family: Family, egress: Side, ingress: Side, from: Variant, to: Variant): Steps<Outcome[]> {
    const outcomes: Outcome[] = [];
    const judge = (when: 'before' | 'after', protocol: number, port: number) => {
      const names = to.ports
        .filter((entry) => entry.protocol === protocol && entry.port === port)
        .map(({ name }) => name);
      const allows = (side: Side, peer: PacketPeer) => {
        if (side === undefined) return true;
        this.decisions++;
        return side.decide(when, { peer, protocol, port, names }) === 'allow';
      };
      return allows(egress, to.peer) && allows(ingress, from.peer) ? 'allowed' : 'denied';
    };
    for (const protocol of WITH_PORTS) {
      const named = to.ports.filter((entry) => entry.protocol === protocol).map(({ port }) => port);
      const starts = intervalsOf([
        ...(egress?.boundaries(protocol) ?? []),
        ...(ingress?.boundaries(protocol) ?? []),
        ...named,
        ...named.map((port) => port + 1),
      ]);
      let open: { first: number; before: Outcome['before']; after: Outcome['after'] } | undefined;
      const close = (last: number) => {
        if (open === undefined || open.before === open.after) return;
        const { first, before, after } = open;
        outcomes.push({ protocol, ports: portsText(first, last), before, after });
      };
      for (const first of starts) {
        yield;
        const [before, after] = [judge('before', protocol, first), judge('after', protocol, first)] as const;
        if (open?.before === before && open.after === after) continue;
        close(first - 1);
        open = { first, before, after };
      }
      close(LAST_PORT);
    }
    const echo = ICMP[family];
    const [before, after] = [judge('before', echo, 0), judge('after', echo, 0)] as const;
    if (before !== after) outcomes.push({ protocol: ICMP[4], ports: 'any', before, after });
    return joined(outcomes);
  }
}

/** Where every protocol changes alike, that is one change. */
function joined(outcomes: Outcome[]): Outcome[] {
  const [first] = outcomes;
  const isAlike = outcomes.every(({ ports, before }) => ports === 'any' && before === first?.before);
  if (first === undefined || outcomes.length <= WITH_PORTS.length || !isAlike) return outcomes;
  return [{ ...first, protocol: EVERY_PROTOCOL }];
}
