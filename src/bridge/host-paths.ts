/** What leads from the host to containers, as it was at one moment: read once, however many containers there are. */
import type { NeighbourInfo, RouteInfo, Rtnl } from '../native/net.js';

export interface HostRoute {
  destination: string;
  index: number;
  source: string;
}

export interface HostNeighbour {
  index: number;
  address: string;
  mac: string;
}

export class HostPaths {
  private readonly routes = new Map<string, RouteInfo[]>();
  private readonly neighbours = new Map<string, NeighbourInfo>();

  constructor(host: Rtnl) {
    for (const route of host.routes()) {
      const same = this.routes.get(route.destination);
      if (same === undefined) this.routes.set(route.destination, [route]);
      else same.push(route);
    }
    for (const neighbour of host.neighbours()) this.neighbours.set(neighbourKey(neighbour), neighbour);
  }

  /** The route is there, and no other to the same destination. */
  hasRoute({ destination, index, source }: HostRoute): boolean {
    const [only, another] = this.routes.get(destination) ?? [];
    return (
      another === undefined &&
      only?.index === index &&
      only.source === source &&
      only.via === undefined &&
      // IPv6 routes have no scope.
      (only.family === 6 || only.scope === 'link')
    );
  }

  /** The neighbour is there, for good. */
  hasNeighbour(wanted: HostNeighbour): boolean {
    const found = this.neighbours.get(neighbourKey(wanted));
    return found?.state === 'permanent' && found.mac === wanted.mac;
  }
}

function neighbourKey({ index, address }: { index: number; address: string }): string {
  return `${index}/${address}`;
}
