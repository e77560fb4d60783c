/**
 * Every setting of the daemon. This schema is the only source of flags, environment variables, keys of the
 * configuration file, help text and docs/settings.md. Each group of settings is in a file of settings/. Settings that
 * the programs take have the name of their CONFIG in bpf/lib/config.h.
 */
import { z } from 'zod';
import { daemonSettings } from './settings/daemon.js';
import { limitSettings } from './settings/limits.js';
import { checkListeners, listenerSettings } from './settings/listeners.js';
import { nodeSettings } from './settings/node.js';
import { checkPortRanges, rangeSettings } from './settings/ranges.js';
import { runtimeSettings } from './settings/runtimes.js';
import { sizeSettings } from './settings/sizes.js';
import { timeoutSettings } from './settings/timeouts.js';

export { type ListenAddress, listenAddress } from './settings/listeners.js';
export {
  CGROUP_ROOT_AUTO,
  CGROUP_ROOT_NONE,
  UPLINK_AUTO,
  UPLINK_NONE,
  UPLINKS_MAX,
  uplinkNames,
} from './settings/node.js';
export { serviceCidr } from './settings/ranges.js';
export { NO_PATH } from './settings/values.js';

export const settingsSchema = z
  .strictObject({
    ...daemonSettings,
    ...listenerSettings,
    ...runtimeSettings,
    ...nodeSettings,
    ...timeoutSettings,
    ...rangeSettings,
    ...limitSettings,
    ...sizeSettings,
  })
  .check(checkPortRanges, checkListeners);

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
