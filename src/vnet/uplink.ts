/**
 * The node's interface to the outside: which it is, and under which addresses containers leave by it. Routes,
 * addresses and interfaces come and go without us: the kernel tells, and the programs follow.
 */
import type { UplinkHook } from '../datapath/uplink-hook.js';
import type { UplinkState } from '../model/health.js';
import { UPLINK_AUTO, UPLINK_NONE } from '../model/settings.js';
import type { LinkInfo, RouteInfo, Rtnl } from '../native/net.js';

/** Documentation addresses (RFC 5737, RFC 3849), which nothing but a default route leads to. */
const ANYWHERE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
const FAMILIES = [4, 6] as const;

/** How long a change waits for those that come with it: each endpoint that is made or removed is several. */
const SETTLE_MS = 50;

const NO_MAC = /^(?:00(?::00)*)?$/;

/** What is asked of the kernel. */
export type UplinkHost = Pick<Rtnl, 'link' | 'addresses' | 'routeTo'>;

interface Found {
  link: LinkInfo;
  ip4: string | undefined;
  ip6: string | undefined;
}

/** The uplink as it is now, or why there is none. */
export function findUplink(setting: string, host: UplinkHost): Found | { problem: string } {
  if (setting === UPLINK_NONE) return { problem: 'the setting uplink is none' };
  const routes = { 4: routesAnywhere(host, 4), 6: routesAnywhere(host, 6) };
  const [first] = [...routes[4], ...routes[6]];
  const link =
    setting === UPLINK_AUTO
      ? first?.index === undefined
        ? undefined
        : host.link(first.index)
      : host.link(setting);
  if (link === undefined) {
    return {
      problem: setting === UPLINK_AUTO ? 'the node has no default route' : `there is no interface ${setting}`,
    };
  }
  if (NO_MAC.test(link.mac)) return { problem: `${link.name} is no Ethernet interface` };
  const [ip4, ip6] = FAMILIES.map((family) => addressOf(host, link, family, routes[family]));
  return { link, ip4, ip6 };
}

function routesAnywhere(host: UplinkHost, family: 4 | 6): RouteInfo[] {
  return host.routeTo(ANYWHERE[family]);
}

/** The address that the node itself would speak from there, or the first one that others can answer. */
function addressOf(
  host: UplinkHost,
  link: LinkInfo,
  family: 4 | 6,
  routes: readonly RouteInfo[],
): string | undefined {
  const usable = host
    .addresses(link.index)
    .filter((address) => address.family === family && address.scope === 'global' && !address.tentative)
    .map(({ address }) => address);
  const preferred = routes.find(({ index }) => index === link.index)?.source;
  return usable.find((address) => address === preferred) ?? usable[0];
}

export interface UplinkParts {
  setting: string;
  host: Rtnl;
  hook: UplinkHook;
  /** It is another one, or has other addresses. */
  onChange: (state: UplinkState) => void;
  /** It could not be put to use; the next sync() tries again. */
  onError: (error: unknown) => void;
}

export class Uplink {
  private watch: Disposable | undefined;
  private timer: NodeJS.Timeout | undefined;
  private known: UplinkState | undefined;

  constructor(private readonly parts: UplinkParts) {}

  /** Undefined before the first sync(). */
  get state(): UplinkState | undefined {
    return this.known;
  }

  /** Makes the programs know what is so now. A node without a way out is still a node: this throws nothing. */
  sync(): void {
    try {
      this.follow();
    } catch (error) {
      this.tell({ message: 'the uplink could not be put to use; the log says why' });
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
    const found = findUplink(this.parts.setting, this.parts.host);
    if ('problem' in found) {
      this.parts.hook.use(undefined);
      this.tell({ message: found.problem });
      return;
    }
    const { link, ip4, ip6 } = found;
    this.parts.hook.use({ ifindex: link.index, ip4, ip6 });
    this.tell({
      interface: link.name,
      ...(ip4 === undefined ? {} : { ip_address: ip4 }),
      ...(ip6 === undefined ? {} : { ip6_address: ip6 }),
    });
  }

  private tell(state: UplinkState): void {
    const before = this.known;
    this.known = state;
    if (JSON.stringify(before) !== JSON.stringify(state)) this.parts.onChange(state);
  }
}
