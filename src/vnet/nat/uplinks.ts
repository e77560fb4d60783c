/**
 * The node's interfaces to the outside. Routes, addresses and interfaces come and go without us: the kernel tells, and
 * the programs follow.
 */
import { type FoundUplink, findUplinks, needsRoutes } from '../../bridge/find-uplinks.js';
import type { UplinkHook } from '../../datapath/hooks/uplink-hook.js';
import type { XdpHook } from '../../datapath/hooks/xdp-hook.js';
import type { UplinkState } from '../../model/health.js';
import type { Settings } from '../../model/settings.js';
import type { LinkInfo, Rtnl } from '../../native/net.js';

/** How long a change waits for those that come with it: each endpoint that is made or removed is several. */
const SETTLE_MS = 50;

/** Why XDP is not to be on an interface; undefined: it is. */
export function xdpUnwanted(setting: Settings['xdp'], link: LinkInfo): string | undefined {
  switch (setting) {
    case 'off':
      return 'the setting xdp is off';
    case 'auto':
      // What comes by a veth is a packet of the kernel's already: XDP would copy it, and gains nothing.
      return link.kind === 'veth' ? `${link.name} is a veth` : undefined;
    case 'native':
      return undefined;
  }
}

export interface UplinksParts {
  setting: string;
  xdpSetting: Settings['xdp'];
  host: Rtnl;
  hook: Pick<UplinkHook, 'attach' | 'use'>;
  xdp: Pick<XdpHook, 'use' | 'leaveOthers'>;
  /** The interface as whose traffic the node's routes are asked. */
  router: {
    /** Makes it, if it is not there; its ifindex. */
    ensure(): number;
    remove(): void;
  };
  /** They are others, or have other addresses. */
  onChange: (states: UplinkState[]) => void;
  /** Something could not be put to use; the next sync() tries again. */
  onError: (error: unknown) => void;
}

export class Uplinks {
  private watch: Disposable | undefined;
  private timer: NodeJS.Timeout | undefined;
  private known: UplinkState[] = [];

  constructor(private readonly parts: UplinksParts) {}

  /** Those that are in use first, then why others are not. Empty before the first sync(), and never after. */
  get states(): readonly UplinkState[] {
    return this.known;
  }

  /** Makes the programs know what is so now. A node without a way out is still a node: this throws nothing. */
  sync(): void {
    try {
      this.follow();
    } catch (error) {
      this.tell([{ message: 'the uplink could not be put to use; the log says why' }]);
      this.parts.onError(error);
    }
  }

  /** Follows the node until stop(). */
  start(): void {
    this.watch = this.parts.host.watch(['link', 'address', 'route'], () => {
      this.timer ??= setTimeout(() => {
        this.timer = undefined;
        this.sync();
      }, SETTLE_MS);
    });
  }

  stop(): void {
    this.watch?.[Symbol.dispose]();
    clearTimeout(this.timer);
  }

  private follow(): void {
    const { setting, xdpSetting, host, xdp } = this.parts;
    const { uplinks, problems } = findUplinks(setting, host);
    const unwanted = new Map(uplinks.map(({ link }) => [link.index, xdpUnwanted(xdpSetting, link)]));
    const first = indexesOf(uplinks.filter(({ link }) => unwanted.get(link.index) === undefined));
    xdp.leaveOthers(first, indexesOf(uplinks));
    const used = uplinks.filter(({ link }) => {
      const problem = this.attach(link);
      if (problem !== undefined) problems.push(problem);
      return problem === undefined;
    });
    const problem = this.lead(used);
    if (problem !== undefined) problems.push(problem);
    // The TC program is there already, and does it where XDP does not.
    const left = xdp.use(
      first.filter((index) => used.some(({ link }) => link.index === index)),
      indexesOf(used),
    );
    const states = used.map((uplink) =>
      stateOf(uplink, unwanted.get(uplink.link.index) ?? left.get(uplink.link.index)),
    );
    this.tell([...states, ...problems.map((message) => ({ message }))]);
  }

  /** One that has just gone keeps the others from nothing. */
  private attach(link: LinkInfo): string | undefined {
    try {
      this.parts.hook.attach(link.index);
      return undefined;
    } catch (error) {
      this.parts.onError(error);
      return `${link.name} could not be put to use; the log says why`;
    }
  }

  /** Without a router all leave by the first: better than by none. */
  private lead(uplinks: readonly FoundUplink[]): string | undefined {
    const { hook, router } = this.parts;
    const addresses = uplinks.map(({ link, ...known }) => ({ ifindex: link.index, ...known }));
    if (!needsRoutes(uplinks)) {
      hook.use(addresses);
      router.remove();
      return undefined;
    }
    try {
      hook.use(addresses, router.ensure());
      return undefined;
    } catch (error) {
      this.parts.onError(error);
      hook.use(addresses);
      return "the node's routes cannot be asked, and all leave by the first; the log says why";
    }
  }

  private tell(states: UplinkState[]): void {
    const before = this.known;
    this.known = states;
    if (JSON.stringify(before) !== JSON.stringify(states)) this.parts.onChange(states);
  }
}

function indexesOf(uplinks: readonly FoundUplink[]): number[] {
  return uplinks.map(({ link }) => link.index);
}

function stateOf({ link, ip4, ip6 }: FoundUplink, withoutXdp: string | undefined): UplinkState {
  return {
    interface: link.name,
    ...(ip4 === undefined ? {} : { ip_address: ip4.address }),
    ...(ip6 === undefined ? {} : { ip6_address: ip6.address }),
    ...(withoutXdp === undefined ? { xdp: 'native' } : { xdp: 'none', xdp_message: withoutXdp }),
  };
}
