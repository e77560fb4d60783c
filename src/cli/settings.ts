/** Settings of the daemon on this node, for what is done without asking it. */
import { SETTINGS, type Settings } from '../model/settings.js';
import { loadSettings } from '../model/settings-load.js';

/** From the file and the environment. Throws AppError INVALID_SETTINGS. */
export function localSettings(
  env: Readonly<Record<string, string | undefined>>,
  config: string | undefined,
  readFile: (path: string) => string,
): Settings {
  // Whoever uses the command line may have variables of its own, which are none of the daemon's.
  const known = new Set(SETTINGS.map(({ environment }) => environment));
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => known.has(name)));
  return loadSettings({ argv: config === undefined ? [] : ['--config', config], env: own, readFile });
}
