/** What a change of policies would change between whom, and which of the recorded flows it would have dropped. */
import { type Event, EventKind, Identity as WellKnown } from '../../datapath/abi/generated.js';
import { type PacketPeer, RuleTable } from '../../firewall/lookup.js';
import { previewChanges } from '../../firewall/preview.js';
import type { PreviewIdentity, PreviewParty } from '../../firewall/preview-types.js';
import { judgeSides, passes } from '../../firewall/sides.js';
import { type Address, cidrContains, formatAddress, parseCidr } from '../../model/address.js';
import { CUT_OFF_TOLD } from '../../model/cut-off.js';
import type { Endpoint } from '../../model/endpoint.js';
import { PROTOCOL_NUMBERS } from '../../model/names.js';
import type { PolicyChange, PolicyChangeParty } from '../../model/policy-preview.js';
import type { Rtnl } from '../../native/net.js';
import type { Reader } from '../../store/store.js';
import { endpoints, identities } from '../../store/tables.js';
import type { Steps } from '../../work/steps.js';
import { inTurns } from '../../work/turns.js';
import type { FlowEvent, PolicyPreview } from '../contract.js';
import type { FlowLog } from '../flow-log.js';
import { type HostPrefixes, ownRanges } from '../host-prefixes.js';
import { portNames } from '../parties.js';
import { cutOffsTold } from './cut-offs.js';
import type { AffectedRules, EngineChange, PolicySync } from './policy-sync.js';

/** Decisions of one side about one range of ports: a few seconds of work. */
const DECISIONS_MAX = 200_000;
const CHANGES_MAX = 1000;
const FLOWS_MAX = 100;

/** Addresses of a node that no packet of a container can be sent to. */
const UNREACHABLE = ['127.0.0.0/8', '::1/128', 'fe80::/10'].map((text) => parseCidr(text));

const PROTOCOLS = new Map<number, PolicyChange['protocol']>([
  [0, 'any'],
  [1, 'ICMP'],
  [PROTOCOL_NUMBERS.TCP, 'TCP'],
  [PROTOCOL_NUMBERS.UDP, 'UDP'],
  [PROTOCOL_NUMBERS.SCTP, 'SCTP'],
]);

export interface PreviewParts {
  store: Reader;
  policy: PolicySync;
  host: Rtnl;
  prefixes: Pick<HostPrefixes, 'inside'>;
  flows: FlowLog;
}

type TableOf = (identity: number) => Steps<RuleTable>;

type Tables = ReadonlyMap<number, { readonly before: RuleTable; readonly after: RuleTable }>;

/**
 * Nothing may change while this goes on. Throws what the change would throw because it does not fit.
 */
export async function previewPolicies(
  parts: PreviewParts,
  apply: EngineChange,
  undo: EngineChange,
): Promise<PolicyPreview> {
  const { policy, store, host, prefixes, flows } = parts;
  const rules = await policy.preview(apply, undo);
  const affected = await tablesOf(rules);
  const known = new Map<number, RuleTable>();
  const tableOf: TableOf = function* (identity) {
    const found = known.get(identity);
    if (found !== undefined) return found;
    const table = yield* RuleTable.making(yield* policy.takingRulesInForce(identity));
    known.set(identity, table);
    return table;
  };
  const found = await inTurns(
    previewChanges({
      identities: identitiesOf(store),
      affected,
      tableOf,
      host: ownRanges(store, host)
        .map(({ family, base: value }) => ({ family, value }))
        .filter(isReachable)
        .map(formatAddress),
      inside: prefixes.inside(),
      limits: { decisions: DECISIONS_MAX, changes: CHANGES_MAX },
    }),
  );
  const broken = await inTurns(brokenFlows(store, flows, affected, tableOf));
  return {
    changes: found.changes.map(({ source, destination, protocol, ...change }) => ({
      source: describe(store, source),
      destination: describe(store, destination),
      protocol: PROTOCOLS.get(protocol) ?? 'any',
      ...change,
    })),
    flows: broken.slice(0, FLOWS_MAX),
    cut_off: cutOffsTold(store, rules.cutOff),
    truncated:
      rules.truncated || found.truncated || broken.length > FLOWS_MAX || rules.cutOff.size > CUT_OFF_TOLD,
  };
}

