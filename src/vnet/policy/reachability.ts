/** Whether somebody outside may reach a port of a container, by the rules in force. */
import type { InForce } from '../../firewall/in-force.js';
import type { PacketPeer } from '../../firewall/lookup.js';
import { notOutside, type Outsiders, outsiders } from '../../firewall/outsiders.js';
import { judgeSides, passes } from '../../firewall/sides.js';
import type { Kept, KeptView } from '../../firewall/subject-view.js';
import type { Cidr } from '../../model/address.js';
import type { Endpoint } from '../../model/endpoint.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../../model/names.js';
import { type Steps, stepping } from '../../work/steps.js';
import { inTurns } from '../../work/turns.js';
import { portNames } from '../parties.js';
import { Answers } from './answers.js';

/** A port of a container. */
export interface Target {
  readonly endpoint: Endpoint;
  readonly protocol: Protocol;
  readonly port: number;
}

/** Targets of subjects of whom it is not known. */
type Unknown = ReadonlyMap<KeptView, readonly Target[]>;

/** What is found out as long as the same is inside. */
class Findings {
  readonly taken;
  readonly answers = new Answers();
  /** Whoever is being looked for, by version of the subject: others wait for the same. */
  readonly looking = new Map<object, Promise<Outsiders>>();

  constructor(readonly inside: readonly Cidr[]) {
    this.taken = notOutside(inside);
  }
}

export class Reachability {
  private findings: Findings | undefined;

  constructor(
    private readonly inForce: InForce,
    /** Addresses that nobody outside has, now: the same object as long as they are the same. */
    private readonly inside: () => readonly Cidr[],
  ) {}

  /**
   * Those that somebody outside may reach, by what is in force and inside at the moment of the call, whatever changes until
   * the answer is there. What was asked before costs nothing anew until the rules of the container change, or what is inside.
   */
  async among(targets: readonly Target[]): Promise<Set<Target>> {
    using kept = this.inForce.keep();
    const inside = this.inside();
    if (this.findings?.inside !== inside) this.findings = new Findings(inside);
    const { findings } = this;
    const reached = new Set<Target>();
    const unknown = await inTurns(recalling(kept, findings.answers, targets, reached));
    // One after the other: of whom many are told apart, there is much to hold.
    for (const [view, theirs] of unknown) {
      const found = await outsidersOf(view, findings);
      await inTurns(judging(view, found, theirs, findings.answers, reached));
    }
    return reached;
  }
}

function* recalling(
  kept: Kept,
  answers: Answers,
  targets: readonly Target[],
  reached: Set<Target>,
): Steps<Unknown> {
  const views = new Map<number, KeptView | undefined>();
  const unknown = new Map<KeptView, Target[]>();
  yield* stepping(targets, (target) => {
    const { identity } = target.endpoint;
    const view = views.has(identity) ? views.get(identity) : kept.view(identity);
    views.set(identity, view);
    if (view === undefined) return;
    const answer = answers.get(view, questionOf(target));
    if (answer === true) reached.add(target);
    else if (answer === undefined) {
      const others = unknown.get(view);
      if (others === undefined) unknown.set(view, [target]);
      else others.push(target);
    }
  });
  return unknown;
}

async function outsidersOf(view: KeptView, { looking, taken }: Findings): Promise<Outsiders> {
  const { version } = view;
  const others = looking.get(version);
  if (others !== undefined) return others;
  const found = inTurns(outsiders(view, taken));
  looking.set(version, found);
  try {
    return await found;
  } finally {
    looking.delete(version);
  }
}

function* judging(
  view: KeptView,
  found: Outsiders,
  targets: readonly Target[],
  answers: Answers,
  reached: Set<Target>,
): Steps {
  for (const target of targets) {
    yield;
    const question = questionOf(target);
    const answer = answers.get(view, question) ?? (yield* isReached(found, target));
    answers.set(view, question, answer);
    if (answer) reached.add(target);
  }
}

/** Of one subject, the same for those of whom the answer is the same. */
function questionOf({ endpoint, protocol, port }: Target): string {
  const { ip_address, ip6_address } = endpoint;
  const families = `${ip_address === undefined ? '' : 4}${ip6_address === undefined ? '' : 6}`;
  const names = portNames(endpoint, PROTOCOL_NUMBERS[protocol], port);
  return [protocol, port, families, ...names.sort()].join(' ');
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
