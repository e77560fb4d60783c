/** Capability arguments (CONVENTIONS.md of CNI, "Dynamic Plugin specific fields"): what a runtime asks for one container. */
import { z } from 'zod';
import {
  addressAt,
  anyCidr,
  cidrContains,
  cidrSize,
  formatAddress,
  ipAddress,
  parseAddress,
  parseCidr,
} from '../model/address.js';
import { type Bandwidth, bandwidth as bandwidthLimits } from '../model/bandwidth.js';
import type { CniConfiguration } from '../model/cni.js';
import { PORTS_MAX } from '../model/endpoint.js';
import { AppError, parseWith } from '../model/errors.js';
import { macAddress, protocol } from '../model/names.js';
import { dnsSettings } from '../model/network.js';

/** Capabilities whose arguments ask nothing of us. */
const IGNORED_CAPABILITIES = new Set(['aliases', 'cgroupPath']);

/** Capability by which containerd hands over the annotations of a pod. */
export const ANNOTATIONS_CAPABILITY = 'io.kubernetes.cri.pod-annotations';

/** Longest value that a message shows. */
const SHOWN_MAX = 128;

/**
 * An object that is a struct of Go at the other end: Go's decoder takes any capitals for the names of fields, so that
 * its callers may write them as they like (containerd: `HostPort`). Throws nothing; a field given twice is an issue.
 */
function goObject<Shape extends z.ZodRawShape>(shape: Shape) {
  const names = new Map(Object.keys(shape).map((name) => [name.toLowerCase(), name]));
  return z.preprocess((value, context) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const fields = new Map<string, unknown>();
    for (const [key, field] of Object.entries(value)) {
      const name = names.get(key.toLowerCase()) ?? key;
      if (fields.has(name)) {
        context.issues.push({ code: 'custom', path: [name], message: 'is given twice', input: value });
      }
      fields.set(name, field);
    }
    return Object.fromEntries(fields);
  }, z.looseObject(shape));
}

/** What Go writes for a text that is not set. */
const unset = z.literal('').transform(() => undefined);

/** An address, with or without a prefix length; that of the network counts. */
export const plainAddress = z
  .string()
  .max(64)
  .transform((text) => text.replace(/\/[0-9]{1,3}$/, ''))
  .pipe(ipAddress);

const portMapping = goObject({
  hostPort: z.int().min(0).max(65535),
  containerPort: z.int().min(1).max(65535),
  protocol: z.union([unset, z.string().toUpperCase().pipe(protocol)]).default('TCP'),
  hostIP: z.union([unset, ipAddress]).nullish(),
});

/** Go writes 0 for a number that is not set. */
const bits = (field: keyof typeof bandwidthLimits.shape) =>
  z.preprocess((value) => (value === 0 ? undefined : value), bandwidthLimits.shape[field].nullable());

/**
 * What CRI runtimes say of bursts, of which pods have nothing to say, is the largest number that they have: 2^31-1 (the
 * kubelet of old), 2^32-1 (containerd), or eight times that (CRI-O). So this much or more is as good as unsaid.
 */
const CRI_BURST = 2 ** 31 - 1;

const burstBits = (field: 'ingress_burst' | 'egress_burst') =>
  z.preprocess(
    (value) => (Number.isSafeInteger(value) && Number(value) > CRI_BURST ? CRI_BURST : value),
    bits(field),
  );

