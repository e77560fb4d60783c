/** Links of programs on interfaces: what they are called, and where they are put. */
import { AttachType, BpfLink, type BpfProgram, type Direction, LinkType } from '../../native/bpf.js';
import { expediteGracePeriods } from '../../native/rcu.js';
import type { LinkPins } from './link-pins.js';
import type { LinkedProgram } from './repair-ledger.js';
import type { Inside, WantedLink } from './wanted-link.js';

/** The links of one program, one for each interface that it is on: `<program>-<ifindex>`. */
export class InterfaceLinks {
  constructor(
    private readonly pins: LinkPins,
    private readonly program: LinkedProgram,
  ) {}

  name(ifindex: number): string {
    return `${this.program}-${ifindex}`;
  }

  /** On other interfaces than these, whoever has left them. */
  others(ifindexes: readonly number[]): string[] {
    const kept = new Set(ifindexes.map((ifindex) => this.name(ifindex)));
    const isOurs = (name: string) => name === this.program || name.startsWith(`${this.program}-`);
    return this.pins.names().filter((name) => isOurs(name) && !kept.has(name));
  }
}

/** Before all others on a hook of an interface: another program there must not see, or pass on, what ours would drop. */
export function firstOnTcx(
  name: LinkedProgram,
  program: BpfProgram,
  { ifindex, direction }: { ifindex: number; direction: Direction },
  inside: Inside = (work) => work(),
): WantedLink {
  const attachType = direction === 'ingress' ? AttachType.TCX_INGRESS : AttachType.TCX_EGRESS;
  return {
    name,
    program,
    place: { type: LinkType.TCX, attachType, ifindex },
    attach: (copy) =>
      inside(() => {
        using _ = expediteGracePeriods();
        return BpfLink.attachTcx({ program: copy, ifindex, direction, position: 'first' });
      }),
    first: inside,
  };
}
