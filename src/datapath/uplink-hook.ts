/**
 * The program on the uplink, and what the programs know of the uplink. Translation begins when its answers find the
 * way back, and ends before they do not: first the program, then the address; and the other way round.
 */
import { rmSync } from 'node:fs';
import { parseAddress, toBytes16 } from '../model/address.js';
import { attachClsact, BpfLink, type BpfProgram, detachClsact, tcxSupported } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import { Uplink } from './abi/generated.js';
import type { TypedMap } from './typed-map.js';

const NO_ADDRESS = new Uint8Array(16);
const DIRECTION = 'ingress';

/** The interface to the outside and the addresses that containers leave under. */
export interface UplinkAddresses {
  ifindex: number;
  ip4: string | undefined;
  ip6: string | undefined;
}

export class UplinkHook {
  private readonly pin: string;

  constructor(
    private readonly program: BpfProgram,
    private readonly map: TypedMap<number, Uplink>,
    linksDirectory: string,
    private readonly isTcx = tcxSupported(),
  ) {
    this.pin = `${linksDirectory}/from_uplink`;
  }

  /** Adopts what is there already, from this daemon or one before; undefined: the node has no uplink. */
  use(uplink: UplinkAddresses | undefined): void {
    const before = this.map.get(0)?.ifindex ?? 0;
    if (before !== 0 && before !== uplink?.ifindex) this.write(undefined);
    if (before !== uplink?.ifindex) this.detach(before);
    if (uplink === undefined) return;
    this.attach(uplink.ifindex);
    this.write(uplink);
  }

  private write(uplink: UplinkAddresses | undefined): void {
    const before = this.map.get(0);
    const bytes = (address: string | undefined) =>
      address === undefined ? NO_ADDRESS : toBytes16(parseAddress(address));
    const version = ((before?.version ?? 0) + 1) >>> 0;
    const value: Uplink = {
      version,
      ifindex: uplink?.ifindex ?? 0,
      ip4: bytes(uplink?.ip4),
      ip6: bytes(uplink?.ip6),
      versionEnd: version,
    };
    const same = before !== undefined && { ...value, version: before.version, versionEnd: before.version };
    if (same && Buffer.compare(Uplink.encode(same), Uplink.encode(before)) === 0) return;
    this.map.set(0, value);
  }

  private attach(ifindex: number): void {
    const { program } = this;
    if (!this.isTcx) {
      attachClsact({ program, ifindex, direction: DIRECTION });
      return;
    }
    {
      using link = BpfLink.openPin(this.pin);
      if (link?.info().ifindex === ifindex) {
        if (link.info().programId !== program.info().id) link.update(program);
        return;
      }
    }
    rmSync(this.pin, { force: true });
    using link = BpfLink.attachTcx({ program, ifindex, direction: DIRECTION, position: 'first' });
    try {
      link.pin(this.pin);
    } catch (error) {
      link.detach();
      throw error;
    }
  }

  private detach(ifindex: number): void {
    // With its pin the link ends, and with it the attachment.
    rmSync(this.pin, { force: true });
    if (this.isTcx || ifindex === 0) return;
    try {
      detachClsact({ ifindex, direction: DIRECTION });
    } catch (error) {
      // The filter goes with its interface.
      if (!(error instanceof KernelError && (error.code === 'ENOENT' || error.code === 'ENODEV')))
        throw error;
    }
  }
}
