/**
 * What the host's stack must not do with frames of a container that no program has judged: such frames are sent to
 * everyone, since frames to one host go by its MAC address, which containers do not know (see createPair).
 */
import { writeFileSync } from 'node:fs';
import type { Ipv4Conf } from '../native/net.js';

/** Below /proc/sys/net/ipv4/conf and ipv6/conf; Documentation/networking/ip-sysctl.rst. */
const IPV4: readonly (readonly [name: string, key: keyof Ipv4Conf, value: number])[] = [
  ['arp_ignore', 'arpIgnore', 8], // no answer for any address: the program answers
  ['accept_redirects', 'acceptRedirects', 0],
  ['accept_source_route', 'acceptSourceRoute', 0],
  ['drop_unicast_in_l2_multicast', 'dropUnicastInL2Multicast', 1],
];
const IPV6: readonly (readonly [name: string, value: number])[] = [
  ['accept_ra', 0],
  ['accept_redirects', 0],
  ['drop_unicast_in_l2_multicast', 1],
];

/** For the host's side of a container's veth, when it is made; guardIpv6() does the rest. */
export const GUARD_IPV4: Ipv4Conf = Object.fromEntries(IPV4.map(([, key, value]) => [key, value]));

/** Sets up a side that was found, of which somebody may have changed what it was made with. */
export function guardInterface(name: string): void {
  for (const [setting, , value] of IPV4) setIpv4Conf(name, setting, value);
  guardIpv6(name);
}

/** Of IPv6 the kernel has nothing but files. Before the interface is up. */
export function guardIpv6(name: string): void {
  for (const [setting, value] of IPV6) setIpv6Conf(name, setting, value);
}

/** A kernel that has no IPv6 has nothing to set there. */
export function setIpv6Conf(name: string, setting: string, value: number): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/${setting}`, String(value));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export function setIpv4Conf(name: string, setting: string, value: number): void {
  writeFileSync(`/proc/sys/net/ipv4/conf/${name}/${setting}`, String(value));
}
