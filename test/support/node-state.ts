/**
 * All that a daemon keeps on its node, as text that can be compared: interfaces, pins, entries of the maps that it
 * writes, files, and what its API tells. What the programs write (connections, counters, events) is left out.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RANGE_METRIC } from '../../src/bridge/network-device.js';
import {
  CidrValue,
  ConntrackKey,
  Control,
  PolicyValue,
  SubjectValue,
  Verdict,
} from '../../src/datapath/abi/generated.js';
import { formatAddress, fromBytes16 } from '../../src/model/address.js';
import { BpfMap } from '../../src/native/bpf.js';
import type { Daemon } from './daemon.js';

const WRITTEN_BY_DAEMON = [
  'endpoints',
  'addresses',
  'prefixes',
  'policy',
  'policy_subjects',
  'policy_cidrs',
  'named_ports',
  'frontends',
  'bandwidth',
];
const LISTS = [
  'networks',
  'endpoints',
  'identities',
  'namespaces',
  'policies',
  'nat/port-mappings',
  'services',
];

export interface NodeState {
  interfaces: string[];
  addresses: string[];
  routes: string[];
  neighbours: string[];
  pins: string[];
  maps: Record<string, string[]>;
  files: Record<string, string>;
  api: Record<string, unknown>;
}

export async function nodeState(daemon: Daemon): Promise<NodeState> {
  const api: NodeState['api'] = {};
  for (const list of LISTS) api[list] = await daemon.rest.expect('GET', `/${list}`);
  return { ...kernelState(daemon), files: filesIn(daemon.path('conf')), api };
}

/** The part that is there without a daemon. */
export function kernelState({ netns, bpffs }: Daemon): Omit<NodeState, 'files' | 'api'> {
  const { rtnl } = netns.net;
  const links = rtnl.links();
  const nameOf = (index: number | undefined) => links.find((link) => link.index === index)?.name ?? index;
  const maps: NodeState['maps'] = {};
  for (const name of WRITTEN_BY_DAEMON) maps[name] = mapEntries(join(bpffs, 'maps'), name);
  return {
    interfaces: links.map(({ name, mac, up, mtu, alias }) => `${name} ${mac} ${up} ${mtu} ${alias}`).sort(),
    addresses: rtnl
      .addresses()
      .map(({ index, address, prefixLength }) => `${nameOf(index)} ${address}/${prefixLength}`)
      .sort(),
    routes: [
      ...rtnl.routes().map(({ destination, via, index }) => `${destination} via ${via} dev ${nameOf(index)}`),
      ...rtnl.unreachable(RANGE_METRIC).map((destination) => `unreachable ${destination}`),
    ].sort(),
    neighbours: rtnl
      .neighbours()
      .filter(({ state }) => state === 'permanent')
      .map(({ index, address, mac }) => `${address} ${mac} dev ${nameOf(index)}`)
      .sort(),
    pins: existsSync(bpffs) ? readdirSync(bpffs, { recursive: true, encoding: 'utf8' }).sort() : [],
    maps,
  };
}

/** `KEY VALUE`, keys in hexadecimal. Of policies, what counts now: their other slot may lag behind. */
function mapEntries(directory: string, name: string): string[] {
  const path = join(directory, `qn_${name}`);
  if (!existsSync(path)) return [];
  using map = BpfMap.fromPin(path);
  const read = SLOTTED[name]?.(slotInForce(directory)) ?? hex;
  return [...map.keys()]
    .flatMap((key) => {
      const value = map.get(key);
      const text = value && read(value);
      return text === undefined ? [] : [`${hex(key)} ${text}`];
    })
    .sort();
}

/** For maps whose values have two slots: what one of them says, if it says anything. */
const SLOTTED: Record<string, (slot: 0 | 1) => (value: Uint8Array) => string | undefined> = {
  policy: (slot) => (value) => {
    const decision = PolicyValue.decode(value).slot[slot];
    return decision.verdict === Verdict.NONE ? undefined : JSON.stringify(decision);
  },
  policy_subjects: (slot) => (value) => {
    const subject = SubjectValue.decode(value).slot[slot];
    return subject.present === 0 ? undefined : JSON.stringify(subject);
  },
  policy_cidrs: (slot) => (value) => {
    const cidrClass = CidrValue.decode(value).slot[slot];
    return cidrClass === 0 ? undefined : String(cidrClass);
  },
};

function slotInForce(directory: string): 0 | 1 {
  using control = BpfMap.fromPin(join(directory, 'qn_control'));
  const value = control.get(new Uint8Array(4));
  return value !== undefined && Control.decode(value).policyEpoch & 1 ? 1 : 0;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The connections that the programs remember of an address. */
export function connectionsOf({ bpffs }: Daemon, address: string): ConntrackKey[] {
  using map = BpfMap.fromPin(join(bpffs, 'maps/qn_conntrack'));
  return [...map.keys()]
    .map((key) => ConntrackKey.decode(key))
    .filter((key) => [key.addressA, key.addressB].some((bytes) => textOf(bytes) === address));
}

function textOf(bytes: Uint8Array): string | undefined {
  const address = fromBytes16(bytes);
  return address && formatAddress(address);
}

/** Texts of the files in a directory, by name. */
export function filesIn(directory: string): Record<string, string> {
  if (!existsSync(directory)) return {};
  return Object.fromEntries(
    readdirSync(directory)
      .sort()
      .map((name) => [name, readFileSync(join(directory, name), 'utf8')]),
  );
}