const bandwidth = goObject({
  ingressRate: bits('ingress_rate'),
  ingressBurst: burstBits('ingress_burst'),
  egressRate: bits('egress_rate'),
  egressBurst: burstBits('egress_burst'),
}).transform((given, context): Bandwidth | undefined => {
  const limit = (rateField: 'ingressRate' | 'egressRate', burstField: 'ingressBurst' | 'egressBurst') => {
    const [rate, burst] = [given[rateField] ?? undefined, given[burstField] ?? undefined];
    const complain = (field: string, message: string) =>
      context.issues.push({ code: 'custom', path: [field], message, input: given });
    if (rate !== undefined && burst === undefined) complain(burstField, `is needed with ${rateField}`);
    if (rate === undefined && burst !== undefined) complain(rateField, `is needed with ${burstField}`);
    return { rate, burst: burst === CRI_BURST ? undefined : burst };
  };
  const ingress = limit('ingressRate', 'ingressBurst');
  const egress = limit('egressRate', 'egressBurst');
  const fields = {
    ingress_rate: ingress.rate,
    ingress_burst: ingress.burst,
    egress_rate: egress.rate,
    egress_burst: egress.burst,
  };
  const asked = Object.entries(fields).filter(([, value]) => value !== undefined);
  return asked.length === 0 ? undefined : Object.fromEntries(asked);
});

/** A range in the form of `host-local`, and the first and last address that it offers. */
const ipRange = goObject({
  subnet: anyCidr,
  rangeStart: z.union([unset, ipAddress]).nullish(),
  rangeEnd: z.union([unset, ipAddress]).nullish(),
  gateway: z.union([unset, ipAddress]).nullish(),
}).transform(({ subnet, rangeStart, rangeEnd, gateway }, context) => {
  const cidr = parseCidr(subnet);
  const at = (field: 'rangeStart' | 'rangeEnd', text: string | null | undefined, offset: bigint) => {
    if (text == null) return addressAt(cidr, offset);
    const address = parseAddress(text);
    if (!cidrContains(cidr, address)) {
      context.issues.push({ code: 'custom', path: [field], message: `is outside ${subnet}`, input: text });
    }
    return address;
  };
  const first = at('rangeStart', rangeStart, 0n);
  const last = at('rangeEnd', rangeEnd, cidrSize(cidr) - 1n);
  if (last.value < first.value) {
    const message = 'is less than rangeStart';
    context.issues.push({ code: 'custom', path: ['rangeEnd'], message, input: rangeEnd });
  }
  return {
    family: cidr.family,
    first: formatAddress(first),
    last: formatAddress(last),
    ...(gateway == null ? {} : { gateway }),
  };
});
export type IpRange = z.output<typeof ipRange>;

/** Go writes null for what is empty. */
const runtimeConfig = z.looseObject({
  ips: z.array(plainAddress).max(16).nullish(),
  mac: z.union([unset, macAddress]).nullish(),
  portMappings: z.array(portMapping).max(PORTS_MAX).nullish(),
  ipRanges: z.array(z.array(ipRange).max(16)).max(16).nullish(),
  bandwidth: bandwidth.nullish(),
  dns: goObject({
    servers: dnsSettings.shape.nameservers.nullish(),
    searches: dnsSettings.shape.search.nullish(),
    options: dnsSettings.shape.options.nullish(),
  }).nullish(),
  [ANNOTATIONS_CAPABILITY]: z.record(z.string(), z.string()).nullish(),
});
export type RuntimeConfig = z.output<typeof runtimeConfig>;
const withRuntimeConfig = z.looseObject({ runtimeConfig: runtimeConfig.optional() });

/**
 * The capability arguments of a configuration. Throws INVALID_CNI_CONFIG, and UNSUPPORTED_CNI_FIELD for what is asked for
 * and would not be done.
 */
export function parseRuntimeConfig(configuration: CniConfiguration): RuntimeConfig {
  const given = parseWith(withRuntimeConfig, configuration, 'INVALID_CNI_CONFIG', 'network configuration');
  const parsed = given.runtimeConfig ?? {};
  for (const [key, value] of Object.entries(parsed)) {
    if (value == null || Object.hasOwn(runtimeConfig.shape, key) || IGNORED_CAPABILITIES.has(key)) continue;
    throw unsupported(key, value, 'take it out of "capabilities"');
  }
  return parsed;
}

/** The specification wants the key and the value in the message. */
function unsupported(key: string, value: unknown, hint: string): AppError {
  const shown = JSON.stringify(value).slice(0, SHOWN_MAX);
  return new AppError('UNSUPPORTED_CNI_FIELD', `runtimeConfig.${key} is not supported: ${shown}`, { hint });
}
