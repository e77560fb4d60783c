/** What crosses the CNI socket, and what the CNI specification (0.3.0 to 1.1.0) says of configuration and arguments. */
import { z } from 'zod';
import { anyCidr, ipAddress, ipv4Address, ipv6Address, networkCidr4, networkCidr6 } from './address.js';
import { AppError, errorDetails, parseWith } from './errors.js';
import {
  dnsLabel,
  LABELS_MAX,
  type Labels,
  labelKey,
  labelPairs,
  labels,
  labelValue,
  macAddress,
} from './names.js';
import { dnsSettings, isolationModeInput } from './network.js';

/** Versions of the specification that are served, oldest first. */
export const CNI_VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

/** Names that the plugin goes by. */
export const CNI_TYPES = ['quantum-cni', 'quantum'] as const;

export const CNI_COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;
export type CniCommand = (typeof CNI_COMMANDS)[number];

/** Most bytes of a network configuration; with prevResult it is seldom more than a few thousand. */
const STDIN_MAX = 1024 * 1024;

/** Most bytes of an IPAM plugin's result: OUTPUT_BYTES_MAX of the plugin. */
const IPAM_MAX = 256 * 1024;

/** Body of POST /cni. */
export const cniCall = z
  .strictObject({
    env: z
      .record(z.string().regex(/^CNI_[A-Z_]{1,32}$/, 'must be a variable CNI_*'), z.string().max(65536))
      .refine((env) => Object.keys(env).length <= 16, 'at most 16 variables')
      .describe('The CNI_* variables of the environment'),
    stdin: z.string().max(STDIN_MAX).describe('The network configuration as it was read'),
    ipam: z
      .string()
      .max(IPAM_MAX)
      .optional()
      .describe('What the IPAM plugin of the configuration printed; ADD needs it when there is one'),
  })
  .meta({ id: 'CniCall', description: 'A call of the CNI plugin' });
export type CniCall = z.infer<typeof cniCall>;

/** Answer of POST /cni. */
export const cniAnswer = z
  .strictObject({
    exit_code: z.int().min(0).max(255).describe('Exit code of the plugin'),
    stdout: z.string().describe('What the plugin prints: a result or an error object'),
  })
  .meta({ id: 'CniAnswer' });
export type CniAnswer = z.infer<typeof cniAnswer>;

const route = z.looseObject({
  dst: anyCidr,
  gw: ipAddress.optional(),
  mtu: z.int().min(0).max(65535).optional(),
});
export type CniRoute = z.infer<typeof route>;

const interfaceIndex = z.int().min(0).max(255);
const result = z.looseObject({
  cniVersion: z.string().max(16).optional(),
  interfaces: z
    .array(
      z.looseObject({
        name: z.string().max(255),
        mac: z.string().max(64).optional(),
        mtu: z.int().min(0).max(65535).optional(),
        sandbox: z.string().max(1024).optional(),
      }),
    )
    .max(64)
    .optional(),
  ips: z
    .array(
      z.looseObject({
        address: z.string().max(64),
        gateway: z.string().max(64).optional(),
        interface: interfaceIndex.optional(),
      }),
    )
    .max(64)
    .optional(),
  routes: z
    .array(z.looseObject({ dst: z.string().max(64), gw: z.string().max(64).optional() }))
    .max(256)
    .optional(),
  dns: z.looseObject({}).optional(),
});

/** A result in the form of 1.1.0; `resultText` writes it for an older version. */
export type CniResult = z.infer<typeof result>;

/**
 * What an IPAM plugin gives (sections 4 and 5): no interfaces, and of everything else only what it has. Go writes
 * null for a list that is empty.
 */
const ipamResult = z.looseObject({
  ips: z
    .array(z.looseObject({ address: z.string().max(64), gateway: z.string().max(64).nullish() }))
    .min(1)
    .max(64),
  routes: z.array(route).max(64).nullish(),
  dns: dnsSettings.nullish(),
});
export type IpamResult = z.output<typeof ipamResult>;

/** The result of the IPAM plugin. Throws AppError INVALID_CNI_CONFIG. */
export function parseIpamResult(text: string): IpamResult {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError('INVALID_CNI_CONFIG', 'the result of the IPAM plugin is not JSON', { cause });
  }
  return parseWith(ipamResult, value, 'INVALID_CNI_CONFIG', 'result of the IPAM plugin');
}

/**
 * A network configuration as a plugin gets it. Loose, because runtimes and other plugins of the list put
 * keys of their own beside ours; what we do read is checked.
 */
const configuration = z.looseObject({
  cniVersion: z.enum(CNI_VERSIONS),
  name: dnsLabel,
  type: z.enum(CNI_TYPES),
  driver: z.string().min(1).max(32).default('bridge'),
  subnet: networkCidr4.optional(),
  gateway: ipv4Address.optional(),
  subnet6: networkCidr6.optional(),
  gateway6: ipv6Address.optional(),
  isolation_mode: isolationModeInput.optional(),
  routes: z.array(route).max(64).default([]),
  dns: dnsSettings.optional(),
  // An empty type is the convention's way of saying that there is no IPAM plugin.
  ipam: z.looseObject({ type: z.string().max(255).optional() }).nullish(),
  args: z
    .looseObject({
      cni: z
        .looseObject({
          labels: z
            .array(z.strictObject({ key: labelKey, value: labelValue }))
            .max(LABELS_MAX)
            .optional(),
          ips: z.array(z.string().max(64)).max(8).optional(),
        })
        .optional(),
    })
    .optional(),
  capabilities: z.record(z.string(), z.boolean()).optional(),
  runtimeConfig: z.looseObject({}).optional(),
  prevResult: result.optional(),
});
export type CniConfiguration = z.infer<typeof configuration>;

