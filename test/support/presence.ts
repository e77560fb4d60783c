/** What there is on the node, in its containers and in the maps of the programs, a line for each thing: see demand.ts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { QueueKind } from '../../src/bridge/queue-kinds.js';
import {
  DenyKeyBits,
  type PolicyDecision,
  type PolicyKey,
  PrefixKind,
  type SubjectSlot,
} from '../../src/datapath/abi/generated.js';
import type { NamedPort } from '../../src/datapath/endpoint-table.js';
import { adoptFrontends } from '../../src/datapath/frontend-adoption.js';
import { type DatapathMaps, openMaps } from '../../src/datapath/maps.js';
import {
  CIDR_CLASSES,
  cidrOfKey,
  DECISIONS,
  type PolicyCidr,
  SUBJECTS,
} from '../../src/datapath/policy-cells.js';
import { policyCidrText } from '../../src/datapath/policy-table.js';
import { formatAddress, fromBytes16 } from '../../src/model/address.js';
import { type FrontendState, placeText } from '../../src/nat/frontend.js';
import type { Daemon } from './daemon.js';
import type { TestNetns } from './netns.js';
import { filesIn, kernelState } from './node-state.js';

/** Whose the ranges of no network are. */
const OWNERS = new Map<number, string>([
  [PrefixKind.HOST, 'the node'],
  [PrefixKind.SERVICE, 'services'],
]);

export async function presenceOn(daemon: Daemon, containers: readonly TestNetns[]): Promise<string[]> {
  using maps = openMaps(join(daemon.bpffs, 'maps'));
  return [...presentOutside(daemon), ...presentIn(containers), ...(await presentInMaps(daemon, maps))];
}

/** A rule in force. */
export function ruleLine(key: PolicyKey, { verdict, rule, precedence }: PolicyDecision): string {
  return `rule ${JSON.stringify(key)}: ${verdict} by ${rule} at ${precedence}`;
}

export function subjectLine(identity: number, slot: SubjectSlot): string {
  return `subject ${identity}: ${JSON.stringify(slot)}`;
}

export function rangeLine(range: PolicyCidr, cidrClass: number): string {
  return `range ${policyCidrText(range)}: class ${cidrClass}`;
}

export function namedPortLine(endpointId: number, { protocol, port, names }: NamedPort): string {
  return `port ${port} of protocol ${protocol} of endpoint ${endpointId}: names ${names}`;
}

/** A place that clients connect to, and all who serve there. */
export function frontendLine(frontend: Omit<FrontendState, 'backends'>, backends: readonly string[]): string {
  const { id, affinitySeconds, isServiceAddress } = frontend;
  const kind = isServiceAddress ? 'a service' : 'the node';
  const served = [...backends].sort().join(' ');
  return `frontend ${id} at ${placeText(frontend)} of ${kind}, ${affinitySeconds} s: ${served}`;
}

export function deniedLine(cidr: string): string {
  return `denied ${cidr}`;
}

/** A queue that keeps to a limit, by the name of its interface; one by departure times knows no rate. */
export function queueLine(on: string, kind: QueueKind, rate: number): string {
  return `queue of ${on}, ${kind}${kind === 'tbf' ? ` for ${rate} bytes a second` : ''}`;
}

/** What the programs keep of a limit. */
export function limitLine(endpointId: number, direction: number): string {
  return `limit of endpoint ${endpointId} in direction ${direction}`;
}

function queuesOf({ rtnl }: TestNetns['net'], where = ''): string[] {
  return rtnl.links().flatMap(({ index, name }) => {
    const queue = rtnl.queue(index);
    if (queue === undefined) return [];
    return [queueLine(`${where}${name}`, queue.kind, queue.kind === 'tbf' ? queue.rate : 0)];
  });
}

function presentOutside(daemon: Daemon): string[] {
  const state = kernelState(daemon);
  const isOurs = (line: string) => !/(^|dev )lo\b/.test(line);
  const files = Object.entries(filesIn(daemon.path('conf')));
  const mark = join(daemon.path('run'), 'expedited');
  return [
    // Of an endpoint's interface the MAC address is random, and nobody ever sees it.
    ...state.interfaces
      .filter(isOurs)
      .map((line) => `interface ${line.replace(/^(qn[0-9a-f]{8}) \S+/, '$1 *')}`),
    ...queuesOf(daemon.netns.net),
    ...state.addresses.filter(isOurs).map((line) => `address ${line}`),
    ...state.routes.filter(isOurs).map((line) => `route ${line}`),
    ...state.neighbours.map((line) => `neighbour ${line}`),
    ...state.pins.filter((pin) => !/^(links|maps|maps\/qn_[a-z_]+)$/.test(pin)).map((pin) => `pin ${pin}`),
    ...files.map(([name, text]) => `file ${name} ${text}`),
    ...(existsSync(mark) ? ['mark of a switch that is on'] : []),
  ];
}

