/** Options by which a user of Docker says what Docker itself has no words for. */
import { z } from 'zod';
import { type Bandwidth, bandwidth } from '../model/bandwidth.js';
import { AppError, parseWith } from '../model/errors.js';
import { dnsLabel, type Labels, labelPairs, labels } from '../model/names.js';
import { type NetworkRequest, networkRequest } from '../model/network.js';

/** Of the options of a network, those that the user gave (`-o`). */
const GENERIC = 'com.docker.network.generic';
const INTERNAL = 'com.docker.network.internal';
/** What other drivers of Docker call the MTU. */
const DOCKER_MTU = 'com.docker.network.driver.mtu';
const PREFIX = 'quantum.';

/** Of the driver and of IPAM alike: the network is one that exists. */
export const EXISTING = 'quantum.network';

const OPTIONS = [
  'quantum.name',
  'quantum.isolation_mode',
  'quantum.peers',
  'quantum.labels',
  'quantum.mtu',
  'quantum.multicast',
  'quantum.broadcast',
  'quantum.masquerade',
  DOCKER_MTU,
] as const;
type Option = (typeof OPTIONS)[number];

/** Label of networks that were made for Docker. */
export const MADE_BY_LABEL = 'quantum.network/made-by';
export const MADE_BY_DOCKER = 'docker';

/** What `docker network create` asks for beside addresses. */
export type NetworkOptions =
  | { existing: string }
  | { existing?: undefined; request: (ranges: Ranges) => NetworkRequest };

export interface Ranges {
  cidr?: string | undefined;
  gateway?: string | undefined;
  cidr6?: string | undefined;
  gateway6?: string | undefined;
}

/** Throws INVALID_REQUEST. */
export function networkOptions(networkId: string, options: Record<string, unknown> = {}): NetworkOptions {
  if (options[INTERNAL] === true) {
    throw invalid('--internal', `is not supported: say who may talk by -o ${PREFIX}isolation_mode`);
  }
  const schema = z.record(z.string(), z.string().max(4096)).nullish();
  const given = parseWith(schema, options[GENERIC], 'INVALID_REQUEST', 'options') ?? {};
  const { [EXISTING]: existing, ...others } = given;
  const keys = Object.keys(others);
  if (existing !== undefined) {
    const other = keys[0];
    if (other !== undefined) throw invalid(other, `goes not together with ${EXISTING}: that network exists`);
    return { existing: parseWith(dnsLabel, existing, 'INVALID_REQUEST', EXISTING) };
  }
  const unknown = keys.find((key) => !OPTIONS.some((known) => known === key));
  if (unknown !== undefined) {
    throw invalid(unknown, `is not known; there are ${[EXISTING, ...OPTIONS].join(', ')}`);
  }
  const option = (name: Option) => (Object.hasOwn(others, name) ? others[name] : undefined);
  return { request: (ranges) => requestOf(networkId, option, ranges) };
}

function requestOf(
  networkId: string,
  option: (name: Option) => string | undefined,
  ranges: Ranges,
): NetworkRequest {
  const given = option('quantum.labels');
  const wanted = {
    name: option('quantum.name') ?? defaultName(networkId),
    ...defined({ ...ranges, isolation_mode: option('quantum.isolation_mode') }),
    ...defined({ peers: option('quantum.peers')?.split(',') }),
    labels: {
      ...(given === undefined ? {} : parseLabels(given, 'quantum.labels')),
      [MADE_BY_LABEL]: MADE_BY_DOCKER,
    },
    options: defined({
      mtu: wholeNumber('quantum.mtu', option('quantum.mtu') ?? option(DOCKER_MTU)),
      multicast: yesOrNo('quantum.multicast', option('quantum.multicast')),
      broadcast: yesOrNo('quantum.broadcast', option('quantum.broadcast')),
      masquerade: yesOrNo('quantum.masquerade', option('quantum.masquerade')),
    }),
  };
  return parseWith(networkRequest, wanted, 'INVALID_REQUEST', 'network');
}

/** Docker does not tell its name of a network to drivers, only its id. */
function defaultName(networkId: string): string {
  return `docker-${networkId.slice(0, 12).toLowerCase()}`;
}

/** What `--network name=…,driver-opt=…` says of an endpoint. */
export interface EndpointOptions {
  labels: Labels | undefined;
  namespace: string | undefined;
  bandwidth: Bandwidth | undefined;
}

const LIMITS = ['ingress_rate', 'ingress_burst', 'egress_rate', 'egress_burst'] as const;
const ENDPOINT_OPTIONS = [
  'quantum.labels',
  'quantum.namespace',
  ...LIMITS.map((name) => `${PREFIX}${name}` as const),
] as const;

/** Throws INVALID_REQUEST. Options of others are theirs. */
export function endpointOptions(options: Record<string, unknown> = {}): EndpointOptions {
  const unknown = Object.keys(options).find(
    (key) => key.startsWith(PREFIX) && !ENDPOINT_OPTIONS.some((known) => known === key),
  );
  if (unknown !== undefined) throw invalid(unknown, `is not known; there are ${ENDPOINT_OPTIONS.join(', ')}`);
  const given = options['quantum.labels'];
  const namespace = options['quantum.namespace'];
  return {
    labels: given === undefined ? undefined : parseLabels(given, 'quantum.labels'),
    namespace:
      namespace === undefined
        ? undefined
        : parseWith(dnsLabel, namespace, 'INVALID_REQUEST', 'quantum.namespace'),
    bandwidth: limitsOf(options),
  };
}

function limitsOf(options: Record<string, unknown>): Bandwidth | undefined {
  const given = LIMITS.flatMap((name) => {
    const text = options[`${PREFIX}${name}`];
    if (text === undefined) return [];
    return [[name, wholeNumber(`${PREFIX}${name}`, typeof text === 'string' ? text : '')] as const];
  });
  if (given.length === 0) return undefined;
  return parseWith(bandwidth, Object.fromEntries(given), 'INVALID_REQUEST', 'limit of bandwidth');
}

/** `a=b,c=d`. Of a list, also as Docker's command line writes one with more than one comma: with `;`. */
function parseLabels(text: unknown, what: string): Labels {
  const pairs = typeof text === 'string' ? labelPairs(text.replaceAll(';', ',')) : undefined;
  if (pairs === undefined) throw invalid(what, 'must be labels such as app=web;tier=front');
  return parseWith(labels, Object.fromEntries(pairs), 'INVALID_REQUEST', what);
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(text)) throw invalid(name, 'must be a whole number');
  return Number(text);
}

function yesOrNo(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (text !== 'true' && text !== 'false') throw invalid(name, 'must be true or false');
  return text === 'true';
}

/** Without what is undefined. */
function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function invalid(path: string, message: string): AppError {
  return new AppError('INVALID_REQUEST', `${path} ${message}`, { details: [{ path, message }] });
}
