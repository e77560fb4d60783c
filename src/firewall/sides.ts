/** Both sides of a packet: what the rules of its source and those of its destination say of it. */
import { type DecideOptions, type Decision, decide, type PacketPeer, type RuleTable } from './lookup.js';
import type { Direction } from './types.js';

/** Two parties, and what one sends the other; at least one of them is an endpoint. */
export interface Flow {
  readonly source: PacketPeer;
  readonly destination: PacketPeer;
  /** IPPROTO_*. */
  readonly protocol: number;
  /** Destination port; 0 where the protocol has none. */
  readonly port: number;
  /** What the destination calls that port. */
  readonly names?: readonly string[];
}

/** A side that is no endpoint has no rules. */
export interface Sides {
  readonly egress?: Decision;
  readonly ingress?: Decision;
}

/** Asks both sides, the second one also when the first one denies. `tableOf`: rules of a subject, all or those about that peer. */
export function judgeSides(
  tableOf: (identity: number, direction: Direction, peer: PacketPeer) => RuleTable,
  flow: Flow,
  options: DecideOptions,
): Sides {
  const { source, destination, protocol, port, names = [] } = flow;
  const ask = (subject: PacketPeer, direction: Direction, peer: PacketPeer) =>
    subject.kind === 'identity'
      ? {
          [direction]: decide(
            tableOf(subject.id, direction, peer),
            { subject: subject.id, direction, peer, protocol, port, names },
            options,
          ),
        }
      : {};
  return { ...ask(source, 'egress', destination), ...ask(destination, 'ingress', source) };
}

/** A packet passes when each side that has rules allows it. */
export function passes({ egress, ingress }: Sides): boolean {
  return (egress?.verdict ?? 'allow') === 'allow' && (ingress?.verdict ?? 'allow') === 'allow';
}
