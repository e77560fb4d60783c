/** What there is on the node, in its containers and in the maps of the programs, a line for each thing: see demand.ts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type PolicyDecision,
  type PolicyKey,
  PrefixKind,
  type SubjectSlot,
} from '../../src/datapath/abi/generated.js';
import type { NamedPort } from '../../src/datapath/endpoint-table.js';
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
import type { Daemon } from './daemon.js';
import type { TestNetns } from './netns.js';
import { filesIn, kernelState } from './node-state.js';

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
    ...state.addresses.filter(isOurs).map((line) => `address ${line}`),
    ...state.routes.filter(isOurs).map((line) => `route ${line}`),
    ...state.neighbours.map((line) => `neighbour ${line}`),
    ...state.pins.filter((pin) => !/^(links|maps|maps\/qn_[a-z_]+)$/.test(pin)).map((pin) => `pin ${pin}`),
    ...files.map(([name, text]) => `file ${name} ${text}`),
    ...(existsSync(mark) ? ['mark of a switch that is on'] : []),
  ];
}

function presentIn(containers: readonly TestNetns[]): string[] {
  return containers.flatMap(({ path, net: { rtnl } }) => {
    const links = rtnl.links().filter(({ name }) => name !== 'lo');
    const names = new Map(links.map(({ index, name }) => [index, name]));
    return [
      ...links.map(({ name, mac, up, mtu }) => `container interface ${path} ${name} ${mac} ${up} ${mtu}`),
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
    const owner = kind === PrefixKind.HOST && networkId === 0 ? 'the node' : `network ${networkId}`;
    lines.push(`prefix ${address}/${length} of ${owner}`);
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
  const live = new Set((await maps.endpoints.entries()).map(([, { id }]) => id));
  for (const [id] of await maps.flowCounts.entries()) {
    if (id !== 0 && !live.has(id)) lines.push(`account of flows of endpoint ${id}`);
  }
  return lines;
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
