/** What the CNI plugin prints: results in the form of each version, and errors. */
import { parseAddress } from './address.js';
import { CNI_VERSIONS, type CniResult, type CniVersion } from './cni.js';
import { asAppError } from './errors.js';

/** The error object of the specification. */
export interface CniError {
  cniVersion: CniVersion;
  /** 1 to 99 by the specification, ours from 100 on. */
  code: number;
  msg: string;
  details?: string;
}

/** The JSON of a result in the form of the version. */
export function resultText(version: CniVersion, result: CniResult): string {
  return JSON.stringify(resultFor(version, result));
}

/** Fields that the version does not know are left out; before 1.0.0 each address tells its IP version. */
function resultFor(version: CniVersion, { interfaces, ips, routes, dns }: CniResult): CniResult {
  const isOlder = version !== '1.1.0';
  return {
    cniVersion: version,
    ...(interfaces && {
      interfaces: isOlder
        ? interfaces.map(({ name, mac, sandbox }) => present({ name, mac, sandbox }))
        : interfaces,
    }),
    ...(ips && {
      ips: version.startsWith('0.')
        ? ips.map((ip) => ({ version: ipVersion(ip.address), ...ip }))
        : ips.map(({ version: _, ...ip }) => ip),
    }),
    ...(routes && { routes: isOlder ? routes.map(({ dst, gw }) => present({ dst, gw })) : routes }),
    dns: dns ?? {},
  };
}

function present<T extends object>(record: T): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
}

function ipVersion(address: string): string {
  return String(parseAddress(address.split('/')[0] ?? '').family);
}

/** The JSON of the answer to VERSION. */
export function versionText(version: CniVersion): string {
  return JSON.stringify({ cniVersion: version, supportedVersions: CNI_VERSIONS });
}

/** The error object of an error; what is unknown is shown as INTERNAL. */
export function cniError(version: CniVersion, error: unknown): CniError {
  const { cniCode, code, message, hint, details } = asAppError(error);
  const lines = [
    code,
    ...(hint === undefined ? [] : [hint]),
    ...(details ?? []).map((bad) => `${bad.path}: ${bad.message}`),
  ];
  return { cniVersion: version, code: cniCode, msg: message, details: lines.join('; ') };
}
