/**
 * JSON from outside. Of a key given twice JSON.parse takes the last, other readers the first: what may mean two things is
 * refused, as it is in YAML.
 */
import { AppError, dottedPath } from './errors.js';

/** Throws INVALID_JSON, with the path of a key that is there twice. */
export function parseJson(text: string): unknown {
  const value = read(text);
  const repeated = repeatedKey(text);
  if (repeated === undefined) return value;
  const path = dottedPath(repeated);
  const message = 'is given twice';
  throw new AppError('INVALID_JSON', `invalid JSON: ${path}: ${message}`, { details: [{ path, message }] });
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('INVALID_JSON', `invalid JSON: ${message}`, {
      details: [{ path: '', message }],
      cause,
    });
  }
}

/** Levels of nesting that are told of where something stands. */
const LEVELS_TOLD = 64;

/** An object or a list that is being gone through. */
interface Level {
  /** Of an object, as soon as it has one. */
  keys?: Set<string>;
  /** Key or index of the value that it is in. */
  at: string | number;
}

/** Where the first key that is there twice stands, in a text that is JSON. Without recursion: it may be nested deeply. */
function repeatedKey(text: string): PropertyKey[] | undefined {
  const levels: Level[] = [];
  let lastString = '""';
  for (let at = 0; at < text.length; at += 1) {
    const level = levels[levels.length - 1];
    switch (text[at]) {
      case '{':
        levels.push({ at: '' });
        break;
      case '[':
        levels.push({ at: 0 });
        break;
      case '}':
      case ']':
        levels.pop();
        break;
      case ',':
        if (typeof level?.at === 'number') level.at += 1;
        break;
      case '"': {
        const end = endOfString(text, at);
        lastString = text.slice(at, end);
        at = end - 1;
        break;
      }
      case ':':
        if (level === undefined) break;
        level.at = JSON.parse(lastString) as string;
        level.keys ??= new Set();
        if (level.keys.has(level.at)) return levels.slice(0, LEVELS_TOLD).map((one) => one.at);
        level.keys.add(level.at);
    }
  }
  return undefined;
}

/** Where the string that begins at `start` has ended. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charAt(at) !== '"') at += text.charAt(at) === '\\' ? 2 : 1;
  return at + 1;
}
