/** Who reaches whom by IPv4 and by IPv6, tried at once: what a policy says of labels counts for both. */
import { FAMILIES, type Family, type Host, unlike, type Verdict } from './containers.js';

/** Somebody, or an address of each family. */
export type Target = Host | ((family: Family) => string);

function place(target: Target, family: Family): Host | string {
  return typeof target === 'function' ? target(family) : target;
}

/** TCP, UDP and ICMP over each pair; the names of those that are not as expected. */
export async function unlikeBoth(
  expected: Verdict,
  ...pairs: (readonly [Host, Target])[]
): Promise<string[]> {
  const results = FAMILIES.map(async (family) => {
    const named = await unlike(
      expected,
      family,
      ...pairs.map(([from, to]) => [from, place(to, family)] as const),
    );
    return named.map((name) => `IPv${family}: ${name}`);
  });
  return (await Promise.all(results)).flat();
}

/**
 * What becomes of `tcp:80`, `udp:53` …; the names of those that are not as expected. Where nobody serves a port,
 * `refused` tells that the packet and the answer to it have passed.
 */
export async function portsUnlike(
  expected: Verdict,
  [from, to]: readonly [Host, Target],
  ...ports: string[]
): Promise<string[]> {
  const results = FAMILIES.flatMap((family) =>
    ports.map(async (what) => {
      const [protocol, port] = what.split(':') as ['tcp' | 'udp', string];
      const verdict = await from.dial(place(to, family), { family, protocol, port: Number(port), expected });
      return { verdict, name: `IPv${family}: ${from.id} ${what}: ${verdict}` };
    }),
  );
  return (await Promise.all(results)).filter(({ verdict }) => verdict !== expected).map(({ name }) => name);
}
