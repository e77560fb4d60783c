/**
 * What would become of a packet, and why. The loaded programs say what: they judge a packet that is made up, and
 * leave no trace of it. The compiled policy says why, for both sides; that the two agree is checked each time.
 */
import { gatewayMac } from '../bridge/mac.js';
import { DropReason, type Explanation as ProgramAnswer } from '../datapath/abi/generated.js';
import { dropReasonName, dropReasonText } from '../datapath/counters.js';
import type { Explainer, PacketToExplain } from '../datapath/explainer.js';
import { probeFrame, protocolNumber } from '../datapath/probe-packet.js';
import { tableAbout } from '../firewall/excerpt.js';
import type { Decision, PacketPeer } from '../firewall/lookup.js';
import { formatRuleRef } from '../firewall/rule-ref.js';
import { judgeSides, type Sides } from '../firewall/sides.js';
import type { Direction } from '../firewall/types.js';
import { type Family, formatAddress, parseAddress } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import {
  type ExplainedSide,
  type ExplainRequest,
  type Explanation,
  explainedProtocol,
} from '../model/explanation.js';
import type { AuditedVerdict } from '../model/verdict.js';
import { KernelError } from '../native/errors.js';
import type { Rtnl } from '../native/net.js';
import type { Reader } from '../store/store.js';
import { type Compiled, disagreement, type Told } from './agreement.js';
import type { ExplanationService } from './contract.js';
import { ownAddresses } from './host-prefixes.js';
import { addressOf } from './nat/published.js';
import type { Publishing } from './nat/publishing.js';
import {
  describeParty,
  identityOf,
  type Parties,
  type Party,
  packetPeer,
  portNames,
  resolveParties,
} from './parties.js';
import type { IsolatedBy } from './policy/isolating.js';
import type { PolicySync } from './policy/policy-sync.js';
import { ruleOf } from './policy/rule-numbers.js';
import type { Serial } from './serial.js';

/** Where a packet enters the node that no container sends: from its own sockets, or by lo, which is no container's. */
const INGRESS_IFINDEX = { host: 0, outside: 1 } as const;

const NOBODY_ASKED: Sides = {};

export interface ExplanationParts {
  store: Reader;
  serial: Serial;
  host: Rtnl;
  explainer: Explainer;
  policy: Pick<PolicySync, 'inForce' | 'cutOffBy'>;
  isolatedBy: IsolatedBy;
  publishing: Pick<Publishing, 'servingAt'>;
  /** Program and compiled policy do not say the same. */
  onDisagreement: (fields: object) => void;
}

export class Explanations implements ExplanationService {
  constructor(private readonly parts: ExplanationParts) {}

  /** Between two changes of the node, so that program and compiled policy speak of the same rules. */
  explain(request: ExplainRequest): Promise<Explanation> {
    return this.parts.serial.run(async () => {
      const { store, host, onDisagreement } = this.parts;
      const parties = resolveParties(store, ownAddresses(store, host), request);
      const answer = await this.askProgram(parties, request);
      const told = this.translate(answer);
      const compiled = this.askPolicy(...this.judged(parties, request, answer));
      const difference = disagreement(told, compiled);
      if (difference !== undefined) onDisagreement({ request, ...difference });
      const { egress, ingress } = compiled?.enforced ?? {};
      return {
        verdict: answer.reason === DropReason.NONE ? 'allowed' : 'dropped',
        reason: told.reason,
        reason_text: dropReasonText(answer.reason),
        source: describeParty(parties.source),
        destination: describeParty(parties.destination),
        protocol: protocolName(parties, request),
        ...(request.port === undefined ? {} : { port: request.port }),
        ...(egress && { egress: this.side(egress, answer.sourceIdentity, 'egress') }),
        ...(ingress && { ingress: this.side(ingress, answer.destinationIdentity, 'ingress') }),
        ...(told.audited && { audited: this.audited(told.audited, answer) }),
        agreed: difference === undefined,
      };
    });
  }

  private async askProgram(parties: Parties, request: ExplainRequest): Promise<ProgramAnswer> {
    const { explainer } = this.parts;
    try {
      return await explainer.explain(this.packet(parties, request));
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      throw new AppError('KERNEL_ERROR', error.message, { cause: error });
    }
  }

  private packet({ source, destination }: Parties, request: ExplainRequest): PacketToExplain {
    const fields = {
      source: source.address,
      destination: destination.address,
      protocol: explainedProtocol(request),
      ...(request.port === undefined ? {} : { port: request.port }),
    };
    if (source.kind === 'endpoint') {
      const { mac_address, network_id } = source.endpoint;
      const frame = probeFrame({ ...fields, from: mac_address, to: gatewayMac(network_id) });
      const ifindex = this.interfaceOf(source.endpoint);
      return { hook: 'from_container', frame, ifindex, ingressIfindex: INGRESS_IFINDEX.host };
    }
    if (destination.kind !== 'endpoint') throw new RangeError('neither side is an endpoint');
    const { mac_address, network_id } = destination.endpoint;
    return {
      hook: 'to_container',
      frame: probeFrame({ ...fields, from: gatewayMac(network_id), to: mac_address }),
      ifindex: this.interfaceOf(destination.endpoint),
      ingressIfindex: source.kind === 'host' ? INGRESS_IFINDEX.host : INGRESS_IFINDEX.outside,
    };
  }

  private interfaceOf({ host_interface, container_id }: Endpoint): number {
    const link = this.parts.host.link(host_interface);
    if (link !== undefined) return link.index;
    throw new AppError('CONTAINER_NOT_FOUND', `the interface of container ${container_id} is gone`);
  }

