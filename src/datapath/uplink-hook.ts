/**
 * The program on the uplinks, and what the programs know of the uplinks. Translation begins when its answers find the
 * way back, and ends before they do not: first the program, then the address; and the other way round.
 */
import { rmSync } from 'node:fs';
import { parseAddress, toBytes16 } from '../model/address.js';
import { attachClsact, BpfLink, type BpfProgram, detachClsact, tcxSupported } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import { Uplink, UplinkLimit } from './abi/generated.js';
import { LinkPins } from './link-pins.js';
import type { TypedMap } from './typed-map.js';

const NO_ADDRESS = new Uint8Array(16);
const SLOTS = Array.from({ length: UplinkLimit.UPLINKS_MAX }, (_, slot) => slot);
const DIRECTION = 'ingress';

/** An interface to the outside, the addresses that containers leave under, and who sends on what is for nobody there. */
export interface UplinkAddresses {
  ifindex: number;
  ip4: string | undefined;
  ip6: string | undefined;
  gateway4?: string | undefined;
  gateway6?: string | undefined;
}

const NONE: UplinkAddresses = { ifindex: 0, ip4: undefined, ip6: undefined };

export class UplinkHook {
  private readonly pins: LinkPins;

  constructor(
    private readonly program: BpfProgram,
    private readonly map: TypedMap<number, Uplink>,
    linksDirectory: string,
    private readonly isTcx = tcxSupported(),
  ) {
    this.pins = new LinkPins(linksDirectory, 'from_uplink');
  }

  /** Adopts what is there already, from this daemon or one before. */
  attach(ifindex: number): void {
    const { program, pins } = this;
    if (!this.isTcx) {
      attachClsact({ program, ifindex, direction: DIRECTION });
      return;
    }
    using known = pins.open(ifindex);
    if (known !== undefined) {
      if (known.info().programId !== program.info().id) known.update(program);
      return;
    }
    using link = BpfLink.attachTcx({ program, ifindex, direction: DIRECTION, position: 'first' });
    pins.put(ifindex, link);
  }

  /**
   * From now on flows leave by these, to which the program is attached, and by no other: at most UPLINKS_MAX. `router`:
   * ifindex of the interface as whose traffic the node's routes are asked which one; 0: all leave by the first.
   */
  use(uplinks: readonly UplinkAddresses[], router = 0): void {
    const kept = uplinks.map(({ ifindex }) => ifindex);
    const gone = this.known().filter((ifindex) => !kept.includes(ifindex));
    for (const slot of SLOTS) {
      this.write(slot, { ...(uplinks[slot] ?? NONE), router: slot === 0 ? router : 0 });
    }
    for (const ifindex of gone) this.detach(ifindex);
    // With its pin a link ends, and with it the attachment.
    for (const path of this.pins.others(kept)) rmSync(path, { force: true });
  }

  /** Interfaces that programs know as uplinks, from whatever daemon. */
  private known(): number[] {
    return SLOTS.map((slot) => this.map.get(slot)?.ifindex ?? 0).filter((ifindex) => ifindex !== 0);
  }

  private write(slot: number, uplink: UplinkAddresses & { router: number }): void {
    const before = this.map.get(slot);
    const version = ((before?.version ?? 0) + 1) >>> 0;
    const value = {
      version,
      ifindex: uplink.ifindex,
      router: uplink.router,
      ip4: bytesOf(uplink.ip4),
      ip6: bytesOf(uplink.ip6),
      gateway4: bytesOf(uplink.gateway4),
      gateway6: bytesOf(uplink.gateway6),
      versionEnd: version,
    };
    const same = before !== undefined && { ...value, version: before.version, versionEnd: before.version };
    if (same && Buffer.compare(Uplink.encode(same), Uplink.encode(before)) === 0) return;
    this.map.set(slot, value);
  }

  private detach(ifindex: number): void {
    if (this.isTcx) return;
    try {
      detachClsact({ ifindex, direction: DIRECTION });
    } catch (error) {
      // The filter goes with its interface.
      if (!(error instanceof KernelError && (error.code === 'ENOENT' || error.code === 'ENODEV')))
        throw error;
    }
  }
}

function bytesOf(address: string | undefined): Uint8Array {
  return address === undefined ? NO_ADDRESS : toBytes16(parseAddress(address));
}