/**
 * The network configuration of a call. Throws AppError INVALID_JSON, INCOMPATIBLE_CNI_VERSION, INVALID_CNI_CONFIG.
 */
export function parseCniConfiguration(text: string): CniConfiguration {
  const value = parseJson(text);
  const version = cniVersionOf(value);
  if (!CNI_VERSIONS.some((known) => known === version)) {
    throw new AppError(
      'INCOMPATIBLE_CNI_VERSION',
      `CNI version ${JSON.stringify(version)} is not supported`,
      {
        hint: `supported are ${CNI_VERSIONS.join(', ')}`,
      },
    );
  }
  return parseWith(configuration, value, 'INVALID_CNI_CONFIG', 'network configuration');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError(
      'INVALID_JSON',
      `the network configuration is not valid JSON: ${(error as Error).message}`,
    );
  }
}

/** The version that a configuration asks for; "0.1.0" when it says none, as the specification has it. */
function cniVersionOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || !('cniVersion' in value)) return '0.1.0';
  return String(value.cniVersion).slice(0, 16);
}

/** The version in which to answer a configuration, even a bad one; the newest when it names none of ours. */
export function answerVersion(text: string): CniVersion {
  try {
    const version = cniVersionOf(JSON.parse(text));
    return CNI_VERSIONS.find((known) => known === version) ?? '1.1.0';
  } catch {
    return '1.1.0';
  }
}

/** Labels of `args.cni.labels`; of a key given twice the last counts, as in JSON. */
export function configurationLabels(of: CniConfiguration): Labels {
  return Object.fromEntries((of.args?.cni?.labels ?? []).map(({ key, value }) => [key, value]));
}

const cniArguments = z.strictObject({
  namespace: dnsLabel.optional(),
  labels: labels,
  pod_namespace: dnsLabel.optional(),
  pod_name: z.string().max(253).optional(),
  ip: ipAddress.optional(),
  mac: macAddress.optional(),
});
export type CniArguments = z.infer<typeof cniArguments>;

/** Keys of CNI_ARGS, and what they become. */
const ARGUMENT_FIELDS: Readonly<Record<string, keyof CniArguments>> = {
  QUANTUM_NAMESPACE: 'namespace',
  QUANTUM_LABELS: 'labels',
  K8S_POD_NAMESPACE: 'pod_namespace',
  K8S_POD_NAME: 'pod_name',
  IP: 'ip',
  MAC: 'mac',
};

/** Sent by runtimes, of no use here. */
const IGNORED_ARGUMENTS = new Set(['IgnoreUnknown', 'K8S_POD_INFRA_CONTAINER_ID', 'K8S_POD_UID']);

/**
 * CNI_ARGS (`KEY=value;KEY=value`; labels as `a=b,c=d`). An unknown key is refused unless IgnoreUnknown is
 * true, an empty value counts as none. Throws AppError INVALID_CNI_ENVIRONMENT.
 */
export function parseCniArguments(text: string): CniArguments {
  const given = new Map<string, string>();
  for (const pair of text.split(';')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals < 1) throw badArgument(pair, 'must have the form KEY=value');
    const key = pair.slice(0, equals);
    if (given.has(key)) throw badArgument(key, 'is given twice');
    given.set(key, pair.slice(equals + 1));
  }
  const ignoresUnknown = /^(1|t|true)$/i.test(given.get('IgnoreUnknown') ?? '');
  const fields: Record<string, unknown> = { labels: {} };
  for (const [key, value] of given) {
    const field = Object.hasOwn(ARGUMENT_FIELDS, key) ? ARGUMENT_FIELDS[key] : undefined;
    if (field === undefined) {
      if (!ignoresUnknown && !IGNORED_ARGUMENTS.has(key))
        throw badArgument(key, 'is unknown, and IgnoreUnknown is not set');
    } else if (value !== '') {
      fields[field] =
        field === 'labels' ? parseLabelPairs(value) : field === 'ip' ? withoutPrefix(value) : value;
    }
  }
  const parsed = cniArguments.safeParse(fields);
  if (parsed.success) return parsed.data;
  const [first] = errorDetails(parsed.error);
  const field = first?.path.split(/[.[]/)[0];
  const key = Object.keys(ARGUMENT_FIELDS).find((name) => ARGUMENT_FIELDS[name] === field) ?? 'CNI_ARGS';
  throw badArgument(key, first?.message ?? 'is not valid');
}

/** The CNI conventions allow a prefix length behind the address; that of the network counts. */
function withoutPrefix(text: string): string {
  return text.replace(/\/[0-9]{1,3}$/, '');
}

function parseLabelPairs(text: string): Record<string, string> {
  const pairs = labelPairs(text);
  if (pairs === undefined) throw badArgument('QUANTUM_LABELS', 'must have the form key=value,key=value');
  return Object.fromEntries(pairs);
}

function badArgument(key: string, message: string): AppError {
  const path = key.slice(0, 64);
  return new AppError('INVALID_CNI_ENVIRONMENT', `CNI_ARGS: ${path} ${message}`, {
    details: [{ path, message }],
  });
}
