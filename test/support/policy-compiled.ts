/** What the compiled policy says to a packet, compared with what the oracle says. */
import { compile } from '../../src/firewall/compile.js';
import { decide, type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { formatRuleRef } from '../../src/firewall/rule-ref.js';
import type { CompiledPolicy } from '../../src/firewall/types.js';
import { parsePolicy } from '../../src/model/policy.js';
import type { Populated } from './policy-arbitraries.js';
import { type Flow, sideOf } from './policy-flows.js';
import {
  type OracleMode,
  type OraclePacket,
  type OracleVerdict,
  type OracleWorld,
  oracleJudge,
} from './policy-oracle.js';

export const MODES = ['enforced', 'audited'] as const satisfies readonly OracleMode[];
export const SIDES = ['egress', 'ingress'] as const;

export function compileWorld(world: OracleWorld): CompiledPolicy {
  return compile({ ...world, policies: world.policies.map((policy) => parsePolicy(policy)) });
}

/** How often packets came to which end; a generator that hardly ever gets to one would prove little. */
export class Tally {
  readonly counts = new Map<string, number>();

  add({ verdict, by }: OracleVerdict, mode: OracleMode): void {
    const [first = ''] = by;
    const kind =
      by.size === 0
        ? 'nobody'
        : first.startsWith('-/')
          ? 'cluster'
          : (first.match(/^\w+(?= )/)?.[0] ?? 'policy');
    this.#count(`${mode} ${verdict} by ${kind}`);
    this.#count(`${mode} ${verdict}`);
    this.#count(mode);
  }

  share(what: string, of: string): number {
    return (this.counts.get(what) ?? 0) / (this.counts.get(of) ?? 1);
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

/** Throws when the compiled rules decide one side of a flow otherwise than the oracle, or name another rule. */
export function checkCompiled(world: Populated, compiled: CompiledPolicy, flows: Flow[], tally: Tally): void {
  const table = RuleTable.from(compiled);
  for (const flow of flows) {
    for (const direction of SIDES) {
      const packet = sideOf(flow, direction);
      if (packet === undefined) continue;
      for (const mode of MODES) {
        const wanted = oracleJudge(world, packet, mode);
        const { verdict, entry } = decide(
          table,
          {
            subject: packet.subject.identity.id,
            direction,
            peer: peerOf(packet),
            protocol: packet.protocol,
            port: packet.port,
            names: namesOf(flow),
          },
          { audit: mode === 'audited' },
        );
        const named = entry === undefined ? undefined : formatRuleRef(entry.rule);
        const isNamedRightly = named === undefined ? wanted.by.size === 0 : wanted.by.has(named);
        if (verdict === wanted.verdict && isNamedRightly) {
          tally.add(wanted, mode);
          continue;
        }
        throw new Error(
          `${describeFlow(flow)}, ${direction}, ${mode}: ${verdict} by ${named ?? 'nobody'}, ` +
            `wanted ${wanted.verdict} by ${[...wanted.by].join(' or ') || 'nobody'}`,
        );
      }
    }
  }
}

export function describeFlow({
  source,
  destination,
  sourceAddress,
  destinationAddress,
  ...flow
}: Flow): string {
  const end = (who: Flow['source'], address: string) =>
    typeof who === 'string' ? `${who} ${address}` : `endpoint ${who.id} ${address}`;
  const ports = `protocol ${flow.protocol} port ${flow.port}`;
  return `${end(source, sourceAddress)} -> ${end(destination, destinationAddress)} ${ports}`;
}

function peerOf({ peer, peerAddress }: OraclePacket): PacketPeer {
  if (typeof peer === 'string') return { kind: peer, address: peerAddress };
  const { id, network_id } = peer.identity;
  return { kind: 'identity', id, network_id, address: peerAddress };
}

const NUMBERS = { TCP: 6, UDP: 17, SCTP: 132 };

function namesOf({ destination, protocol, port }: Flow): string[] {
  if (typeof destination === 'string') return [];
  return destination.ports
    .filter((one) => NUMBERS[one.protocol] === protocol && one.port === port)
    .map(({ name }) => name);
}
