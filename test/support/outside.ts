/**
 * The world beyond the node: a host on another link of it. Either the node is a router for it, and it has routes to every
 * network; or it is the node's default route, and knows nothing of networks.
 */
import { writeFileSync } from 'node:fs';
import { createVethPair } from '../../src/netns/index.js';
import { type Family, Host } from './containers.js';
import type { TestNetns } from './netns.js';

/** Whatever networks tests make is in these. */
const NETWORKS = { 4: '10.60.0.0/16', 6: 'fd00:60::/32' };

/** Links of the node to the outside. */
const LINKS = {
  uplink: {
    node: { 4: '198.18.0.1', 6: 'fd00:198::1' },
    world: { 4: '198.18.0.2', 6: 'fd00:198::2' },
  },
  second: {
    node: { 4: '198.18.100.1', 6: 'fd00:200::1' },
    world: { 4: '198.18.100.2', 6: 'fd00:200::2' },
  },
};

/** On the other side of the host outside, and of who is beyond that. */
const BEYOND = {
  near: { 4: '198.19.0.1', 6: 'fd00:199::1' },
  far: { 4: '198.19.0.2', 6: 'fd00:199::2' },
};

export interface OutsideOptions {
  /** The node's default routes lead here, and the node forwards nothing. */
  isUplink?: boolean;
  /** Name of the node's interface. On `second` the node has no route but that of the link, and forwards nothing. */
  link?: keyof typeof LINKS;
}

export class Outside extends Host {
  private readonly link: keyof typeof LINKS;

  constructor(
    private readonly node: TestNetns,
    { link = 'uplink', isUplink = false }: OutsideOptions = {},
  ) {
    super('outside');
    this.link = link;
    const isRouter = !isUplink && link === 'uplink';
    const { node: own, world } = LINKS[link];
    for (const { net } of [node, this.netns]) {
      // The links are used at once: without waiting whether somebody else has their addresses.
      net.run(() => writeFileSync('/proc/sys/net/ipv6/conf/default/accept_dad', '0'));
    }
    node.net.run(() => {
      writeFileSync('/proc/sys/net/ipv4/ip_forward', isRouter ? '1' : '0');
      writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', isRouter ? '1' : '0');
    });
    createVethPair(
      { netns: node.net, name: link, addresses: [`${own[4]}/24`, `${own[6]}/64`] },
      {
        netns: this.netns.net,
        name: 'eth0',
        addresses: [`${world[4]}/24`, `${world[6]}/64`],
        routes: isRouter
          ? [
              { destination: NETWORKS[4], via: own[4] },
              { destination: NETWORKS[6], via: own[6] },
            ]
          : [],
      },
    );
    if (isUplink) this.lead();
  }

  override address(family: Family): string {
    return LINKS[this.link].world[family];
  }

  /** The node's default routes lead here from now on; `metric`: beside those that it has. */
  lead(metric?: number): void {
    const { rtnl } = this.node.net;
    const { index } = this;
    for (const family of [4, 6] as const) {
      const destination = `default${family}` as const;
      rtnl.addRoute({ destination, via: this.address(family), index, ...(metric && { metric }) });
    }
  }

  /** The node's default routes lead here no longer. */
  leave(): void {
    for (const destination of ['default4', 'default6'] as const)
      this.node.net.rtnl.deleteRoute({ destination, index: this.index });
  }

  /** A host beyond this one, which becomes a router for it. The caller disposes of it. */
  beyond(): Beyond {
    this.netns.net.run(() => {
      writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
      writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', '1');
    });
    return new Beyond(this.netns);
  }

  /** The node's address on this side. */
  nodeAddress(family: Family): string {
    return LINKS[this.link].node[family];
  }

  /** From now on the link between the node and this host carries less. */
  narrow(mtu: number): void {
    this.node.net.rtnl.setLink(this.link, { mtu });
    this.netns.net.rtnl.setLink('eth0', { mtu });
  }

  override [Symbol.dispose](): void {
    this.node.net.rtnl.deleteLink(this.link);
    super[Symbol.dispose]();
  }

  private get index(): number {
    const link = this.node.net.link(this.link);
    if (link === undefined) throw new Error(`the node has no ${this.link}`);
    return link.index;
  }
}

export class Beyond extends Host {
  constructor(private readonly router: TestNetns) {
    super('beyond');
    this.netns.net.run(() => writeFileSync('/proc/sys/net/ipv6/conf/default/accept_dad', '0'));
    const { near, far } = BEYOND;
    createVethPair(
      { netns: router.net, name: 'eth1', addresses: [`${near[4]}/24`, `${near[6]}/64`] },
      {
        netns: this.netns.net,
        name: 'eth0',
        addresses: [`${far[4]}/24`, `${far[6]}/64`],
        routes: [
          { destination: 'default4', via: near[4] },
          { destination: 'default6', via: near[6] },
        ],
      },
    );
  }

  override address(family: Family): string {
    return BEYOND.far[family];
  }

  /** From now on the router carries less to here, and tells who sends more. */
  async narrow(mtu: number): Promise<void> {
    for (const family of [4, 6] as const) {
      const route = [BEYOND.far[family], 'dev', 'eth1', 'mtu', 'lock', `${mtu}`];
      await this.router.exec('ip', [`-${family}`, 'route', 'add', ...route]);
    }
  }
}