  /** Who and what the policy is asked about: where a port mapping or service leads to a container, that one. */
  private judged(
    parties: Parties,
    request: ExplainRequest,
    answer: ProgramAnswer,
  ): [Parties, ExplainRequest] {
    const { source, destination } = parties;
    const { port } = request;
    const protocol = explainedProtocol(request);
    if (destination.kind === 'endpoint' || port === undefined || protocol === 'ICMP')
      return [parties, request];
    const { publishing } = this.parts;
    const { family } = destination.address;
    const place = { protocol, port, family, address: formatAddress(destination.address) };
    const serving =
      publishing.servingAt(place) ??
      (destination.kind === 'host' ? publishing.servingAt({ ...place, address: undefined }) : undefined);
    // Of several that serve, those of one identity are alike, but for the one that asks: that is let by no rule.
    const own = reachesItself(answer) && source.kind === 'endpoint' ? source.endpoint : undefined;
    const chosen = serving?.find(({ endpoint }) =>
      own === undefined ? endpoint.identity === answer.destinationIdentity : endpoint.id === own.id,
    );
    const address = chosen && addressOf(chosen.endpoint, family);
    if (chosen === undefined || address === undefined) return [parties, request];
    const container: Party = { kind: 'endpoint', endpoint: chosen.endpoint, address: parseAddress(address) };
    return [
      { ...parties, destination: container },
      { ...request, port: chosen.port },
    ];
  }

  /** Undefined: one side is nobody that rules know. */
  private askPolicy({ source, destination }: Parties, request: ExplainRequest): Compiled | undefined {
    const [from, to] = [packetPeer(source), packetPeer(destination)];
    if (from === undefined || to === undefined) return undefined;
    const protocol = protocolNumber(explainedProtocol(request), source.address.family);
    const { port = 0 } = request;
    const names = destination.kind === 'endpoint' ? portNames(destination.endpoint, protocol, port) : [];
    const flow = { source: from, destination: to, protocol, port, names };
    const tableOf = (identity: number, direction: Direction, peer: PacketPeer) =>
      tableAbout(this.parts.policy.inForce.view(identity), direction, peer);
    const judge = (audit: boolean) =>
      isOneEndpoint(source, destination) ? NOBODY_ASKED : judgeSides(tableOf, flow, { audit });
    return {
      sourceIdentity: identityOf(source),
      destinationIdentity: identityOf(destination),
      enforced: judge(false),
      audited: judge(true),
    };
  }

  /** What the program told, with the rules by name. */
  private translate(answer: ProgramAnswer): Told {
    const { sourceIdentity, destinationIdentity } = answer;
    return {
      sourceIdentity,
      destinationIdentity,
      reason: dropReasonName(answer.reason),
      ...this.rules(answer.egressRule, answer.ingressRule),
      ...(answer.audited === 0
        ? {}
        : {
            audited: {
              reason: dropReasonName(answer.auditReason),
              ...this.rules(answer.auditEgressRule, answer.auditIngressRule),
            },
          }),
    };
  }

  private rules(egress: number, ingress: number) {
    return {
      ...(egress === 0 ? {} : { egress_rule: this.ruleText(egress) }),
      ...(ingress === 0 ? {} : { ingress_rule: this.ruleText(ingress) }),
    };
  }

  private ruleText(number: number): string {
    const ref = ruleOf(this.parts.store, number);
    return ref === undefined ? `rule ${number}, which nobody knows` : formatRuleRef(ref);
  }

  private side(decision: Decision, identity: number, direction: Direction): ExplainedSide {
    const { verdict, tier, entry, isDefaultDeny } = decision;
    const isolating = isDefaultDeny ? this.parts.isolatedBy(identity, direction, false) : [];
    const cutOff = this.parts.policy.cutOffBy(identity);
    return {
      verdict: verdict === 'allow' ? 'allowed' : 'denied',
      ...(tier === undefined ? {} : { tier }),
      ...(entry === undefined ? {} : { rule: formatRuleRef(entry.rule) }),
      ...(entry?.rule.kind === 'policy' ? { policy: policyOf(entry.rule) } : {}),
      ...(isolating.length === 0 ? {} : { isolated_by: isolating }),
      ...(cutOff === undefined ? {} : { cut_off_by: [...cutOff] }),
    };
  }

  private audited(judged: NonNullable<Told['audited']>, answer: ProgramAnswer): AuditedVerdict {
    const { auditReason, sourceIdentity, destinationIdentity } = answer;
    const isolating =
      auditReason === DropReason.POLICY_EGRESS
        ? this.parts.isolatedBy(sourceIdentity, 'egress', true)
        : auditReason === DropReason.POLICY_INGRESS
          ? this.parts.isolatedBy(destinationIdentity, 'ingress', true)
          : [];
    return {
      verdict: auditReason === DropReason.NONE ? 'allowed' : 'dropped',
      ...judged,
      ...(isolating.length === 0 ? {} : { isolated_by: isolating }),
    };
  }
}

/** Between endpoints a rule allows, or the mode of a network, which is one too: only with itself a container needs none. */
function reachesItself({ reason, egressRule, ingressRule }: ProgramAnswer): boolean {
  return reason === DropReason.NONE && egressRule === 0 && ingressRule === 0;
}

function isOneEndpoint(left: Party, right: Party): boolean {
  return left.kind === 'endpoint' && right.kind === 'endpoint' && left.endpoint.id === right.endpoint.id;
}

function policyOf({ namespace, name, direction, index }: NonNullable<ExplainedSide['policy']>) {
  return { namespace, name, direction, index };
}

function protocolName({ source }: Parties, request: ExplainRequest): Explanation['protocol'] {
  const protocol = explainedProtocol(request);
  const { family }: { family: Family } = (source satisfies Party).address;
  return protocol === 'ICMP' && family === 6 ? 'ICMPv6' : protocol;
}
