/** What the programs told of verdicts, in words: who, to whom, by which rule. */
import { EventEmitter } from 'node:events';
import { Direction, DropReason, type Event, EventKind, Identity } from '../datapath/abi/generated.js';
import { dropReasonName } from '../datapath/counters.js';
import { formatRuleRef } from '../firewall/rule-ref.js';
import { formatAddress, fromBytes16 } from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import type { AuditedVerdict } from '../model/verdict.js';
import { monotonicNs } from '../native/bpf.js';
import type { Reader } from '../store/store.js';
import { endpoints } from '../store/tables.js';
import type { FlowEvent, FlowParty } from './contract.js';
import type { IsolatedBy } from './policy/isolating.js';
import { ruleOf } from './policy/rule-numbers.js';

/** Events that are kept for those who ask later. */
const RECENT_MAX = 4096;

const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'ICMP'],
  [6, 'TCP'],
  [17, 'UDP'],
  [58, 'ICMPv6'],
  [132, 'SCTP'],
]);
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132]);
const ICMP: ReadonlySet<number> = new Set([1, 58]);

/** An event as the programs told it, and what it means. */
export interface RecordedFlow {
  readonly event: Event;
  readonly flow: FlowEvent;
}

export class FlowLog {
  private readonly recent: RecordedFlow[] = [];
  private next = 0;
  private readonly listeners = new EventEmitter().setMaxListeners(0);
  /** Wall clock minus monotonic clock, nanoseconds; taken anew with each batch, since the wall clock may be set. */
  private clockOffset = 0n;
  /** What was looked up for the events of one batch. */
  private names: Names;

  constructor(
    private readonly reader: Reader,
    private readonly isolatedBy: IsolatedBy,
  ) {
    this.names = new Names(reader);
  }

  record(events: readonly Event[]): void {
    this.clockOffset = BigInt(Date.now()) * 1_000_000n - monotonicNs();
    this.names = new Names(this.reader);
    for (const event of events) {
      const flow = this.translate(event);
      this.recent[this.next] = { event, flow };
      this.next = (this.next + 1) % RECENT_MAX;
      this.listeners.emit('flow', flow);
    }
  }

  /** The last events, oldest first. */
  last(limit: number): FlowEvent[] {
    const ordered = this.recorded();
    return ordered.slice(Math.max(0, ordered.length - limit)).map(({ flow }) => flow);
  }

  /** All that are kept, oldest first. */
  recorded(): RecordedFlow[] {
    return [...this.recent.slice(this.next), ...this.recent.slice(0, this.next)];
  }

  watch(listener: (event: FlowEvent) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.listeners.on('flow', listener);
    signal.addEventListener('abort', () => this.listeners.off('flow', listener), { once: true });
  }

  private translate(event: Event): FlowEvent {
    const source = this.party(event.sourceEndpointId, event.sourceIdentity);
    const destination = this.party(event.destinationEndpointId, event.destinationIdentity);
    const self = this.names.endpoint(event.endpointId);
    const isolatedBy = this.isolation(event, event.reason, false);
    const protocol =
      event.family === 0 ? undefined : (PROTOCOLS.get(event.protocol) ?? String(event.protocol));
    const hasPorts = WITH_PORTS.has(event.protocol);
    return {
      time: new Date(Number((this.clockOffset + event.timeNs) / 1_000_000n)).toISOString(),
      verdict: event.kind === EventKind.FLOW ? 'allowed' : 'dropped',
      reason: dropReasonName(event.reason),
      direction: event.direction === Direction.EGRESS ? 'egress' : 'ingress',
      ...(self === undefined ? {} : { network: self.network }),
      ...(protocol === undefined ? {} : { protocol }),
      // Not by spreading both: V8 would give each of the thousands that are kept a shape of its own.
      source: Object.assign(source, place(event.source, hasPorts ? event.sourcePort : undefined)),
      destination: Object.assign(
        destination,
        place(event.destination, hasPorts ? event.destinationPort : undefined),
      ),
      ...(ICMP.has(event.protocol) ? { icmp_type: event.icmpType, icmp_code: event.icmpCode } : {}),
      ...this.rules(event.egressRule, event.ingressRule),
      ...(isolatedBy.length === 0 ? {} : { isolated_by: isolatedBy }),
      ...(event.audited === 0 ? {} : { audit: this.audited(event) }),
      bytes: event.length,
    };
  }

  private party(endpointId: number, identity: number): FlowParty {
    if (identity === Identity.HOST) return { kind: 'host' };
    if (identity === Identity.WORLD) return { kind: 'world' };
    if (endpointId === 0) return { kind: 'unknown' };
    const endpoint = this.names.endpoint(endpointId);
    if (endpoint === undefined) return { kind: 'endpoint' };
    const { container_id, network, namespace, labels } = endpoint;
    return { kind: 'endpoint', container_id, network, namespace, labels };
  }

  private audited(event: Event): AuditedVerdict {
    const isolatedBy = this.isolation(event, event.auditReason, true);
    return {
      verdict: event.auditReason === DropReason.NONE ? 'allowed' : 'dropped',
      reason: dropReasonName(event.auditReason),
      ...this.rules(event.auditEgressRule, event.auditIngressRule),
      ...(isolatedBy.length === 0 ? {} : { isolated_by: isolatedBy }),
    };
  }

  /** A default deny has no rule of its own to name: what isolates the side is why. As it is by now. */
  private isolation(event: Event, reason: number, audit: boolean): string[] {
    if (reason === DropReason.POLICY_EGRESS) return this.isolatedBy(event.sourceIdentity, 'egress', audit);
    if (reason === DropReason.POLICY_INGRESS) {
      return this.isolatedBy(event.destinationIdentity, 'ingress', audit);
    }
    return [];
  }

  private rules(egress: number, ingress: number): Pick<FlowEvent, 'egress_rule' | 'ingress_rule'> {
    const egressRule = this.names.rule(egress);
    const ingressRule = this.names.rule(ingress);
    return {
      ...(egressRule === undefined ? {} : { egress_rule: egressRule }),
      ...(ingressRule === undefined ? {} : { ingress_rule: ingressRule }),
    };
  }
}

/** Looks up who and what numbers of events stand for, each once. */
class Names {
  private readonly endpoints = new Map<number, Endpoint | undefined>();
  private readonly rules = new Map<number, string | undefined>();

  constructor(private readonly reader: Reader) {}

  endpoint(id: number): Endpoint | undefined {
    return remember(this.endpoints, id, () => this.reader.get(endpoints, [id]));
  }

  rule(number: number): string | undefined {
    return remember(this.rules, number, () => {
      const ref = ruleOf(this.reader, number);
      return ref && formatRuleRef(ref);
    });
  }
}

function remember<V>(known: Map<number, V>, key: number, lookUp: () => V): V {
  if (!known.has(key)) known.set(key, lookUp());
  return known.get(key) as V;
}

function place(bytes: Uint8Array, port: number | undefined): { ip?: string; port?: number } {
  const address = fromBytes16(bytes);
  return {
    ...(address === undefined ? {} : { ip: formatAddress(address) }),
    ...(port === undefined ? {} : { port }),
  };
}
