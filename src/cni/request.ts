/** From the plugin's environment and configuration to the endpoint that an ADD asks for. */
import { z } from 'zod';
import { parseAddress } from '../model/address.js';
import {
  type CniArguments,
  type CniCall,
  type CniConfiguration,
  configurationLabels,
  parseCniArguments,
} from '../model/cni.js';
import { type EndpointRequest, endpointRequest } from '../model/endpoint.js';
import { AppError, parseWith } from '../model/errors.js';
import { type Labels, labelPairs, labels, labelValue } from '../model/names.js';
import type { Delegated } from './delegated.js';
import { badVariable, requireVariable } from './input.js';
import type { AddressSpan, AttachRequest } from './ports.js';
import {
  ANNOTATIONS_CAPABILITY,
  type IpRange,
  parseRuntimeConfig,
  plainAddress,
  type RuntimeConfig,
} from './runtime-config.js';

/** Label that an endpoint gets from K8S_POD_NAME. The key is the one that kubelet gives to containers. */
export const POD_NAME_LABEL = 'io.kubernetes.pod.name';

/** Annotation of a pod that gives its endpoint labels, as `a=b,c=d`. */
export const LABELS_ANNOTATION = 'quantum.network/labels';

const listedAddresses = z.array(plainAddress).max(16).optional();

/**
 * What ADD asks for. The default routes are made anyway. `delegated`: what an IPAM plugin gave; it has seen what the
 * runtime wishes, so that its word alone counts. Throws INVALID_CNI_ENVIRONMENT, INVALID_CNI_CONFIG,
 * UNSUPPORTED_CNI_FIELD.
 */
export function attachRequest(
  { env }: CniCall,
  configuration: CniConfiguration,
  delegated?: Delegated,
): AttachRequest {
  const runtime = parseRuntimeConfig(configuration);
  const cniArguments = parseCniArguments(env.CNI_ARGS ?? '');
  for (const [field, name] of VARIABLES) {
    const checked = endpointRequest.shape[field].safeParse(requireVariable(env, name));
    if (!checked.success) throw badVariable(name, checked.error.issues[0]?.message ?? 'is not valid');
  }
  const request = {
    container_id: env.CNI_CONTAINERID,
    interface_name: env.CNI_IFNAME,
    netns_path: env.CNI_NETNS,
    ...addressFields(
      delegated?.addresses.map(({ address }) => address) ??
        requestedAddresses(configuration, runtime, cniArguments),
    ),
    mac_address: runtime.mac ?? cniArguments.mac,
    namespace: cniArguments.namespace ?? cniArguments.pod_namespace,
    labels: requestedLabels(configuration, cniArguments, runtime),
    ports: requestedPorts(runtime),
    ...(runtime.bandwidth == null ? {} : { options: { bandwidth: runtime.bandwidth } }),
  };
  const parsed = parseWith(endpointRequest, request, 'INVALID_CNI_CONFIG', 'network configuration');
  const routes = configuration.routes.map(({ dst, gw }) => ({ dst, ...(gw === undefined ? {} : { gw }) }));
  const spans = delegated === undefined ? requestedSpans(runtime.ipRanges ?? [], parsed) : [];
  return { network: configuration.name, routes, spans, ...parsed };
}

const VARIABLES = [
  ['container_id', 'CNI_CONTAINERID'],
  ['interface_name', 'CNI_IFNAME'],
  ['netns_path', 'CNI_NETNS'],
] as const;

/** The order of the conventions: capability argument, "args", CNI_ARGS. The first that is there counts alone. */
function requestedAddresses(
  configuration: CniConfiguration,
  runtime: RuntimeConfig,
  cniArguments: CniArguments,
): string[] {
  return (
    runtime.ips ??
    parseWith(listedAddresses, configuration.args?.cni?.ips, 'INVALID_CNI_CONFIG', 'args.cni.ips') ??
    (cniArguments.ip === undefined ? [] : [cniArguments.ip])
  );
}

function addressFields(listed: readonly string[]): Pick<EndpointRequest, 'ip_address' | 'ip6_address'> {
  const wanted: { ip_address?: string; ip6_address?: string } = {};
  for (const text of listed) {
    const field = parseAddress(text).family === 4 ? 'ip_address' : 'ip6_address';
    if (wanted[field] !== undefined && wanted[field] !== text) {
      throw new AppError('INVALID_CNI_CONFIG', 'an interface gets at most one address of each family');
    }
    wanted[field] = text;
  }
  return wanted;
}

/**
 * Where addresses may be taken from, by `ipRanges`: a list of ranges for each address that is to be given. Ranges and
 * an address asked for by name must agree.
 */
function requestedSpans(
  ipRanges: readonly (readonly IpRange[])[],
  { ip_address, ip6_address }: Pick<EndpointRequest, 'ip_address' | 'ip6_address'>,
): AddressSpan[] {
  const families = ipRanges.map((ranges) => new Set(ranges.map(({ family }) => family)));
  if (
    families.some(({ size }) => size !== 1) ||
    new Set(families.flatMap((of) => [...of])).size < families.length
  ) {
    const message = 'runtimeConfig.ipRanges: must have one list for each family, of ranges of that family';
    throw new AppError('INVALID_CNI_CONFIG', message);
  }
  const spans = ipRanges.flat();
  for (const wanted of [ip_address, ip6_address]) {
    if (wanted === undefined) continue;
    const { family, value } = parseAddress(wanted);
    const ofFamily = spans.filter((span) => span.family === family);
    const holds = ({ first, last }: IpRange) =>
      parseAddress(first).value <= value && value <= parseAddress(last).value;
    if (ofFamily.length > 0 && !ofFamily.some(holds)) {
      throw new AppError('INVALID_CNI_CONFIG', `${wanted} is in none of runtimeConfig.ipRanges`);
    }
  }
  return spans;
}

/** On one key, "args" wins over QUANTUM_LABELS, that over the pod's annotation, and all over what is made of its name. */
function requestedLabels(
  configuration: CniConfiguration,
  cniArguments: CniArguments,
  runtime: RuntimeConfig,
): Labels {
  const { pod_name } = cniArguments;
  // The name of a pod may be longer than the value of a label. Such a pod goes without: no policy that allows
  // something to a pod of that name then applies to it.
  const named = pod_name !== undefined && labelValue.safeParse(pod_name).success;
  return {
    ...(named ? { [POD_NAME_LABEL]: pod_name } : {}),
    ...annotatedLabels(runtime),
    ...cniArguments.labels,
    ...configurationLabels(configuration),
  };
}

function annotatedLabels({ [ANNOTATIONS_CAPABILITY]: annotations }: RuntimeConfig): Labels {
  const text = annotations?.[LABELS_ANNOTATION];
  if (text === undefined || text === '') return {};
  const pairs = labelPairs(text);
  if (pairs !== undefined)
    return parseWith(labels, Object.fromEntries(pairs), 'INVALID_CNI_CONFIG', LABELS_ANNOTATION);
  const message = `annotation ${LABELS_ANNOTATION} must have the form key=value,key=value`;
  throw new AppError('INVALID_CNI_CONFIG', message);
}

/** Runtimes list ports without a host port too; those ask for nothing. */
function requestedPorts({ portMappings }: RuntimeConfig): EndpointRequest['ports'] {
  return (portMappings ?? [])
    .filter(({ hostPort }) => hostPort !== 0)
    .map((mapping) => ({
      container_port: mapping.containerPort,
      protocol: mapping.protocol,
      host_port: mapping.hostPort,
      ...(mapping.hostIP == null ? {} : { host_ip: mapping.hostIP }),
    }));
}
