/**
 * What every command but ADD and CHECK reads of its input. DEL and GC must not fail for what only ADD needs:
 * a runtime that cannot delete does not give up.
 */
import { z } from 'zod';
import { CNI_VERSIONS, type CniCall, type CniCommand, type CniVersion } from '../model/cni.js';
import { endpointRequest } from '../model/endpoint.js';
import { AppError, parseWith } from '../model/errors.js';
import { dnsLabel } from '../model/names.js';
import type { AttachmentKey } from './ports.js';

/** The version of the specification that each command is from; VERSION has always been. */
const SINCE = {
  ADD: '0.3.0',
  DEL: '0.3.0',
  CHECK: '0.4.0',
  STATUS: '1.1.0',
  GC: '1.1.0',
} as const satisfies Record<Exclude<CniCommand, 'VERSION'>, CniVersion>;

/** Form of container ids and of network names in the specification; it does not limit their length. */
const IDENTIFIER = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const IDENTIFIER_RULE = 'must start with a letter or digit, then letters, digits, "_", "." or "-"';
const INTERFACE_NAME = /^(?!\.{1,2}$)[^/:\s]{1,15}$/;
const INTERFACE_NAME_RULE = 'must be 1 to 15 characters without "/", ":" and space, and not "." or ".."';

const named = z.looseObject({
  cniVersion: z.enum(CNI_VERSIONS),
  name: z.string().regex(IDENTIFIER, IDENTIFIER_RULE),
});
export type NamedConfiguration = z.output<typeof named>;

/** What an empty list of Go is in JSON. A list that is missing is another thing: it says nothing. */
const attachments = z
  .array(z.looseObject({ containerID: z.string(), ifname: z.string() }))
  .max(65536)
  .nullable()
  .optional();
const withAttachments = z.looseObject({
  'cni.dev/valid-attachments': attachments,
  // The name that the first text of the specification had by mistake; runtimes send one, the other or both.
  'cni.dev/attachments': attachments,
});

/**
 * The configuration, as far as to know the version and the network.
 * Throws INVALID_JSON, INCOMPATIBLE_CNI_VERSION, INVALID_CNI_CONFIG.
 */
export function parseNamed(stdin: string): NamedConfiguration {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (cause) {
    throw new AppError('INVALID_JSON', 'the network configuration is not valid JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AppError('INVALID_JSON', 'the network configuration is not a JSON object');
  }
  const version = 'cniVersion' in value ? value.cniVersion : undefined;
  if (!CNI_VERSIONS.some((known) => known === version)) {
    const shown = JSON.stringify(version)?.slice(0, 32) ?? '(none)';
    throw new AppError('INCOMPATIBLE_CNI_VERSION', `CNI version ${shown} is not supported`, {
      hint: `supported are ${CNI_VERSIONS.join(', ')}`,
    });
  }
  return parseWith(named, value, 'INVALID_CNI_CONFIG', 'network configuration');
}

/**
 * The attachments that GC must keep, under whichever name. Undefined: the runtime did not say, as libcni does not when
 * its caller does not. Throws INVALID_CNI_CONFIG.
 */
export function validAttachments(
  configuration: NamedConfiguration,
): { containerID: string; ifname: string }[] | undefined {
  const parsed = parseWith(withAttachments, configuration, 'INVALID_CNI_CONFIG', 'network configuration');
  const lists = [parsed['cni.dev/valid-attachments'], parsed['cni.dev/attachments']].filter(
    (list) => list !== undefined,
  );
  return lists.length === 0 ? undefined : lists.flatMap((list) => list ?? []);
}

/** Throws INCOMPATIBLE_CNI_VERSION when the version of the configuration does not have the command. */
export function requireCommand(version: CniVersion, command: keyof typeof SINCE): void {
  if (CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(SINCE[command])) return;
  throw new AppError('INCOMPATIBLE_CNI_VERSION', `CNI version ${version} has no command ${command}`);
}

/**
 * The key of the attachment. Throws INVALID_CNI_ENVIRONMENT when CNI_CONTAINERID or CNI_IFNAME is missing or breaks
 * the rules of the specification. Undefined when both keep them, but nothing of ours can have such a key.
 */
export function attachmentKey({ env }: CniCall, network: string): AttachmentKey | undefined {
  const container_id = requireVariable(env, 'CNI_CONTAINERID');
  if (!IDENTIFIER.test(container_id)) throw badVariable('CNI_CONTAINERID', IDENTIFIER_RULE);
  const interface_name = requireVariable(env, 'CNI_IFNAME');
  if (!INTERFACE_NAME.test(interface_name)) throw badVariable('CNI_IFNAME', INTERFACE_NAME_RULE);
  const { shape } = endpointRequest;
  const possible =
    dnsLabel.safeParse(network).success &&
    shape.container_id.safeParse(container_id).success &&
    shape.interface_name.safeParse(interface_name).success;
  return possible ? { network, container_id, interface_name } : undefined;
}

/** A variable that must be there. Throws INVALID_CNI_ENVIRONMENT. */
export function requireVariable(env: CniCall['env'], name: string): string {
  const value = env[name];
  if (value === undefined || value === '') throw badVariable(name, 'is missing');
  return value;
}

export function badVariable(name: string, message: string): AppError {
  return new AppError('INVALID_CNI_ENVIRONMENT', `${name} ${message}`, {
    details: [{ path: name, message }],
  });
}
