/**
 * What the host's stack must not do with frames of a container that no program has judged: such frames are sent to
 * everyone, since frames to one host go by its MAC address, which containers do not know (see createPair).
 */
import { writeFileSync } from 'node:fs';

/** Below /proc/sys/net; Documentation/networking/ip-sysctl.rst. */
const SETTINGS: readonly (readonly [family: 'ipv4' | 'ipv6', name: string, value: string])[] = [
  ['ipv4', 'arp_ignore', '8'], // no answer for any address: the program answers
  ['ipv4', 'accept_redirects', '0'],
  ['ipv4', 'accept_source_route', '0'],
  ['ipv4', 'drop_unicast_in_l2_multicast', '1'],
  ['ipv6', 'accept_ra', '0'],
  ['ipv6', 'accept_redirects', '0'],
  ['ipv6', 'drop_unicast_in_l2_multicast', '1'],
];

/** Sets up the host's side of a container's veth; before it is up. */
export function guardInterface(name: string): void {
  for (const [family, setting, value] of SETTINGS) {
    try {
      writeFileSync(`/proc/sys/net/${family}/conf/${name}/${setting}`, value);
    } catch (error) {
      // A kernel that has no IPv6 has nothing to guard there.
      if (!(family === 'ipv6' && (error as NodeJS.ErrnoException).code === 'ENOENT')) throw error;
    }
  }
}
