/** Whether somebody outside may reach a port of a container, by the rules in force. */
import type { InForce } from '../../firewall/in-force.js';
import type { PacketPeer } from '../../firewall/lookup.js';
import { type Outsiders, outsiders } from '../../firewall/outsiders.js';
import { judgeSides, passes } from '../../firewall/sides.js';
import type { Kept } from '../../firewall/subject-view.js';
import type { Cidr } from '../../model/address.js';
import type { Endpoint } from '../../model/endpoint.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../../model/names.js';
import type { Steps } from '../../work/steps.js';
import { inTurns } from '../../work/turns.js';
import { portNames } from '../parties.js';

/** A port of a container. */
export interface Target {
  readonly endpoint: Endpoint;
  readonly protocol: Protocol;
  readonly port: number;
}

/**
 * Those that somebody outside may reach, by the rules that are in force at the moment of the call, whatever changes until
 * the answer is there. `inside`: addresses that nobody outside has.
 */
export async function reachable(
  inForce: InForce,
  inside: readonly Cidr[],
  targets: readonly Target[],
): Promise<Set<Target>> {
  using kept = inForce.keep();
  return await inTurns(judging(kept, inside, targets));
}

function* judging(kept: Kept, inside: readonly Cidr[], targets: readonly Target[]): Steps<Set<Target>> {
  const known = new Map<number, Outsiders | undefined>();
  const reached = new Set<Target>();
  for (const target of targets) {
    const { identity } = target.endpoint;
    if (!known.has(identity)) {
      const view = kept.view(identity);
      known.set(identity, view && (yield* outsiders(view, inside)));
    }
    const found = known.get(identity);
    if (found !== undefined && (yield* isReached(found, target))) reached.add(target);
  }
  return reached;
}

function* isReached({ all, rules }: Outsiders, { endpoint, protocol, port }: Target): Steps<boolean> {
  const { identity: id, network_id, ip_address, ip6_address } = endpoint;
  const number = PROTOCOL_NUMBERS[protocol];
  const names = portNames(endpoint, number, port);
  for (const source of all) {
    yield;
    const own = source.family === 4 ? ip_address : ip6_address;
    if (own === undefined) continue;
    const destination: PacketPeer = { kind: 'identity', id, network_id, address: own };
    const flow = { source, destination, protocol: number, port, names };
    if (passes(judgeSides(() => rules, flow, { audit: false }))) return true;
  }
  return false;
}
