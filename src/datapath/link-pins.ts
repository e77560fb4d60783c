/** Pins of links of one program, one for each interface that it is on: `<program>-<ifindex>`. */
import { readdirSync, rmSync } from 'node:fs';
import { BpfLink } from '../native/bpf.js';

export class LinkPins {
  constructor(
    private readonly directory: string,
    private readonly program: string,
  ) {}

  path(ifindex: number): string {
    return `${this.directory}/${this.program}-${ifindex}`;
  }

  /** The pinned link of an interface; undefined: there is none, or it was of an interface that is gone. */
  open(ifindex: number): BpfLink | undefined {
    const link = BpfLink.openPin(this.path(ifindex));
    if (link === undefined || link.info().ifindex === ifindex) return link;
    link.close();
    return undefined;
  }

  /** Pins the link of an interface in the place of whatever is there, or ends it. */
  put(ifindex: number, link: BpfLink): void {
    try {
      rmSync(this.path(ifindex), { force: true });
      link.pin(this.path(ifindex));
    } catch (error) {
      link.detach();
      throw error;
    }
  }

  /** Pins of the program on other interfaces than these, whoever has left them. */
  others(ifindexes: readonly number[]): string[] {
    const kept = new Set(ifindexes.map((ifindex) => this.path(ifindex)));
    const isOurs = (name: string) => name === this.program || name.startsWith(`${this.program}-`);
    return readdirSync(this.directory)
      .filter(isOurs)
      .map((name) => `${this.directory}/${name}`)
      .filter((path) => !kept.has(path));
  }
}
