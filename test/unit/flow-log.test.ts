/** Events become flows that name who, why, and what the audited policies would have done. */
import { describe, expect, it } from 'vitest';
import { Direction, DropReason, type Event, EventKind, Identity } from '../../src/datapath/abi/generated.js';
import { parseAddress, toBytes16 } from '../../src/model/address.js';
import type { Key, Reader, Table } from '../../src/store/store.js';
import { FlowLog } from '../../src/vnet/flow-log.js';

/** Two rules; no endpoint is left. */
const RULES = new Map<number, object>([
  [7, { kind: 'policy', namespace: 'default', name: 'out', direction: 'egress', index: 0 }],
  [8, { kind: 'policy', namespace: '-', name: 'shut', direction: 'ingress', index: 2 }],
]);

const reader = {
  get: ({ name }: Table<Key, unknown>, [key]: Key) => {
    const ref = name === 'rules' ? RULES.get(key as number) : undefined;
    return ref && { cookie: key, ref };
  },
} as unknown as Reader;

const isolating = (identity: number, direction: string, audit: boolean) =>
  identity === 300 ? [`default/${direction}${audit ? '-audited' : ''}`] : [];

function event(more: Partial<Event> = {}): Event {
  return {
    timeNs: 1n,
    kind: EventKind.FLOW,
    direction: Direction.EGRESS,
    protocol: 6,
    family: 4,
    reason: DropReason.NONE,
    ethertype: 0x0800,
    endpointId: 1,
    ifindex: 3,
    networkId: 1,
    sourceIdentity: 301,
    destinationIdentity: Identity.WORLD,
    sourceEndpointId: 1,
    destinationEndpointId: 0,
    egressRule: 7,
    ingressRule: 0,
    auditEgressRule: 0,
    auditIngressRule: 0,
    length: 74,
    source: toBytes16(parseAddress('10.1.0.2')),
    destination: toBytes16(parseAddress('198.51.100.7')),
    sourcePort: 40000,
    destinationPort: 443,
    icmpType: 0,
    icmpCode: 0,
    auditReason: DropReason.NONE,
    audited: 0,
    ...more,
  } as Event;
}

function flowOf(more: Partial<Event>) {
  const log = new FlowLog(reader, isolating);
  log.record([event(more)]);
  return log.last(1)[0];
}

describe('a flow', () => {
  it('that audited policies would leave as it is says nothing of them', () => {
    const flow = flowOf({ auditReason: DropReason.POLICY_INGRESS });
    expect(flow).toMatchObject({ verdict: 'allowed', egress_rule: 'default/out egress[0]' });
    expect(flow).not.toHaveProperty('audit');
    expect(flow).not.toHaveProperty('isolated_by');
  });

  it('that they would drop says by which rule', () => {
    const audited = {
      audited: 1,
      auditReason: DropReason.POLICY_INGRESS_DENY,
      auditEgressRule: 7,
      auditIngressRule: 8,
    };
    expect(flowOf(audited)?.audit).toEqual({
      verdict: 'dropped',
      reason: 'POLICY_INGRESS_DENY',
      egress_rule: 'default/out egress[0]',
      ingress_rule: '-/shut ingress[2]',
    });
  });

  it('that they would drop by default says what would isolate that side', () => {
    const audited = { audited: 1, auditReason: DropReason.POLICY_EGRESS, sourceIdentity: 300 };
    expect(flowOf(audited)?.audit).toEqual({
      verdict: 'dropped',
      reason: 'POLICY_EGRESS',
      isolated_by: ['default/egress-audited'],
    });
  });

  it.each([
    ['the source', { reason: DropReason.POLICY_EGRESS, sourceIdentity: 300 }, ['default/egress']],
    ['the destination', { reason: DropReason.POLICY_INGRESS, destinationIdentity: 300 }, ['default/ingress']],
    ['nobody that a policy isolates', { reason: DropReason.POLICY_EGRESS }, undefined],
    ['a rule', { reason: DropReason.POLICY_EGRESS_DENY, sourceIdentity: 300 }, undefined],
  ])('dropped by default of %s', (_name, more, expected) => {
    const flow = flowOf({ kind: EventKind.DROP, ...more });
    expect(flow?.verdict).toBe('dropped');
    expect(flow?.isolated_by).toEqual(expected);
  });
});

it('what the programs told is kept beside it, the last ones only, in order', () => {
  const log = new FlowLog(reader, isolating);
  log.record(Array.from({ length: 5000 }, (_, index) => event({ length: index })));
  const kept = log.recorded();
  expect(kept.map(({ event: { length } }) => length)).toEqual(
    Array.from({ length: 4096 }, (_, index) => 904 + index),
  );
  expect(kept.every(({ event: { length }, flow }) => flow.bytes === length)).toBe(true);
});
