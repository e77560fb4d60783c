/**
 * The few words that random policies are made of, so that what they say meets: ranges around the addresses that
 * there are, nested in each other, and the addresses at their edges.
 */
import { isInCidr } from './policy-oracle-match.js';

export const NETWORK_IDS = [1, 2, 3];
export const ENDPOINT_IDS = [11, 12, 13, 14, 15, 16];
export const NAMESPACES = ['default', 'prod', 'test'];
export const NAME_LABEL = 'kubernetes.io/metadata.name';
/** `constructor` is a property of every object, but a label of those alone that carry it. */
export const LABEL_KEYS = ['app', 'tier', 'constructor'];
export const LABEL_VALUES = ['', 'a', 'b'];
export const PORT_NAMES = ['web', 'dns', 'metrics'];
export const POLICY_NAMES = ['p1', 'p2', 'p3', 'p4'];

export type Family = 4 | 6;

export const networkName = (id: number) => `n${id}`;

/** As endpointOf() in scenario.ts gives them. */
export function addressOfEndpoint(networkId: number, id: number, family: Family): string {
  return family === 4 ? `10.${networkId}.0.${id}` : `fd00:${networkId}::${id.toString(16)}`;
}

/** The node's own address, and its address in each network: the gateway. */
export const HOST_ADDRESSES = {
  4: ['10.99.0.5', ...NETWORK_IDS.map((id) => `10.${id}.0.1`)],
  6: ['fd00:99::5', ...NETWORK_IDS.map((id) => `fd00:${id}::1`)],
} as const;

/** Outside: in, at the edges of, and just beside the ranges below. */
export const WORLD_ADDRESSES = {
  4: [
    '198.18.0.0',
    '198.18.3.255',
    '198.18.4.0',
    '198.18.5.8',
    '198.18.5.9',
    '198.18.5.10',
    '198.18.7.255',
    '198.18.8.0',
    '198.18.255.255',
    '198.19.0.0',
    '198.19.255.255',
    '198.20.0.0',
    '198.17.255.255',
    '10.99.0.4',
    '10.99.0.6',
    '10.200.0.1',
    '9.255.255.255',
    '11.0.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '223.255.255.255',
  ],
  6: [
    'fd99::',
    'fd99::3fff:ffff',
    'fd99::4000:0',
    'fd99::4100:8',
    'fd99::4100:9',
    'fd99::4100:a',
    'fd99::43ff:ffff',
    'fd99::4400:0',
    'fd99::ffff:ffff',
    'fd99:0:0:0:0:1::',
    'fd99:1::',
    'fd98:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    'fd00:99::4',
    'fd00:99::6',
    'fd00:200::1',
    'fd01::',
    'fcff::1',
    '2001:db8::1',
    '8000::',
    '7fff:ffff::',
  ],
} as const;

const WORLD_RANGES = {
  4: [
    '0.0.0.0/0',
    '0.0.0.0/1',
    '128.0.0.0/1',
    '198.18.0.0/15',
    '198.18.0.0/16',
    '198.18.4.0/22',
    '198.18.5.8/31',
    '198.18.5.9/32',
    '10.0.0.0/8',
    '10.99.0.4/31',
    '10.99.0.5/32',
  ],
  6: [
    '::/0',
    '8000::/1',
    '::/1',
    'fd99::/16',
    'fd99::/96',
    'fd99::4000:0/102',
    'fd99::4100:8/127',
    'fd99::4100:9/128',
    'fd00::/8',
    'fd00::/16',
    'fd00:99::4/127',
    'fd00:99::5/128',
  ],
} as const;

function rangesOfNetwork(id: number): string[] {
  return [
    `10.${id}.0.0/24`,
    `10.${id}.0.8/29`,
    `10.${id}.0.10/31`,
    `10.${id}.0.11/32`,
    `10.${id}.0.12/30`,
    `10.${id}.0.12/32`,
    `10.${id}.0.1/32`,
    `fd00:${id}::/64`,
    `fd00:${id}::8/125`,
    `fd00:${id}::a/127`,
    `fd00:${id}::b/128`,
    `fd00:${id}::c/126`,
    `fd00:${id}::1/128`,
  ];
}

export const RANGES: readonly string[] = [
  ...WORLD_RANGES[4],
  ...WORLD_RANGES[6],
  ...NETWORK_IDS.flatMap(rangesOfNetwork),
];

/** The ranges that are a part of one and not all of it: what an exception may be. */
export const PARTS: ReadonlyMap<string, string[]> = new Map(
  RANGES.map((whole) => [whole, RANGES.filter((part) => isPart(part, whole))]),
);

function isPart(part: string, whole: string): boolean {
  const [address = '', length] = part.split('/');
  return isInCidr(address, whole) && Number(length) > Number(whole.split('/')[1]);
}

/** Ports where something begins or ends. */
export const EDGE_PORTS = [1, 2, 79, 80, 81, 443, 1023, 1024, 32767, 32768, 65534, 65535];
