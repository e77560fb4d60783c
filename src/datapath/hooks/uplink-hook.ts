/**
 * The program on the uplinks, and what the programs know of the uplinks. Translation begins when its answers find the
 * way back, and ends before they do not: first the program, then the address; and the other way round.
 */
import { parseAddress, toBytes16 } from '../../model/address.js';
import { type BpfProgram, tcxSupported } from '../../native/bpf.js';
import { Uplink, UplinkFlags, UplinkLimit } from '../abi/generated.js';
import type { TypedMap } from '../typed-map.js';
import { ClsactFilters } from './clsact-filters.js';
import { firstOnTcx, InterfaceLinks } from './interface-links.js';
import type { LinkPins } from './link-pins.js';

const NO_ADDRESS = new Uint8Array(16);
const SLOTS = UplinkLimit.SLOTS;
const DIRECTION = 'ingress';

/** An interface to the outside. */
export interface UplinkAddresses {
  ifindex: number;
  /** What containers leave under, and the length of its subnet's prefix. */
  ip4: UplinkAddress | undefined;
  ip6: UplinkAddress | undefined;
  /** What they may leave under too; as many as there is room for. */
  others?: readonly UplinkAddress[];
  /** Who sends on what is for nobody there. */
  gateway6?: string | undefined;
}

export interface UplinkAddress {
  address: string;
  prefixLength: number;
  family: 4 | 6;
}

const NO_SLOT: Uplink = {
  ifindex: 0,
  router: 0,
  flags: 0,
  ip4: NO_ADDRESS,
  ip6: NO_ADDRESS,
  gateway6: NO_ADDRESS,
  ip6PrefixLength: 0,
};

export class UplinkHook {
  private readonly links: InterfaceLinks;

  constructor(
    private readonly program: BpfProgram,
    private readonly map: TypedMap<number, Uplink>,
    private readonly pins: LinkPins,
    private readonly filters = new ClsactFilters(),
    private readonly isTcx = tcxSupported(),
  ) {
    this.links = new InterfaceLinks(pins, 'from_uplink');
  }

  /** Adopts what is there already, from this daemon or one before. */
  attach(ifindex: number): void {
    const { program, pins } = this;
    if (!this.isTcx) {
      this.filters.keep({ name: 'from_uplink', program, ifindex, direction: DIRECTION });
      return;
    }
    const wanted = firstOnTcx('from_uplink', program, { ifindex, direction: DIRECTION });
    pins.keep(this.links.name(ifindex), { ...wanted, isOpen: true });
  }

  /**
   * From now on flows leave by these, to which the program is attached, and by no other: at most UPLINKS_MAX. `router`:
   * ifindex of the interface as whose traffic the node's routes are asked; 0: they are not, and all leave by the first.
   */
  use(uplinks: readonly UplinkAddresses[], router = 0): void {
    const slots = slotsOf(uplinks, router);
    const kept = uplinks.map(({ ifindex }) => ifindex);
    const gone = this.known().filter((ifindex) => !kept.includes(ifindex));
    // Known until it is off: a filter of clsact has no pin, by which another daemon would find it.
    this.write([...slots.slice(0, SLOTS - gone.length), ...gone.map((ifindex) => ({ ...NO_SLOT, ifindex }))]);
    for (const ifindex of gone) this.detach(ifindex);
    this.write(slots);
    // At once: it may be an uplink again before the kernel would find the time, and takes no program twice.
    for (const name of this.links.others(kept)) this.pins.remove(name, true);
  }

  /** Interfaces that programs know as uplinks, from whatever daemon. */
  private known(): number[] {
    const ifindexes = Array.from({ length: SLOTS }, (_, slot) => this.map.get(slot)?.ifindex ?? 0);
    return [...new Set(ifindexes)].filter((ifindex) => ifindex !== 0);
  }

  private write(slots: readonly Uplink[]): void {
    for (let slot = 0; slot < SLOTS; slot++) {
      const before = this.map.get(slot);
      const value = slots[slot] ?? NO_SLOT;
      if (before && Buffer.compare(Uplink.encode(value), Uplink.encode(before)) === 0) continue;
      this.map.set(slot, value);
    }
  }

  private detach(ifindex: number): void {
    if (!this.isTcx) this.filters.remove({ ifindex, direction: DIRECTION });
  }
}

function slotsOf(uplinks: readonly UplinkAddresses[], router: number): Uplink[] {
  const firsts = uplinks.map(({ ifindex, ip4, ip6, gateway6 }) => ({
    ...slotOf(ifindex, ip4, ip6),
    gateway6: bytesOf(gateway6),
  }));
  const more = uplinks.flatMap(({ ifindex, others = [] }) =>
    others.map((address) =>
      address.family === 4 ? slotOf(ifindex, address, undefined) : slotOf(ifindex, undefined, address),
    ),
  );
  const [first = NO_SLOT, ...rest] = firsts;
  const flags = uplinks.length === 1 ? UplinkFlags.ONLY : 0;
  return [{ ...first, router, flags }, ...rest, ...more].slice(0, SLOTS);
}

function slotOf(ifindex: number, ip4: UplinkAddress | undefined, ip6: UplinkAddress | undefined): Uplink {
  return {
    ...NO_SLOT,
    ifindex,
    ip4: bytesOf(ip4?.address),
    ip6: bytesOf(ip6?.address),
    ip6PrefixLength: ip6?.prefixLength ?? 0,
  };
}

function bytesOf(address: string | undefined): Uint8Array {
  return address === undefined ? NO_ADDRESS : toBytes16(parseAddress(address));
}
