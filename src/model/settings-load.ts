/** Settings from flags, environment and file, each value traced to where it came from. */
import { AppError, asAppError, type ErrorDetail, errorDetails } from './errors.js';
import { SETTINGS, type SettingInfo, type SettingKey, type Settings, settingsSchema } from './settings.js';
import { parseYaml } from './yaml-text.js';

export interface SettingsSources {
  /** Arguments without the program's name. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** The text of a file; throws an error with code ENOENT when there is none. */
  readFile: (path: string) => string;
}

/** A value as it was given, and the words that lead its giver back to it. */
interface Given {
  value: unknown;
  source: string;
}

const ENVIRONMENT_PREFIX = 'QUANTUM_';
const FILE_MAX = 64 * 1024;

/** Whether the arguments ask for help rather than for a run. */
export function asksForHelp(argv: readonly string[]): boolean {
  return argv.includes('--help') || argv.includes('-h');
}

/**
 * The settings, frozen. Flags win over the environment, and that over the file. A missing file is an error
 * only when it was asked for. Throws AppError INVALID_SETTINGS that names source and key of each problem.
 */
export function loadSettings({ argv, env, readFile }: SettingsSources): Settings {
  const flags = fromFlags(argv);
  const environment = fromEnvironment(env);
  const chosen = flags.get('config') ?? environment.get('config');
  const file = fromFile(chosen, readFile);
  const given = new Map([...file, ...environment, ...flags]);
  const result = settingsSchema.safeParse(
    Object.fromEntries([...given].map(([key, { value }]) => [key, value])),
  );
  if (result.success) return Object.freeze(result.data);
  throw refusal(
    errorDetails(result.error).map(({ path, message }) => {
      const source = [...given].find(([key]) => key === path)?.[1].source ?? path;
      return { path, message: `${source}: ${message}` };
    }),
  );
}

function refusal(details: ErrorDetail[], cause?: unknown): AppError {
  const text = details.map(({ message }) => message).join('; ');
  return new AppError('INVALID_SETTINGS', text, { details, cause });
}

function fromFlags(argv: readonly string[]): Map<SettingKey, Given> {
  const given = new Map<SettingKey, Given>();
  for (let index = 0; index < argv.length; index++) {
    const argument = argv[index] ?? '';
    const equals = argument.indexOf('=');
    const flag = equals < 0 ? argument : argument.slice(0, equals);
    const setting = SETTINGS.find((known) => known.flag === flag);
    if (setting === undefined) {
      const what = argument.startsWith('-') ? 'unknown flag' : 'unexpected argument';
      throw refusal([{ path: flag, message: `flag ${flag}: ${what}${suggestion(flag, 'flag')}` }]);
    }
    const source = `flag ${flag}`;
    if (given.has(setting.key)) throw refusal([{ path: setting.key, message: `${source}: is given twice` }]);
    const value = equals < 0 ? argv[++index] : argument.slice(equals + 1);
    if (value === undefined) throw refusal([{ path: setting.key, message: `${source}: needs a value` }]);
    given.set(setting.key, { value: fromText(setting, value), source });
  }
  return given;
}

function fromEnvironment(env: SettingsSources['env']): Map<SettingKey, Given> {
  const given = new Map<SettingKey, Given>();
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(ENVIRONMENT_PREFIX) || value === undefined) continue;
    const setting = SETTINGS.find((known) => known.environment === name);
    const source = `environment variable ${name}`;
    if (setting === undefined) {
      throw refusal([
        { path: name, message: `${source}: unknown setting${suggestion(name, 'environment')}` },
      ]);
    }
    given.set(setting.key, { value: fromText(setting, value), source });
  }
  return given;
}

function fromFile(chosen: Given | undefined, readFile: (path: string) => string): Map<SettingKey, Given> {
  const fallback = settingsSchema.shape.config.parse(undefined);
  const path = settingsSchema.shape.config.safeParse(chosen?.value);
  // A path that is no path is reported with the other settings.
  if (!path.success) return new Map();
  let text: string;
  try {
    text = readFile(path.data);
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (isMissing && chosen === undefined) return new Map();
    const source = chosen === undefined ? `file ${fallback}` : chosen.source;
    const why = isMissing ? `there is no file ${path.data}` : `${path.data} cannot be read`;
    throw refusal([{ path: 'config', message: `${source}: ${why}` }], error);
  }
  return fromYaml(path.data, text);
}

function fromYaml(path: string, text: string): Map<SettingKey, Given> {
  const fail = (key: string, message: string, cause?: unknown) =>
    refusal([{ path: key, message: `file ${path}: ${message}` }], cause);
  if (text.length > FILE_MAX) throw fail('', `is larger than ${FILE_MAX} characters`);
  let content: unknown;
  try {
    content = parseYaml(text);
  } catch (error) {
    throw fail('', asAppError(error).message, error);
  }
  if (content === null) return new Map();
  if (typeof content !== 'object' || Array.isArray(content))
    throw fail('', 'must have a key for each setting');
  const given = new Map<SettingKey, Given>();
  for (const [key, value] of Object.entries(content)) {
    const setting = SETTINGS.find((known) => known.key === key);
    if (setting === undefined) throw fail(key, `${key}: unknown key${suggestion(key, 'key')}`);
    if (key === 'config') throw fail(key, 'config: cannot be set in the file itself');
    given.set(setting.key, { value, source: `file ${path}: ${key}` });
  }
  return given;
}

/** Flags and variables are text; a whole number becomes one, anything else is left for the schema to refuse. */
function fromText(setting: SettingInfo, text: string): unknown {
  return setting.kind === 'integer' && /^-?[0-9]{1,15}$/.test(text) ? Number(text) : text;
}

/** `; did you mean …?` with the setting whose name is nearest, unless none is near. */
function suggestion(name: string, form: 'flag' | 'environment' | 'key'): string {
  const nearest = SETTINGS.map((setting) => ({
    name: setting[form],
    distance: editDistance(name, setting[form]),
  })).sort((left, right) => left.distance - right.distance)[0];
  if (nearest === undefined || nearest.distance > Math.max(2, nearest.name.length / 3)) return '';
  return `; did you mean ${nearest.name}?`;
}

/** Levenshtein distance; names that are far longer than any setting's are not compared. */
function editDistance(left: string, right: string): number {
  if (left.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const change = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
