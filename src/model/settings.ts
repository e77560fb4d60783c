/**
 * Every setting of the daemon. This schema is the only source of flags, environment variables, keys of the
 * configuration file, help text and docs/settings.md. Settings that the programs take have the name of
 * their CONFIG in bpf/lib/config.h.
 */
import { z } from 'zod';
import { type Cidr, type Family, networkCidr4, networkCidr6, parseAddress, parseCidr } from './address.js';
import { CNI_VERSIONS } from './cni.js';
import { AppError } from './errors.js';
import { interfaceName } from './names.js';
import { HOSTNAME_LABEL, parseNodeLabels } from './node-labels.js';

/** sun_path has 108 bytes, one of them for the end, and the longest socket name is "/api.sock". */
const RUN_DIR_MAX = 107 - '/api.sock'.length;

/** The same of "/quantum.sock". */
const PLUGIN_DIR_MAX = 107 - '/quantum.sock'.length;

const WEEK_S = 7 * 24 * 3600;

/** Directories cannot be made there; Node tries for ever (mkdir in /proc fails as if the parent were missing). */
const KERNEL_OWNED = /^\/+(proc|sys(?!\/+fs\/+bpf(\/|$)))(\/|$)|\/\.\.(\/|$)/;

function path(text: string, fallback: string, max = 1024) {
  return z
    .string()
    .max(max, `must have at most ${max} characters`)
    .regex(/^\/[^\0]*$/, 'must be an absolute path')
    .refine(
      (text) => !KERNEL_OWNED.test(text),
      'must have no "..", and not be in /proc, or in /sys beside /sys/fs/bpf',
    )
    .default(fallback)
    .describe(text);
}

/** Value of a path for "not at all". */
export const NO_PATH = 'none';

function pathOrNone(text: string, fallback: string, max = 1024) {
  return z
    .string()
    .max(max, `must have at most ${max} characters`)
    .regex(/^(\/[^\0]*|none)$/, 'must be an absolute path, or "none"')
    .refine(
      (text) => !KERNEL_OWNED.test(text),
      'must have no "..", and not be in /proc, or in /sys beside /sys/fs/bpf',
    )
    .default(fallback)
    .describe(`${text}; \`none\`: not used`);
}

function integer(text: string, fallback: number, min: number, max: number) {
  const range = `must be a whole number from ${min} to ${max}`;
  return z.int(range).min(min, range).max(max, range).default(fallback).describe(text);
}

function seconds(text: string, fallback: number) {
  return integer(`Seconds that ${text}`, fallback, 1, WEEK_S);
}

/** Host and port of a listener; an IPv6 host is without its brackets. */
export interface ListenAddress {
  host: string;
  port: number;
}

/** `127.0.0.1:9443`, `[::1]:9443`, or `none`: undefined. Throws AppError INVALID_REQUEST. */
export function listenAddress(text: string): ListenAddress | undefined {
  if (text === 'none') return undefined;
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(0|[1-9][0-9]{0,4})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535 || host === 'localhost') {
    throw new AppError(
      'INVALID_REQUEST',
      'must be an address and a port such as 127.0.0.1:9443 or [::1]:9443, or "none"',
    );
  }
  const address = parseAddress(host);
  const isLoopback = address.family === 4 ? address.value >> 24n === 127n : address.value === 1n;
  if (!isLoopback) {
    throw new AppError(
      'INVALID_REQUEST',
      'must be a loopback address: the API has no authentication of remote callers; use the socket in run_dir, or a proxy that authenticates',
    );
  }
  return { host, port };
}

/** A text that `read` takes: what it throws is what is wrong with it. */
function textFor(read: (text: string) => unknown, max: number) {
  return z
    .string()
    .max(max, { error: `must have at most ${max} characters`, abort: true })
    .check(({ value, issues }) => {
      try {
        read(value);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        issues.push({ code: 'custom', message: error.message, input: value });
      }
    });
}

function listen(text: string, fallback: string) {
  return textFor(listenAddress, 64).default(fallback).describe(text);
}

/** Value of service_cidr and service_cidr6: every service names its address of that family, or has none. */
const NO_SERVICE_RANGE = 'none';

/** The range, or undefined for `none`. */
export function serviceCidr(text: string): Cidr | undefined {
  return text === NO_SERVICE_RANGE ? undefined : parseCidr(text);
}

function serviceRange(family: Family, fallback: string) {
  return z
    .union([z.literal(NO_SERVICE_RANGE), family === 4 ? networkCidr4 : networkCidr6])
    .default(fallback)
    .describe(
      `IPv${family} range of which services get an address; \`none\`: they get none but what they name`,
    );
}

/** Longest text of node_labels: some sixty labels of usual length. */
const NODE_LABELS_MAX = 4096;

/** Value of `uplink` that stands for the interface of the default route. */
export const UPLINK_AUTO = 'auto';
/** Value of `uplink` for a node without one. */
export const UPLINK_NONE = 'none';

