/**
 * uplink_xdp in the drivers of the uplinks. It comes after from_uplink, which does the same, is told when it may leave it
 * to XDP, on all of them, and is told before XDP goes from one that it may not. Programs of others are never replaced.
 *
 * There is no generic XDP, for drivers that have none: it would copy every packet that the kernel has made already, to
 * gain nothing on from_uplink, which comes right behind. And where it runs (Linux 6.18), TC programs get their packets
 * without the Ethernet header.
 */
import { BpfLink, type BpfProgram, LinkType } from '../../native/bpf.js';
import { KernelError } from '../../native/errors.js';
import type { InboundControl } from '../inbound.js';
import { InterfaceLinks } from './interface-links.js';
import type { LinkPins } from './link-pins.js';

export class XdpHook {
  private readonly links: InterfaceLinks;
  private readonly on = new Set<number>();

  constructor(
    private readonly program: BpfProgram,
    private readonly control: Pick<InboundControl, 'xdp'>,
    private readonly pins: LinkPins,
  ) {
    this.links = new InterfaceLinks(pins, 'uplink_xdp');
  }

  /** Whether an uplink's driver hands frames to containers: those that are made now should take them. */
  get isOn(): boolean {
    return this.on.size > 0;
  }

  /**
   * Goes from every interface but `wanted`, before from_uplink comes to any of `uplinks` that it does not look at itself.
   */
  leaveOthers(wanted: readonly number[], uplinks: readonly number[]): void {
    const others = this.links.others(wanted);
    if (others.length > 0 || !uplinks.every((ifindex) => wanted.includes(ifindex) && this.isAt(ifindex)))
      this.control.xdp = false;
    for (const ifindex of this.on) if (!wanted.includes(ifindex)) this.on.delete(ifindex);
    // At once: until then the kernel refuses another.
    for (const name of others) this.pins.remove(name, true);
  }

  /**
   * Adopts what is there already, after leaveOthers() and when from_uplink is at all of `uplinks`. Why it is not at some
   * of `wanted`, by ifindex: there from_uplink does all of it.
   */
  use(wanted: readonly number[], uplinks: readonly number[]): Map<number, string> {
    const problems = new Map<number, string>();
    for (const ifindex of wanted) {
      const problem = this.attach(ifindex);
      if (problem === undefined) this.on.add(ifindex);
      else {
        this.on.delete(ifindex);
        problems.set(ifindex, problem);
      }
    }
    this.control.xdp = uplinks.length > 0 && uplinks.every((ifindex) => this.on.has(ifindex));
    return problems;
  }

  private isAt(ifindex: number): boolean {
    return this.pins.isAt(this.links.name(ifindex), { type: LinkType.XDP, ifindex });
  }

  private attach(ifindex: number): string | undefined {
    const { program, pins } = this;
    try {
      pins.keep(this.links.name(ifindex), {
        name: 'uplink_xdp',
        program,
        place: { type: LinkType.XDP, ifindex },
        isOpen: true,
        attach: (copy) => BpfLink.attachXdp({ program: copy, ifindex, mode: 'native' }),
      });
      return undefined;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return error.code === 'EBUSY' || error.code === 'EEXIST'
        ? 'another XDP program is on the interface'
        : error.message;
    }
  }
}
