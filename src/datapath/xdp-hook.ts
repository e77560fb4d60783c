/**
 * uplink_xdp in the driver of the uplink. It comes after from_uplink, which does the same, is told when it may leave it
 * to XDP, and is told before XDP goes that it may not. Programs of others are never replaced.
 *
 * There is no generic XDP, for drivers that have none: it would copy every packet that the kernel has made already, to
 * gain nothing on from_uplink, which comes right behind. And where it runs (Linux 6.18), TC programs get their packets
 * without the Ethernet header.
 */
import { rmSync } from 'node:fs';
import { BpfLink, type BpfProgram } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import type { InboundControl } from './inbound.js';

export class XdpHook {
  private readonly pin: string;

  constructor(
    private readonly program: BpfProgram,
    private readonly control: Pick<InboundControl, 'xdp'>,
    linksDirectory: string,
  ) {
    this.pin = `${linksDirectory}/uplink_xdp`;
  }

  /**
   * Adopts what is there already. Undefined: it is as wanted; else why it is not, and then from_uplink does all of it.
   */
  use(ifindex: number): string | undefined {
    {
      using link = BpfLink.openPin(this.pin);
      if (link?.info().ifindex === ifindex) {
        if (link.info().programId !== this.program.info().id) link.update(this.program);
        this.control.xdp = true;
        return undefined;
      }
    }
    this.remove();
    try {
      this.attach(ifindex);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return error.code === 'EBUSY' || error.code === 'EEXIST'
        ? 'another XDP program is on the interface'
        : error.message;
    }
    this.control.xdp = true;
    return undefined;
  }

  /** Whether the uplink's driver hands frames to containers: those that are made now should take them. */
  get isOn(): boolean {
    return this.control.xdp;
  }

  /** Goes from every interface but this one, before anything else moves there. */
  leaveOthers(ifindex: number): void {
    using link = BpfLink.openPin(this.pin);
    if (link?.info().ifindex !== ifindex) this.remove();
  }

  /** From now on from_uplink does it alone. */
  remove(): void {
    this.control.xdp = false;
    using link = BpfLink.openPin(this.pin);
    // The kernel ends a link without a pin when it finds the time, and refuses another until then.
    link?.detach();
    rmSync(this.pin, { force: true });
  }

  private attach(ifindex: number): void {
    using link = BpfLink.attachXdp({ program: this.program, ifindex, mode: 'native' });
    try {
      link.pin(this.pin);
    } catch (error) {
      link.detach();
      throw error;
    }
  }
}