/** Value of `cgroup_root` that stands for wherever the hierarchy is mounted. */
export const CGROUP_ROOT_AUTO = 'auto';
/** Value of `cgroup_root` for a node whose processes are to be left alone. */
export const CGROUP_ROOT_NONE = 'none';

export const settingsSchema = z
  .strictObject({
    config: path('Configuration file (YAML)', '/etc/quantum/config.yaml'),
    listen: listen(
      'Loopback address and port of the REST API; `none`: only the socket in run_dir',
      '127.0.0.1:9443',
    ),
    grpc_listen: listen('Loopback address and port of the gRPC API; `none`: no gRPC', '127.0.0.1:9444'),
    run_dir: path('Directory of the sockets api.sock and cni.sock', '/run/quantum', RUN_DIR_MAX),
    state_dir: path('Directory of the embedded store', '/var/lib/quantum'),
    bpffs_dir: path(
      'Directory of the pinned programs, links and maps; a BPF file system is mounted if it is in none',
      '/sys/fs/bpf/quantum',
    ),
    cni_bin_dir: path('Directory of CNI plugins', '/opt/cni/bin'),
    cni_conf_dir: path('Directory of CNI network configurations', '/etc/cni/net.d'),
    docker_plugin_dir: pathOrNone(
      'Directory in which Docker looks for plugins: the socket quantum.sock there serves its networks',
      '/run/docker/plugins',
      PLUGIN_DIR_MAX,
    ),
    docker_socket: pathOrNone(
      'Socket of the Docker Engine API, which tells whose an endpoint is, and the labels of that container',
      '/var/run/docker.sock',
    ),
    cni_conf_prefix: z
      .string()
      .regex(
        /^([A-Za-z0-9][A-Za-z0-9_-]{0,31})?$/,
        'must be at most 32 letters, digits, "-" and "_", and start with a letter or digit',
      )
      .default('')
      .describe(
        'What the names of CNI network configurations start with, such as `10-`: runtimes that take one network take the first by name',
      ),
    cni_version: z
      .enum(CNI_VERSIONS, `must be one of ${CNI_VERSIONS.join(', ')}`)
      .default('1.0.0')
      .describe(
        `Version of the specification that CNI network configurations are written in: ${CNI_VERSIONS.join(', ')}; runtimes that read 1.1.0 send STATUS and GC too`,
      ),
    uplink: interfaceName
      .default(UPLINK_AUTO)
      .describe(
        'Interface to the outside; `auto`: the interface of the default route; `none`: there is none',
      ),
    xdp: z
      .enum(['auto', 'native', 'off'])
      .default('auto')
      .describe(
        'Where what comes in by the uplink is looked at first; `native`: in its driver, by XDP; `auto`: the same, but for veths, which gain nothing by it; `off`: by TC, as where XDP cannot be had',
      ),
    cgroup_root: z
      .string()
      .max(1024, 'must have at most 1024 characters')
      .regex(
        /^(?:auto|none|(?!.*\/\.\.(?:\/|$))\/[^\0]*)$/,
        'must be auto, none, or an absolute path without ".."',
      )
      .default(CGROUP_ROOT_AUTO)
      .describe(
        "Cgroup (version 2) of the node's processes that reach port mappings and services; `auto`: all of them; `none`: no process does",
      ),
    host_access: z
      .enum(['full', 'policy'])
      .default('policy')
      .describe(
        'What the node itself may reach of its containers; `full`: everything, whatever policies say; `policy`: what they let it',
      ),
    node_labels: textFor(parseNodeLabels, NODE_LABELS_MAX)
      .default('')
      .describe(
        `Labels of the node, as \`a=b,c=d\`, for policies that select nodes; \`${HOSTNAME_LABEL}\` is implied`,
      ),
    store: z
      .literal('embedded', 'must be "embedded": no other store is supported yet')
      .default('embedded')
      .describe('Where the state is kept; `embedded`: in state_dir'),
    log_level: z
      .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
      .default('info')
      .describe('Least severe messages that are logged: trace, debug, info, warn, error, fatal or silent'),

    tcp_established_s: seconds('an idle established TCP connection is remembered', 21600),
    tcp_opening_s: seconds('a TCP connection that is not yet established is remembered', 60),
    tcp_closing_s: seconds('a TCP connection is remembered after FIN of both sides or RST', 30),
    udp_s: seconds('an unanswered UDP or SCTP flow is remembered', 60),
    udp_replied_s: seconds('an answered UDP or SCTP flow is remembered', 180),
    icmp_s: seconds('an ICMP echo is remembered', 30),
    fragment_s: seconds('the fragments of a datagram may follow their first one', 15),
    nat_port_min: integer('First port of the node that masqueraded flows may take', 61000, 1024, 65535),
    nat_port_max: integer('Last port of the node that masqueraded flows may take', 65535, 1024, 65535),
    port_mapping_min: integer(
      'First port of the node that is given to a port mapping or service that names none',
      30000,
      1,
      65535,
    ),
    port_mapping_max: integer('Last such port', 32767, 1, 65535),
    service_cidr: serviceRange(4, '10.96.0.0/16'),
    service_cidr6: serviceRange(6, 'fd00:96::/112'),
    inbound_flows: integer(
      'Connections from outside that may be open at once, to all endpoints together: they must not fill the table; 0: no limit',
      131072,
      0,
      0x7fffffff,
    ),
    flows_per_endpoint: integer(
      'Connections that one endpoint may have open at once; 0: no limit',
      32768,
      0,
      16777216,
    ),
    inbound_new_per_second: integer(
      'New connections from outside that one endpoint takes each second; 0: no limit',
      10000,
      0,
      10000000,
    ),
    inbound_new_burst: integer(
      'New connections from outside that one endpoint takes at once',
      10000,
      1,
      10000000,
    ),
    events_per_second: integer('Events an endpoint may cause each second', 100, 1, 1000000),
    events_burst: integer('Events an endpoint may cause at once', 500, 1, 1000000),

    events_buffer_bytes: integer(
      'Bytes of the buffer between the programs and the daemon; a power of two',
      1048576,
      4096,
      1 << 28,
    ).refine((bytes) => (bytes & (bytes - 1)) === 0, 'must be a power of two'),
    conntrack_max: integer('Connections that the node remembers', 262144, 1024, 16777216),
    frontends_max: integer('Port mappings, and ports of services at each address', 65536, 16, 1048576),
    service_slots_max: integer(
      'Slots of all services together: at least 100 for each backend, or one for a single backend',
      1048576,
      1024,
      67108864,
    ),
    backends_max: integer('Backends of all services and port mappings together', 65536, 16, 1048576),
    affinity_max: integer('Clients whose backend is remembered between connections', 65536, 1024, 16777216),
    policy_max: integer('Entries of the compiled policy', 1048576, 1024, 16777216),
    policy_cidrs_max: integer('Address ranges of the compiled policy', 1048576, 1024, 16777216),
    port_names_max: integer('Ports of endpoints that have a name', 65536, 256, 1048576),
    subjects_max: integer('Identities that have a policy on the node', 65536, 256, 1048576),
    endpoints_max: integer('Endpoints on the node', 16384, 16, 65536),
    prefixes_max: integer(
      'Address ranges of networks, and addresses of the node and of services',
      65536,
      256,
      1048576,
    ),
  })
  .check(({ value, issues }) => {
    if (value.nat_port_min > value.nat_port_max) {
      issues.push({
        code: 'custom',
        path: ['nat_port_max'],
        message: 'must not be less than nat_port_min',
        input: value,
      });
    }
    if (value.port_mapping_min > value.port_mapping_max) {
      issues.push({
        code: 'custom',
        path: ['port_mapping_max'],
        message: 'must not be less than port_mapping_min',
        input: value,
      });
    }
    if (value.port_mapping_min <= value.nat_port_max && value.nat_port_min <= value.port_mapping_max) {
      issues.push({
        code: 'custom',
        path: ['port_mapping_max'],
        message: 'the range must not overlap that of nat_port_min to nat_port_max',
        input: value,
      });
    }
    if (value.listen === value.grpc_listen && !/^none$|:0$/.test(value.listen)) {
      issues.push({
        code: 'custom',
        path: ['grpc_listen'],
        message: 'must differ from listen',
        input: value,
      });
    }
  });

