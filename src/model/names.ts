/**
 * Names and labels: the primitives that every other schema is made of. Syntax is that of Kubernetes, so
 * that its objects can be used as they are; interface names follow the kernel.
 */
import { z } from 'zod';
import './messages.js';

/** Most labels that one object may carry. */
export const LABELS_MAX = 64;

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const CONTAINER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const LABEL_KEY =
  /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;
// What dev_valid_name() of the kernel refuses, "%", which it takes for a pattern, and control or non-ASCII bytes, which
// only confuse readers.
const INTERFACE_NAME = /^(?!\.{1,2}$)[\x21-\x24\x26-\x2e\x30-\x39\x3b-\x7e]{1,15}$/;
/** Folders of /proc/sys/net/ipv4/conf beside those of interfaces: the kernel refuses them as names of one. */
const SYSCTL_FOLDERS: ReadonlySet<string> = new Set(['all', 'default']);
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

const LABEL_PREFIX_MAX = 253;
const LABEL_NAME_MAX = 63;

/** RFC 1123 label, at most 63 characters: names of networks, namespaces and policies. */
export const dnsLabel = z
  .string()
  .min(1)
  .max(63)
  .regex(
    DNS_LABEL,
    'must be a DNS label: lower case letters, digits and "-", starting and ending with one of the first two',
  )
  .describe('DNS label (RFC 1123): lower case letters, digits and "-", at most 63 characters');

/** RFC 1123 subdomain, at most 253 characters. */
export const dnsSubdomain = z
  .string()
  .min(1)
  .max(253)
  .regex(DNS_SUBDOMAIN, 'must be a DNS name: DNS labels separated by dots')
  .describe('DNS name (RFC 1123 subdomain), at most 253 characters');

/** What a container runtime calls a container: the form that the CNI specification asks for, bounded. */
export const containerId = z
  .string()
  .regex(
    CONTAINER_ID,
    'must start with a letter or digit, then letters, digits, "_", "." or "-", at most 128 characters',
  )
  .describe('Id of the container, as its runtime calls it; at most 128 characters');

/** Name of an interface as the kernel accepts it: 1 to 15 bytes; `lo` is not for us to make. */
export const interfaceName = z
  .string()
  .regex(
    INTERFACE_NAME,
    'must be 1 to 15 printable ASCII characters without "/", ":", "%" and space, and not "." or ".."',
  )
  .refine((name) => name !== 'lo', '"lo" is the loopback interface')
  .refine((name) => !SYSCTL_FOLDERS.has(name), 'no interface can have this name')
  .describe('Name of a network interface, 1 to 15 characters');

const NOT_A_LABEL_KEY =
  'must be a label key: an optional DNS name and "/", then letters, digits, "-", "_" or "."';

export const labelKey = z
  .string()
  .min(1)
  .max(LABEL_PREFIX_MAX + 1 + LABEL_NAME_MAX)
  .regex(LABEL_KEY, NOT_A_LABEL_KEY)
  .refine(
    (key) =>
      key.length - key.lastIndexOf('/') - 1 <= LABEL_NAME_MAX && key.lastIndexOf('/') <= LABEL_PREFIX_MAX,
    'the name of a label key has at most 63 characters, its prefix at most 253',
  )
  .describe('Label key, as in Kubernetes: [prefix/]name');

export const labelValue = z
  .string()
  .max(LABEL_NAME_MAX)
  .regex(
    LABEL_VALUE,
    'must be a label value: letters, digits, "-", "_" or ".", starting and ending with one of the first two',
  )
  .describe('Label value, as in Kubernetes; may be empty');

/** What nobody may be called: to write it into an ordinary object replaces the object's prototype. */
const UNWRITABLE_KEY = '__proto__';

/**
 * An object whose keys are label keys. zod leaves the unwritable one out of a record, whatever its schema of keys says: a
 * selector would have lost a label, and match more than its author meant. So it is refused before. A default is to be given
 * by prefault(): of one given by default() JSON Schema tells nothing, as it would be that of what comes out.
 */
