/** A random world in the maps, its packets sent through the programs, and the answers compared with the oracle's. */
import { Direction, DropReason, type Explanation, PrefixKind } from '../../src/datapath/abi/generated.js';
import { type DatapathMaps, openMaps } from '../../src/datapath/maps.js';
import { type PolicyContents, PolicyTable } from '../../src/datapath/policy-table.js';
import type { CompiledPolicy } from '../../src/firewall/types.js';
import { difference } from '../../src/vnet/policy/policy-difference.js';
import { encodeDelta } from '../../src/vnet/policy/policy-encoding.js';
import { finish } from '../../src/work/steps.js';
import type { Explainer } from './explainer.js';
import { type Packet, PROTOCOL, packet } from './packet.js';
import type { Populated } from './policy-arbitraries.js';
import { describeFlow } from './policy-compiled.js';
import { type Flow, sideOf } from './policy-flows.js';
import { KernelNumbers } from './policy-kernel-numbers.js';
import { type OracleEndpoint, type OracleMode, type OracleVerdict, oracleJudge } from './policy-oracle.js';
import { HOST_ADDRESSES, NETWORK_IDS } from './policy-vocabulary.js';
import { ACTION, reasonName } from './programs.js';
import type { Scenario } from './scenario.js';
import { echo } from './scenario-frames.js';
import { endpointOf, PREFIX_LENGTH, type TestEndpoint, UPLINK } from './scenario-parties.js';

const PROTOCOL_NUMBERS = { TCP: PROTOCOL.TCP, UDP: PROTOCOL.UDP, SCTP: PROTOCOL.SCTP };
/** Flows have each a source port of their own, so that none belongs to a connection of another. */
const SOURCE_PORTS = { first: 1024, last: 65000 };

interface Judgement {
  reason: number;
  egress: Set<string>;
  ingress: Set<string>;
}

export class PolicyKernel implements Disposable {
  readonly #scenario: Scenario;
  readonly #explainer: Explainer;
  readonly #numbers = new KernelNumbers();
  readonly #maps: DatapathMaps;
  readonly #table: PolicyTable;
  #present: PolicyContents = { entries: [], subjects: [], cidrs: [] };
  readonly #endpoints = new Map<number, TestEndpoint>();
  #sourcePort = SOURCE_PORTS.first;

  constructor(scenario: Scenario, explainer: Explainer) {
    this.#scenario = scenario;
    this.#explainer = explainer;
    this.#maps = openMaps(scenario.programs.pinRoot);
    // Programs run only while this thread runs them.
    this.#table = new PolicyTable(this.#maps, () => Promise.resolve());
    scenario.reset();
    scenario.programs.subjects.clear();
    scenario.programs.endpoints.clear();
    scenario.programs.addresses.clear();
    for (const id of NETWORK_IDS) {
      scenario.prefix(`10.${id}.0.0`, PREFIX_LENGTH[4], PrefixKind.NETWORK, id);
      scenario.prefix(`fd00:${id}::`, PREFIX_LENGTH[6], PrefixKind.NETWORK, id);
    }
    for (const host of HOST_ADDRESSES[4]) scenario.prefix(host, 32, PrefixKind.HOST, 0);
    for (const host of HOST_ADDRESSES[6]) scenario.prefix(host, 128, PrefixKind.HOST, 0);
  }

