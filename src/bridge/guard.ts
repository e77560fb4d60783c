/**
 * What the host's stack must not do with frames of a container that no program has judged: such frames are sent to
 * everyone, since frames to one host go by its MAC address, which containers do not know (see createPair).
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ipv4Conf } from '../native/net.js';

const IPV6_CONF = '/proc/sys/net/ipv6/conf';

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

/** Values of accept_ra: 1 as long as the interface does not forward, 2 even then. */
const ACCEPT_RA = { UNLESS_FORWARDING: '1', ALWAYS: '2' } as const;

/**
 * What comes in by it is sent on, as far as the kernel is asked. Whoever turns that on, on any interface and even if it is
 * on already, has the kernel forget the default routes that routers have advertised on all those interfaces that take
 * advertisements only as long as nothing is forwarded (rt6_purge_dflt_routers() in net/ipv6/route.c). So the others take
 * them always meanwhile; a daemon that ends in between leaves them so, which changes nothing where nothing is forwarded.
 */
export function forwardIpv6(name: string): void {
  if (ipv6Conf(name, 'forwarding') !== '0') return;
  const listening = ipv6Interfaces().filter(
    (other) => ipv6Conf(other, 'accept_ra') === ACCEPT_RA.UNLESS_FORWARDING,
  );
  try {
    for (const other of listening) setIpv6Conf(other, 'accept_ra', ACCEPT_RA.ALWAYS);
    setIpv6Conf(name, 'forwarding', 1);
  } finally {
    for (const other of listening) setIpv6Conf(other, 'accept_ra', ACCEPT_RA.UNLESS_FORWARDING);
  }
}

function ipv6Interfaces(): string[] {
  return absentAs([], () => readdirSync(IPV6_CONF)).filter((name) => name !== 'all' && name !== 'default');
}

function ipv6Conf(name: string, setting: string): string | undefined {
  return absentAs(undefined, () => readFileSync(join(IPV6_CONF, name, setting), 'utf8').trim());
}

/** A kernel that has no IPv6 has nothing to set there. */
function setIpv6Conf(name: string, setting: string, value: number | string): void {
  absentAs(undefined, () => writeFileSync(join(IPV6_CONF, name, setting), String(value)));
}

function absentAs<T>(absent: T, access: () => T): T {
  try {
    return access();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return absent;
  }
}

export function setIpv4Conf(name: string, setting: string, value: number): void {
  writeFileSync(`/proc/sys/net/ipv4/conf/${name}/${setting}`, String(value));
}