export function byLabelKey<Text extends string | null>(value: z.ZodType<Text, Text>) {
  const refuseUnwritable = (given: Record<string, Text>, { issues }: z.core.ParsePayload) => {
    if (typeof given === 'object' && given !== null && Object.hasOwn(given, UNWRITABLE_KEY)) {
      issues.push({ code: 'custom', path: [UNWRITABLE_KEY], message: NOT_A_LABEL_KEY, input: given });
    }
    return given;
  };
  return z.preprocess(refuseUnwritable, z.record(labelKey, value));
}

/** Labels of an object. Read one with `labelOf`: a plain property access would find `constructor` in every record. */
export const labels = byLabelKey(labelValue)
  .refine((record) => Object.keys(record).length <= LABELS_MAX, `at most ${LABELS_MAX} labels`)
  .describe(`Labels, at most ${LABELS_MAX}`);
export type Labels = z.infer<typeof labels>;

/** Changes of some labels: null takes one away, as in a JSON merge patch (RFC 7396). */
export const labelChanges = byLabelKey(labelValue.nullable())
  .refine(
    (record) => Object.keys(record).length <= 2 * LABELS_MAX,
    `at most ${2 * LABELS_MAX} labels that change`,
  )
  .describe('New values of some labels, the others stay; null removes a label');
export type LabelChanges = z.infer<typeof labelChanges>;

/** Value of a label, or undefined when the record does not carry it itself. */
export function labelOf(record: Labels, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** The pairs of `a=b,c=d`, in their order; undefined: it has not that form. */
export function labelPairs(text: string): [key: string, value: string][] | undefined {
  const pairs = text.split(',').map((pair): [string, string] => {
    const equals = pair.indexOf('=');
    return [pair.slice(0, Math.max(equals, 0)), pair.slice(equals + 1)];
  });
  return pairs.some(([key]) => key === '') ? undefined : pairs;
}

/** The labels in one canonical form (keys in code unit order), equal exactly when the labels are equal. */
export function canonicalLabels(record: Labels): string {
  return JSON.stringify(
    Object.entries(record).sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0)),
  );
}

/** Whether a MAC address (canonical text) names one interface: neither a group nor all zero. */
function isUnicastMac(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}

/** Unicast MAC address; the result is lower case. */
export const macAddress = z
  .string()
  .toLowerCase()
  .regex(MAC, { error: 'must be a MAC address such as 02:00:00:00:00:01', abort: true })
  .refine(isUnicastMac, 'must be a unicast MAC address: neither multicast nor all zero')
  .describe('Unicast MAC address, six bytes in hexadecimal separated by ":"');

/** TCP, UDP or SCTP port. */
export const port = z.int().min(1).max(65535).describe('Port, 1 to 65535');

/** IANA_SVC_NAME (RFC 6335), as Kubernetes names ports: at most 15 characters, at least one letter, no "--". */
export const portName = z
  .string()
  .min(1)
  .max(15)
  .regex(
    /^(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    'must be a port name: lower case letters, digits and "-", with a letter',
  )
  .describe('Name of a port (IANA service name), at most 15 characters');

export const protocol = z.enum(['TCP', 'UDP', 'SCTP']).describe('Transport protocol');
export type Protocol = z.infer<typeof protocol>;

/** IPPROTO_* of <netinet/in.h>. */
export const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Namespace of an endpoint that names none. */
export const DEFAULT_NAMESPACE = 'default';

/** The label that every namespace carries without being given it; its value is the namespace's name. */
export const NAMESPACE_NAME_LABEL = 'kubernetes.io/metadata.name';

/** Stands for "no namespace" in paths and keys of cluster-wide policies. */
export const CLUSTER_WIDE = '-';

/** ISO 8601 in UTC, as Date.toISOString writes it. */
export const timestamp = z.iso.datetime().describe('Time, ISO 8601 in UTC');
