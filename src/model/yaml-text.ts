/**
 * YAML from outside, made harmless: no aliases (they multiply), no unknown tags, no repeated keys, one
 * document, and bounds on size, nesting and the items of a collection.
 *
 * The nesting bound is not a nicety: the library composes recursively, and a few kilobytes of "- - - -" end
 * the whole process (V8 runs out of stack inside its regular expressions, which nothing can catch). So the
 * syntax tree, which is built without recursion, is measured before anything is composed from it.
 */
import { Composer, type CST, LineCounter, Parser } from 'yaml';
import { AppError } from './errors.js';

/** Deepest nesting of collections. */
export const YAML_DEPTH_MAX = 64;
/** Most items of one collection; the check for repeated keys is quadratic in it. */
export const YAML_ITEMS_MAX = 1024;

/** The one document of a text. Throws INVALID_JSON, whose message tells the line. */
export function parseYaml(text: string): unknown {
  try {
    return composeOne(text);
  } catch (error) {
    const message = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error);
    throw new AppError('INVALID_JSON', `invalid YAML: ${message}`, {
      details: [{ path: '', message }],
      cause: error,
    });
  }
}

function composeOne(text: string): unknown {
  const lines = new LineCounter();
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  for (const token of tokens) if (token.type === 'document') measure(token, lines);
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    strict: true,
    stringKeys: true,
    uniqueKeys: true,
    logLevel: 'silent',
  });
  const [document, second] = [...composer.compose(tokens, true, text.length)];
  if (document === undefined) return null;
  if (second !== undefined) throw new Error('more than one document');
  // A warning is an unknown tag: a value that would mean something else than its author thinks.
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw new Error(at(lines, problem.pos[0], problem.message));
  return document.toJS({ maxAliasCount: 0 }) as unknown;
}

function measure(document: CST.Document, lines: LineCounter): void {
  const pending: { token: CST.Token | null | undefined; depth: number }[] = [
    { token: document.value, depth: 1 },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { token, depth } = next;
    if (token === null || token === undefined) continue;
    if (token.type === 'alias') throw new Error(at(lines, token.offset, 'aliases are not allowed'));
    if (!('items' in token)) continue;
    if (depth > YAML_DEPTH_MAX) {
      throw new Error(at(lines, token.offset, `more than ${YAML_DEPTH_MAX} levels of nesting`));
    }
    if (token.items.length > YAML_ITEMS_MAX) {
      throw new Error(at(lines, token.offset, `more than ${YAML_ITEMS_MAX} items in a collection`));
    }
    for (const item of token.items) {
      pending.push({ token: item.key, depth: depth + 1 }, { token: item.value, depth: depth + 1 });
    }
  }
}

function at(lines: LineCounter, offset: number, message: string): string {
  const { line, col } = lines.linePos(offset);
  return `${message} (line ${line}, column ${col})`;
}
