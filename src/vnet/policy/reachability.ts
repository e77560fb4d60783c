/** Whether somebody outside may reach a port of a container, by the rules in force. */
import type { InForce } from '../../firewall/in-force.js';
import type { PacketPeer } from '../../firewall/lookup.js';
import { type Outsiders, outsiders } from '../../firewall/outsiders.js';
import { judgeSides, passes } from '../../firewall/sides.js';
import type { KeptView } from '../../firewall/subject-view.js';
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

/** Of a subject whose rules tell more of them apart, those who were found are not kept. */
const KEPT_MAX = 1000;

interface Found {
  /** What was inside then. */
  readonly inside: string;
  readonly outsiders: Promise<Outsiders>;
}

export class Reachability {
  /** By version of a subject: who asks again, or at the same time, waits for nothing that is known. */
  private readonly found = new WeakMap<object, Found>();

  constructor(
    private readonly inForce: InForce,
    /** Addresses that nobody outside has, now. */
    private readonly inside: () => readonly Cidr[],
  ) {}

  /**
   * Those that somebody outside may reach, by what is in force and inside at the moment of the call, whatever changes until
   * the answer is there.
   */
  async among(targets: readonly Target[]): Promise<Set<Target>> {
    using kept = this.inForce.keep();
    const inside = this.inside();
    const text = inside.map(({ family, base, prefixLength }) => `${family}/${base}/${prefixLength}`).join();
    const known = new Map<number, Outsiders>();
    for (const identity of new Set(targets.map(({ endpoint }) => endpoint.identity))) {
      const view = kept.view(identity);
      if (view !== undefined) known.set(identity, await this.outsidersOf(view, inside, text));
    }
    return await inTurns(judging(known, targets));
  }

  private async outsidersOf(view: KeptView, inside: readonly Cidr[], text: string): Promise<Outsiders> {
    const { version } = view;
    const known = this.found.get(version);
    if (known?.inside === text) return known.outsiders;
    const found = { inside: text, outsiders: inTurns(outsiders(view, inside)) };
    this.found.set(version, found);
    let isKept = false;
    try {
      const { all } = await found.outsiders;
      isKept = all.length <= KEPT_MAX;
    } finally {
      if (!isKept && this.found.get(version) === found) this.found.delete(version);
    }
    return found.outsiders;
  }
}

function* judging(known: ReadonlyMap<number, Outsiders>, targets: readonly Target[]): Steps<Set<Target>> {
  const reached = new Set<Target>();
  for (const target of targets) {
    const found = known.get(target.endpoint.identity);
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