export type Settings = Readonly<z.output<typeof settingsSchema>>;
export type SettingKey = keyof Settings;

export interface SettingInfo {
  key: SettingKey;
  flag: string;
  environment: string;
  kind: 'integer' | 'text';
  fallback: string | number;
  text: string;
}

/** Every setting in the order of the schema, with the names that are derived from its key. */
export const SETTINGS: readonly SettingInfo[] = (Object.keys(settingsSchema.shape) as SettingKey[]).map(
  (key) => {
    const schema = settingsSchema.shape[key];
    const fallback = schema.parse(undefined);
    return {
      key,
      flag: `--${key.replaceAll('_', '-')}`,
      environment: `QUANTUM_${key.toUpperCase()}`,
      kind: typeof fallback === 'number' ? 'integer' : 'text',
      fallback,
      text: schema.description ?? '',
    };
  },
);

/** What `--help` prints below the usage line. */
export function renderSettingsHelp(): string {
  const lines = SETTINGS.map(({ flag, kind, fallback, text }) => {
    const left = `  ${flag} <${kind === 'integer' ? 'n' : 'value'}>`;
    return `${left.padEnd(32)}${text} (default: ${fallback === '' ? 'empty' : fallback})`;
  });
  return [
    'Settings (flag before environment variable before configuration file):',
    ...lines,
    '  --help                        Show this text',
    '',
    'Each flag --x-y is also the environment variable QUANTUM_X_Y and the key x_y of the configuration file.',
    '',
  ].join('\n');
}
