/** From the plugin's environment and configuration to the endpoint that an ADD asks for. */
import { z } from 'zod';
import { ipAddress, parseAddress } from '../model/address.js';
import {
  type CniArguments,
  type CniCall,
  type CniConfiguration,
  configurationLabels,
  parseCniArguments,
} from '../model/cni.js';
import { type EndpointRequest, endpointRequest, PORTS_MAX } from '../model/endpoint.js';
import { AppError, parseWith } from '../model/errors.js';
import { type Labels, labelValue, macAddress, protocol } from '../model/names.js';
import { dnsSettings } from '../model/network.js';
import { badVariable, requireVariable } from './input.js';
import type { AttachRequest } from './ports.js';

/** Label that an endpoint gets from K8S_POD_NAME. The key is the one that kubelet gives to containers. */
export const POD_NAME_LABEL = 'io.kubernetes.pod.name';

/** Capabilities whose arguments ask nothing of us. */
const IGNORED_CAPABILITIES = new Set(['aliases', 'cgroupPath']);

/** An address, with or without a prefix length; that of the network counts. */
const address = z
  .string()
  .max(64)
  .transform((text) => text.replace(/\/[0-9]{1,3}$/, ''))
  .pipe(ipAddress);
const addresses = z.array(address).max(16);
const listedAddresses = addresses.optional();

/** Capability arguments (CONVENTIONS.md, "Dynamic Plugin specific fields"); Go writes null for what is empty. */
const runtimeConfig = z.looseObject({
  ips: addresses.nullish(),
  mac: z.union([z.literal('').transform(() => undefined), macAddress]).nullish(),
  portMappings: z
    .array(
      z.looseObject({
        hostPort: z.int().min(0).max(65535),
        containerPort: z.int().min(1).max(65535),
        protocol: z.string().toUpperCase().pipe(protocol).default('TCP'),
        hostIP: z.union([z.literal('').transform(() => undefined), ipAddress]).nullish(),
      }),
    )
    .max(PORTS_MAX)
    .nullish(),
  dns: z
    .looseObject({
      servers: dnsSettings.shape.nameservers.nullish(),
      searches: dnsSettings.shape.search.nullish(),
      options: dnsSettings.shape.options.nullish(),
    })
    .nullish(),
});
export type RuntimeConfig = z.output<typeof runtimeConfig>;
const withRuntimeConfig = z.looseObject({ runtimeConfig: runtimeConfig.optional() });

/** The capability arguments of a configuration. Throws INVALID_CNI_CONFIG, UNSUPPORTED_CNI_FIELD. */
export function parseRuntimeConfig(configuration: CniConfiguration): RuntimeConfig {
  const given = parseWith(withRuntimeConfig, configuration, 'INVALID_CNI_CONFIG', 'network configuration');
  const parsed = given.runtimeConfig ?? {};
  for (const [key, value] of Object.entries(parsed)) {
    if (value == null || Object.hasOwn(runtimeConfig.shape, key) || IGNORED_CAPABILITIES.has(key)) continue;
    // The specification wants the key and the value in the message.
    throw new AppError(
      'UNSUPPORTED_CNI_FIELD',
      `runtimeConfig.${key} is not supported: ${JSON.stringify(value).slice(0, 128)}`,
      { hint: 'take it out of "capabilities"' },
    );
  }
  return parsed;
}

/**
 * What ADD asks for. The default routes are made anyway. Throws INVALID_CNI_ENVIRONMENT, INVALID_CNI_CONFIG, UNSUPPORTED_CNI_FIELD.
 */
export function attachRequest({ env }: CniCall, configuration: CniConfiguration): AttachRequest {
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
    ...requestedAddresses(configuration, runtime, cniArguments),
    mac_address: runtime.mac ?? cniArguments.mac,
    namespace: cniArguments.namespace ?? cniArguments.pod_namespace,
    labels: requestedLabels(configuration, cniArguments),
    ports: requestedPorts(runtime),
  };
  const parsed = parseWith(endpointRequest, request, 'INVALID_CNI_CONFIG', 'network configuration');
  const routes = configuration.routes.map(({ dst, gw }) => ({ dst, ...(gw === undefined ? {} : { gw }) }));
  return { network: configuration.name, routes, ...parsed };
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
): Pick<EndpointRequest, 'ip_address' | 'ip6_address'> {
  const listed =
    runtime.ips ??
    parseWith(listedAddresses, configuration.args?.cni?.ips, 'INVALID_CNI_CONFIG', 'args.cni.ips') ??
    (cniArguments.ip === undefined ? [] : [cniArguments.ip]);
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

/** On one key, "args" wins over QUANTUM_LABELS, and both over what is made of the pod's name. */
function requestedLabels(configuration: CniConfiguration, cniArguments: CniArguments): Labels {
  const { pod_name } = cniArguments;
  // The name of a pod may be longer than the value of a label. Such a pod goes without: no policy that allows
  // something to a pod of that name then applies to it.
  const named = pod_name !== undefined && labelValue.safeParse(pod_name).success;
  return {
    ...(named ? { [POD_NAME_LABEL]: pod_name } : {}),
    ...cniArguments.labels,
    ...configurationLabels(configuration),
  };
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
