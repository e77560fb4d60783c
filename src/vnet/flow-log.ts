/** What the programs told of verdicts, in words: who, to whom, by which rule. */
import { EventEmitter } from 'node:events';
import { Direction, type Event, EventKind, Identity } from '../datapath/abi/generated.js';
import { dropReasonName } from '../datapath/counters.js';
import { formatRuleRef } from '../firewall/rule-ref.js';
import { formatAddress, fromBytes16 } from '../model/address.js';
import { monotonicNs } from '../native/bpf.js';
import type { Reader } from '../store/store.js';
import { endpoints } from '../store/tables.js';
import { ruleOf } from './rule-numbers.js';
import type { FlowEvent, FlowParty } from './services.js';

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

export class FlowLog {
  private readonly recent: FlowEvent[] = [];
  private next = 0;
  private readonly listeners = new EventEmitter().setMaxListeners(0);
  /** Wall clock minus monotonic clock, nanoseconds; taken anew with each batch, since the wall clock may be set. */
  private clockOffset = 0n;

  constructor(private readonly reader: Reader) {}

  record(events: readonly Event[]): void {
    this.clockOffset = BigInt(Date.now()) * 1_000_000n - monotonicNs();
    for (const event of events) {
      const flow = this.translate(event);
      this.recent[this.next] = flow;
      this.next = (this.next + 1) % RECENT_MAX;
      this.listeners.emit('flow', flow);
    }
  }

  /** The last events, oldest first. */
  last(limit: number): FlowEvent[] {
    const ordered = [...this.recent.slice(this.next), ...this.recent.slice(0, this.next)];
    return ordered.slice(Math.max(0, ordered.length - limit));
  }

  watch(listener: (event: FlowEvent) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.listeners.on('flow', listener);
    signal.addEventListener('abort', () => this.listeners.off('flow', listener), { once: true });
  }

  private translate(event: Event): FlowEvent {
    const source = this.party(event.sourceEndpointId, event.sourceIdentity);
    const destination = this.party(event.destinationEndpointId, event.destinationIdentity);
    const self = this.reader.get(endpoints, [event.endpointId]);
    const egressRule = this.ruleText(event.egressRule);
    const ingressRule = this.ruleText(event.ingressRule);
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
      source: { ...source, ...place(event.source, hasPorts ? event.sourcePort : undefined) },
      destination: {
        ...destination,
        ...place(event.destination, hasPorts ? event.destinationPort : undefined),
      },
      ...(ICMP.has(event.protocol) ? { icmp_type: event.icmpType, icmp_code: event.icmpCode } : {}),
      ...(egressRule === undefined ? {} : { egress_rule: egressRule }),
      ...(ingressRule === undefined ? {} : { ingress_rule: ingressRule }),
      bytes: event.length,
    };
  }

  private party(endpointId: number, identity: number): FlowParty {
    if (identity === Identity.HOST) return { kind: 'host' };
    if (identity === Identity.WORLD) return { kind: 'world' };
    if (endpointId === 0) return { kind: 'unknown' };
    const endpoint = this.reader.get(endpoints, [endpointId]);
    if (endpoint === undefined) return { kind: 'endpoint' };
    const { container_id, network, namespace, labels } = endpoint;
    return { kind: 'endpoint', container_id, network, namespace, labels };
  }

  private ruleText(number: number): string | undefined {
    const ref = ruleOf(this.reader, number);
    return ref && formatRuleRef(ref);
  }
}

function place(bytes: Uint8Array, port: number | undefined): { ip?: string; port?: number } {
  const address = fromBytes16(bytes);
  return {
    ...(address === undefined ? {} : { ip: formatAddress(address) }),
    ...(port === undefined ? {} : { port }),
  };
}