function presentIn(containers: readonly TestNetns[]): string[] {
  return containers.flatMap(({ path, net }) => {
    const { rtnl } = net;
    const links = rtnl.links().filter(({ name }) => name !== 'lo');
    const names = new Map(links.map(({ index, name }) => [index, name]));
    return [
      ...links.map(({ name, mac, up, mtu }) => `container interface ${path} ${name} ${mac} ${up} ${mtu}`),
      ...queuesOf(net, `${path} `),
      ...rtnl
        .addresses()
        .filter(({ index, scope }) => names.has(index) && scope !== 'link')
        .map(
          ({ index, address, prefixLength }) =>
            `container address ${path} ${names.get(index)} ${address}/${prefixLength}`,
        ),
    ];
  });
}

async function presentInMaps(daemon: Daemon, maps: DatapathMaps): Promise<string[]> {
  const names = new Map(daemon.netns.net.rtnl.links().map(({ index, name }) => [index, name]));
  const slot = ((maps.control.get(0)?.policyEpoch ?? 0) & 1) as 0 | 1;
  const lines: string[] = [];
  for (const [ifindex, entry] of await maps.endpoints.entries()) {
    const ips = [entry.ip4, entry.ip6].flatMap((bytes) => textOf(bytes) ?? []).join(' ');
    lines.push(
      `entry of ${names.get(ifindex)}: endpoint ${entry.id} network ${entry.networkId} identity ${entry.identity} ${macOf(entry.mac)} ${macOf(entry.gatewayMac)} ${ips}`,
    );
    if (entry.ifindex !== ifindex) lines.push(`entry of ${names.get(ifindex)} that names ${entry.ifindex}`);
  }
  for (const [{ address, networkId }, entry] of await maps.addresses.entries()) {
    lines.push(
      `entry of ${textOf(address)} in network ${networkId}: ${names.get(entry.ifindex)} endpoint ${entry.endpointId}`,
    );
  }
  for (const [key, { kind, networkId }] of await maps.prefixes.entries()) {
    const address = textOf(key.address) ?? '::';
    const length = key.prefixLength - (address.includes(':') ? 0 : 96);
    const owner = networkId === 0 ? OWNERS.get(kind) : undefined;
    lines.push(`prefix ${address}/${length} of ${owner ?? `network ${networkId}`}`);
  }
  // What the other slots still have goes with the next change.
  for (const [key, { slot: slots, key: copy }] of await maps.policy.entries()) {
    if (DECISIONS.isNothing(slots[slot])) continue;
    const line = ruleLine(copy, slots[slot]);
    lines.push(ruleLine(key, slots[slot]) === line ? line : `${line}, under ${JSON.stringify(key)}`);
  }
  for (const [{ identity }, { key, slot: slots }] of await maps.subjects.entries()) {
    if (SUBJECTS.isNothing(slots[slot])) continue;
    const line = subjectLine(identity, slots[slot]);
    lines.push(key.identity === identity ? line : `${line}, that names ${key.identity}`);
  }
  for (const [key, { slot: slots, key: copy }] of await maps.cidrs.entries()) {
    if (CIDR_CLASSES.isNothing(slots[slot])) continue;
    const range = cidrOfKey(copy);
    const line = range === undefined ? `range ${JSON.stringify(key)}` : rangeLine(range, slots[slot]);
    lines.push(isSame([key, copy]) ? line : `${line}, under ${JSON.stringify(key)}`);
  }
  for (const [{ endpointId, ...key }, { name }] of await maps.namedPorts.entries()) {
    lines.push(namedPortLine(endpointId, { ...key, names: name.filter((number) => number !== 0) }));
  }
  for (const [{ endpointId, direction }] of await maps.bandwidth.entries())
    lines.push(limitLine(endpointId, direction));
  lines.push(...(await presentFrontends(maps)));
  for (const [{ prefixLength, address }] of await maps.deny.entries()) {
    const text = textOf(address) ?? '::';
    const length = prefixLength - DenyKeyBits.BITS - (text.includes(':') ? 0 : 96);
    lines.push(deniedLine(`${text}/${length}`));
  }
  const live = new Set((await maps.endpoints.entries()).map(([, { id }]) => id));
  for (const [id] of await maps.flowCounts.entries()) {
    if (id !== 0 && !live.has(id)) lines.push(`account of flows of endpoint ${id}`);
  }
  return lines;
}

async function presentFrontends(maps: DatapathMaps): Promise<string[]> {
  const { frontends, broken, stray } = await adoptFrontends(maps);
  return [
    ...[...frontends.values()].map((frontend) => {
      const line = frontendLine(frontend, [...frontend.places.keys()]);
      return frontend.isWhole ? line : `${line}, half made`;
    }),
    ...broken.map((key) => `frontend that is none: ${JSON.stringify(key)}`),
    ...stray.map(([index, { frontendId }]) => `backend ${index} of frontend ${frontendId} without a slot`),
  ];
}

function isSame([first, second]: readonly [unknown, unknown]): boolean {
  return JSON.stringify(first) === JSON.stringify(second);
}

function textOf(bytes: Uint8Array): string | undefined {
  const address = fromBytes16(bytes);
  return address && formatAddress(address);
}

function macOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
