/**
 * The world beyond the node: a host on another link of it. Either the node is a router for it, and it has routes to every
 * network; or it is the node's default route, and knows nothing of networks.
 */
import { writeFileSync } from 'node:fs';
import { createVethPair } from '../../src/netns/index.js';
import { type Family, Host } from './containers.js';
import type { TestNetns } from './netns.js';

const UPLINK = 'uplink';
/** Whatever networks tests make is in these. */
const NETWORKS = { 4: '10.60.0.0/16', 6: 'fd00:60::/32' };
const NODE = { 4: '198.18.0.1', 6: 'fd00:198::1' };
const WORLD = { 4: '198.18.0.2', 6: 'fd00:198::2' };
/** On the other side of the host outside, and of who is beyond that. */
const BEYOND = {
  near: { 4: '198.19.0.1', 6: 'fd00:199::1' },
  far: { 4: '198.19.0.2', 6: 'fd00:199::2' },
};

export interface OutsideOptions {
  /** The node's default routes lead here, and the node forwards nothing. */
  isUplink?: boolean;
}

export class Outside extends Host {
  constructor(
    private readonly node: TestNetns,
    { isUplink = false }: OutsideOptions = {},
  ) {
    super('outside');
    for (const { net } of [node, this.netns]) {
      // The links are used at once: without waiting whether somebody else has their addresses.
      net.run(() => writeFileSync('/proc/sys/net/ipv6/conf/default/accept_dad', '0'));
    }
    node.net.run(() => {
      writeFileSync('/proc/sys/net/ipv4/ip_forward', isUplink ? '0' : '1');
      writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', isUplink ? '0' : '1');
    });
    createVethPair(
      { netns: node.net, name: UPLINK, addresses: [`${NODE[4]}/24`, `${NODE[6]}/64`] },
      {
        netns: this.netns.net,
        name: 'eth0',
        addresses: [`${WORLD[4]}/24`, `${WORLD[6]}/64`],
        routes: isUplink
          ? []
          : [
              { destination: NETWORKS[4], via: NODE[4] },
              { destination: NETWORKS[6], via: NODE[6] },
            ],
      },
    );
    if (!isUplink) return;
    const index = node.net.link(UPLINK)?.index;
    node.net.rtnl.addRoute({ destination: 'default4', via: WORLD[4], index });
    node.net.rtnl.addRoute({ destination: 'default6', via: WORLD[6], index });
  }

  override address(family: Family): string {
    return WORLD[family];
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
    return NODE[family];
  }

  /** From now on the link between the node and this host carries less. */
  narrow(mtu: number): void {
    this.node.net.rtnl.setLink(UPLINK, { mtu });
    this.netns.net.rtnl.setLink('eth0', { mtu });
  }

  override [Symbol.dispose](): void {
    this.node.net.rtnl.deleteLink(UPLINK);
    super[Symbol.dispose]();
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
