/** What the programs on the uplink are told of each other and of the deny list. */
import { InboundFlags } from './abi/generated.js';
import type { DatapathMaps } from './maps.js';

export class InboundControl {
  constructor(private readonly map: DatapathMaps['inbound']) {}

  /** Whether qn_deny is asked. */
  set denies(yes: boolean) {
    this.write(InboundFlags.DENIES, yes);
  }

  /** Whether uplink_xdp has looked at what comes to from_uplink. */
  set xdp(yes: boolean) {
    this.write(InboundFlags.XDP, yes);
  }

  private write(flag: number, yes: boolean): void {
    const before = this.map.get(0)?.flags ?? 0;
    const flags = yes ? before | flag : before & ~flag;
    if (flags !== before) this.map.set(0, { flags });
  }
}