function tablesOf({ subjects }: AffectedRules): Promise<Tables> {
  function* tables(): Steps<Tables> {
    const made = new Map<number, { before: RuleTable; after: RuleTable }>();
    for (const [identity, { before, after }] of subjects) {
      made.set(identity, {
        before: yield* RuleTable.making(before),
        after: yield* RuleTable.making(after),
      });
    }
    return made;
  }
  return inTurns(tables());
}

/** Flows that were allowed, still are, and would not be; the newest first, one more than are told. */
function* brokenFlows(store: Reader, flows: FlowLog, affected: Tables, tableOf: TableOf): Steps<FlowEvent[]> {
  const broken: FlowEvent[] = [];
  const passesBy = (event: Event, tables: (identity: number) => RuleTable): boolean => {
    const source = peerOf(store, event.sourceIdentity, event.source);
    const destination = peerOf(store, event.destinationIdentity, event.destination);
    if (source === undefined || destination === undefined) return false;
    const endpoint = store.get(endpoints, [event.destinationEndpointId]);
    const { protocol, destinationPort } = event;
    const port = hasPorts(protocol) ? destinationPort : 0;
    const names = endpoint === undefined ? [] : portNames(endpoint, protocol, port);
    return passes(judgeSides(tables, { source, destination, protocol, port, names }, { audit: false }));
  };
  for (const { event, flow } of flows.recorded().reverse()) {
    if (broken.length > FLOWS_MAX) break;
    const isTouched = affected.has(event.sourceIdentity) || affected.has(event.destinationIdentity);
    if (event.kind !== EventKind.FLOW || !isTouched) continue;
    yield;
    const stays = new Map<number, RuleTable>();
    for (const identity of [event.sourceIdentity, event.destinationIdentity]) {
      if (!affected.has(identity)) stays.set(identity, yield* tableOf(identity));
    }
    const rules = (when: 'before' | 'after') => (identity: number) =>
      affected.get(identity)?.[when] ?? stays.get(identity) ?? new RuleTable();
    if (passesBy(event, rules('before')) && !passesBy(event, rules('after'))) broken.push(flow);
  }
  return broken;
}

/** Undefined: nobody has that identity any more. */
function peerOf(store: Reader, identity: number, address: Uint8Array): PacketPeer | undefined {
  if (identity === WellKnown.HOST) return { kind: 'host', address };
  if (identity === WellKnown.WORLD) return { kind: 'world', address };
  const known = store.get(identities, [identity]);
  return known && { kind: 'identity', id: identity, network_id: known.network_id, address };
}

function hasPorts(protocol: number): boolean {
  return Object.values(PROTOCOL_NUMBERS).includes(protocol);
}

/** Every identity that some endpoint has, in the order of their numbers. */
function identitiesOf(store: Reader): PreviewIdentity[] {
  const members = new Map<number, Endpoint[]>();
  for (const endpoint of store.list(endpoints)) {
    const others = members.get(endpoint.identity);
    if (others === undefined) members.set(endpoint.identity, [endpoint]);
    else others.push(endpoint);
  }
  return store.list(identities).flatMap(({ id, network_id }) => {
    const found = members.get(id);
    return found === undefined ? [] : { id, network_id, endpoints: found.map(previewEndpoint) };
  });
}

function previewEndpoint({ ip_address, ip6_address, ports }: Endpoint): PreviewIdentity['endpoints'][number] {
  return {
    addresses: [ip_address, ip6_address].filter((address) => address !== undefined),
    ports: ports.flatMap(({ name, protocol, container_port: port }) =>
      name === undefined ? [] : { name, protocol: PROTOCOL_NUMBERS[protocol], port },
    ),
  };
}

function describe(store: Reader, party: PreviewParty): PolicyChangeParty {
  if (party.kind === 'host')
    return { kind: 'host', ...(party.addresses && { addresses: [...party.addresses] }) };
  if (party.kind === 'world') {
    const { range, except } = party;
    return { kind: 'world', ...(range && { range }), ...(except && { except: [...except] }) };
  }
  const identity = store.get(identities, [party.id]);
  if (identity === undefined) throw new Error(`identity ${party.id} is gone`);
  const { id, network, namespace, labels } = identity;
  const some = party.addresses && { addresses: [...party.addresses] };
  return { kind: 'identity', identity: id, network, namespace, labels, ...some };
}

function isReachable(address: Address): boolean {
  return !UNREACHABLE.some((range) => cidrContains(range, address));
}