  /** Puts a world and its compiled policy in place of what was there, as the daemon changes policies. */
  async fill({ endpoints }: Populated, compiled: CompiledPolicy): Promise<void> {
    const { programs } = this.#scenario;
    for (const endpoint of this.#endpoints.values()) this.#scenario.remove(endpoint);
    this.#endpoints.clear();
    programs.portNames.clear();
    endpoints.forEach((endpoint, index) => void this.#add(endpoint, programs.ifindexes[index]));
    const delta = {
      set: compiled.entries,
      delete: [],
      subjects: { set: compiled.subjects, delete: [] },
      cidrs: { set: compiled.cidrs, delete: [] },
    };
    const { set: entries, subjects, cidrs } = finish(encodeDelta(delta, this.#numbers.claim(delta)));
    const wanted = { entries, subjects: subjects.set, cidrs: cidrs.set };
    await this.#table.commit(finish(difference(wanted, this.#present)));
    // Half of the time the slots of the change before are still there.
    if (this.#table.epoch % 2 === 0) await this.#table.advance();
    this.#present = wanted;
  }

  /** Throws when the programs, those that explain or those that enforce, say something else than the oracle. */
  check(world: Populated, flow: Flow): void {
    const enforced = judge(world, flow, 'enforced');
    const audited = judge(world, flow, 'audited');
    const [program, passage, at] = this.#passage(flow);
    const frame = this.#frame(flow, at).bytes();
    const explained = this.#explainer.explain(program, frame, passage);
    const { verdict } = this.#scenario.programs.pass(program, frame, passage);
    const differences = [
      ...this.#differences('', enforced, explained.reason, explained.egressRule, explained.ingressRule),
      ...this.#auditDifferences(enforced, audited, explained),
    ];
    const isDropped = verdict === ACTION.DROP;
    if (isDropped !== (enforced.reason !== DropReason.NONE)) differences.push(`enforced: action ${verdict}`);
    if (differences.length > 0) throw new Error(`${describeFlow(flow)}: ${differences.join('; ')}`);
  }

  /** Forgets the flows that the packets have opened. */
  async forgetFlows(): Promise<void> {
    const conntrack = this.#scenario.programs.map('qn_conntrack');
    const { keys } = await conntrack.entries();
    if (keys.length > 0) await conntrack.deleteBatch(keys);
    this.#scenario.programs.flowCounts.clear();
    this.#scenario.programs.forget();
    this.#sourcePort = SOURCE_PORTS.first;
  }

  /** Whether there are source ports left for that many flows. */
  hasRoom(flows: number): boolean {
    return this.#sourcePort + flows < SOURCE_PORTS.last;
  }

  [Symbol.dispose](): void {
    this.#maps[Symbol.dispose]();
  }

  #add({ id, identity, ports }: OracleEndpoint, ifindex: number | undefined): void {
    if (ifindex === undefined) throw new RangeError('more endpoints than devices');
    const endpoint = endpointOf(id, ifindex, identity.network_id, identity.id);
    this.#endpoints.set(id, endpoint);
    this.#scenario.add(endpoint);
    const names = new Map<string, number[]>();
    for (const { name, protocol, port } of ports) {
      const where = `${PROTOCOL_NUMBERS[protocol]} ${port}`;
      names.set(where, [...(names.get(where) ?? []), this.#numbers.names.of(name)]);
    }
    for (const [where, numbers] of names) {
      const [protocol = 0, port = 0] = where.split(' ').map(Number);
      this.#scenario.portNames(endpoint, protocol, port, ...numbers);
    }
  }

  #passage({ source, destination }: Flow) {
    if (typeof source !== 'string') {
      const at = this.#endpointOf(source);
      return ['from_container', { ifindex: at.ifindex }, at] as const;
    }
    if (typeof destination === 'string') throw new RangeError('a flow without a container');
    const at = this.#endpointOf(destination);
    return [
      'to_container',
      { ifindex: at.ifindex, ingressIfindex: source === 'host' ? 0 : UPLINK },
      at,
    ] as const;
  }

  #endpointOf({ id }: OracleEndpoint): TestEndpoint {
    const endpoint = this.#endpoints.get(id);
    if (endpoint === undefined) throw new RangeError(`endpoint ${id} is not there`);
    return endpoint;
  }

  #frame(
    { source, sourceAddress, destinationAddress, family, protocol, port }: Flow,
    at: TestEndpoint,
  ): Packet {
    const sourcePort = this.#sourcePort++;
    const ends =
      typeof source === 'string'
        ? { source: at.gatewayMac, destination: at.mac }
        : { source: at.mac, destination: at.gatewayMac };
    const ip = packet().ethernet(ends).ip({ source: sourceAddress, destination: destinationAddress });
    if (protocol === PROTOCOL.TCP) return ip.tcp({ sourcePort, destinationPort: port });
    if (protocol === PROTOCOL.UDP) return ip.udp({ sourcePort, destinationPort: port });
    if (protocol === PROTOCOL.SCTP) return ip.sctp({ sourcePort, destinationPort: port });
    return echo(ip, family, sourcePort);
  }

  #auditDifferences(enforced: Judgement, audited: Judgement, explained: Explanation): string[] {
    const isAudited = (enforced.reason === DropReason.NONE) !== (audited.reason === DropReason.NONE);
    if (isAudited !== (explained.audited === 1)) {
      return [`audited ${explained.audited}, wanted ${reasonName(audited.reason)}`];
    }
    if (!isAudited) return [];
    const { auditReason, auditEgressRule, auditIngressRule } = explained;
    return this.#differences('audited: ', audited, auditReason, auditEgressRule, auditIngressRule);
  }

  #differences(what: string, wanted: Judgement, reason: number, egress: number, ingress: number): string[] {
    const found: string[] = [];
    if (reason !== wanted.reason) {
      found.push(`${what}${reasonName(reason)}, wanted ${reasonName(wanted.reason)}`);
    }
    for (const [side, number] of [
      ['egress', egress],
      ['ingress', ingress],
    ] as const) {
      const text = this.#numbers.rules.text(number);
      const isRight = text === undefined ? number === 0 && wanted[side].size === 0 : wanted[side].has(text);
      if (isRight) continue;
      found.push(`${what}${side} by ${text ?? number}, wanted ${[...wanted[side]].join(' or ') || 'nobody'}`);
    }
    return found;
  }
}

/** Both sides must allow; the receiver is asked only about what the sender may send. */
function judge(world: Populated, flow: Flow, mode: OracleMode): Judgement {
  const sender = sideOf(flow, 'egress');
  const receiver = sideOf(flow, 'ingress');
  const egress = sender && oracleJudge(world, sender, mode);
  if (egress?.verdict === 'deny') {
    return { reason: denialOf(egress, Direction.EGRESS), egress: egress.by, ingress: new Set() };
  }
  const ingress = receiver && oracleJudge(world, receiver, mode);
  return {
    reason: ingress?.verdict === 'deny' ? denialOf(ingress, Direction.INGRESS) : DropReason.NONE,
    egress: egress?.by ?? new Set(),
    ingress: ingress?.by ?? new Set(),
  };
}

function denialOf({ by }: OracleVerdict, direction: Direction): number {
  if (direction === Direction.EGRESS)
    return by.size > 0 ? DropReason.POLICY_EGRESS_DENY : DropReason.POLICY_EGRESS;
  return by.size > 0 ? DropReason.POLICY_INGRESS_DENY : DropReason.POLICY_INGRESS;
}
