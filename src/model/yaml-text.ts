/**
 * YAML from outside, made harmless: no aliases (they multiply), no unknown tags, no repeated keys, and bounds on
 * documents, nesting and the items of a collection. The size is for the caller to bound.
 *
 * The nesting bound is not a nicety: the library composes recursively, and a few kilobytes of "- - - -" end
 * the whole process (V8 runs out of stack inside its regular expressions, which nothing can catch). So the
 * syntax tree, which is built without recursion, is measured before anything is composed from it.
 */
import { Composer, CST, type Document, Lexer, LineCounter, Parser } from 'yaml';
import { AppError } from './errors.js';

/** Deepest nesting of collections. */
export const YAML_DEPTH_MAX = 64;
/** Most keys of one mapping; the check for repeated keys is quadratic in it. */
export const YAML_KEYS_MAX = 512;
/** Most items of one sequence. */
export const YAML_ITEMS_MAX = 16_384;
/** Most lexemes of a text: to parse and compose each takes microseconds. An ordinary MiB has 350,000. */
export const YAML_LEXEMES_MAX = 400_000;
/** Most directives (`%YAML`, `%TAG`) of a text: each document may have some, and each costs far more than it is long. */
export const YAML_DIRECTIVES_MAX = 1024;

/** The one document of a text; null: it is empty. Throws INVALID_JSON, whose message tells the line. */
export function parseYaml(text: string): unknown {
  return refusing(() => compose(text, 1)[0] ?? null);
}

/** The documents of a text, those without content left out. Throws INVALID_JSON, whose message tells the line. */
export function parseYamlDocuments(text: string, max: number): unknown[] {
  return refusing(() => compose(text, max));
}

function refusing<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    const message = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error);
    throw new AppError('INVALID_JSON', `invalid YAML: ${message}`, {
      details: [{ path: '', message }],
      cause: error,
    });
  }
}

function compose(text: string, max: number): unknown[] {
  refuseExcess(text, max);
  const lines = new LineCounter();
  const tokens = withoutEmptyDocuments(new Parser(lines.addNewLine).parse(text));
  const problem = tokens.find((token) => token.type === 'error');
  if (problem !== undefined) throw new Error(at(lines, problem.offset, problem.message));
  const documents = tokens.filter((token) => token.type === 'document');
  const surplus = documents[max];
  if (surplus !== undefined) {
    const message = max === 1 ? 'more than one document' : `more than ${max} documents`;
    throw new Error(at(lines, surplus.offset, message));
  }
  for (const document of documents) measure(document, lines);
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    strict: true,
    stringKeys: true,
    uniqueKeys: true,
    logLevel: 'silent',
  });
  return [...composer.compose(tokens, true, text.length)]
    .map((document) => contentOf(document, lines))
    .filter((value) => value !== null);
}

/** Signs of a document without content. */
const BLANK: ReadonlySet<CST.TokenType | null> = new Set([
  'byte-order-mark',
  'doc-mode',
  'doc-start',
  'doc-end',
  'space',
  'comment',
  'newline',
]);

/** Throws for what would cost far more to be parsed than to be refused. `documents`: how many there may be. */
function refuseExcess(text: string, documents: number): void {
  const max = { lexemes: YAML_LEXEMES_MAX, directives: YAML_DIRECTIVES_MAX, documents: 2 * documents };
  const found = { lexemes: 0, directives: 0, documents: 0 };
  let [brackets, inRow] = [0, 0];
  let isBlank = true;
  let isContent = false;
  for (const lexeme of new Lexer().lex(text)) {
    // What a scalar says looks like anything, and stands behind a sign that there is one.
    const type: CST.TokenType | null = isContent ? null : CST.tokenType(lexeme);
    isContent = type === 'scalar';
    found.lexemes += 1;
    if (type === 'directive-line') found.directives += 1;
    if (type === 'doc-start' || type === 'doc-end') isBlank = true;
    if (isBlank && !BLANK.has(type)) {
      isBlank = false;
      found.documents += 1;
    }
    if (type === 'flow-map-start' || type === 'flow-seq-start') brackets += 1;
    // Of one that closes nothing the parser makes nothing.
    if (type === 'flow-map-end' || type === 'flow-seq-end') brackets = Math.max(brackets - 1, 0);
    // Of signs in a row each is inside of the one before.
    if (type === 'seq-item-ind' || type === 'explicit-key-ind') inRow += 1;
    else if (type !== 'space') inRow = 0;
    if (found.lexemes > max.lexemes) throw new Error(`more than ${max.lexemes} words and signs`);
    if (found.directives > max.directives) throw new Error(`more than ${max.directives} directives`);
    // Those that are a few too many are refused when it is known where.
    if (found.documents > max.documents) throw new Error(`more than ${documents} documents`);
    if (Math.max(brackets, inRow) > YAML_DEPTH_MAX)
      throw new Error(`more than ${YAML_DEPTH_MAX} levels of nesting`);
  }
}

function contentOf(document: Document.Parsed, lines: LineCounter): unknown {
  // A warning is an unknown tag: a value that would mean something else than its author thinks.
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw new Error(at(lines, problem.pos[0], problem.message));
  return document.toJS({ maxAliasCount: 0 }) as unknown;
}

const EMPTY: ReadonlySet<string> = new Set(['doc-start', 'space', 'comment', 'newline']);

/** The tokens that are worth composing: of empty documents a text may have very many. */
function withoutEmptyDocuments(tokens: Iterable<CST.Token>): CST.Token[] {
  let isDirected = false;
  return [...tokens].filter((token) => {
    if (token.type === 'directive') isDirected = true;
    if (token.type !== 'document') return true;
    // One with directives stays, or they would be taken for those of the next.
    const isKept =
      isDirected || token.value !== undefined || !token.start.every(({ type }) => EMPTY.has(type));
    isDirected = false;
    return isKept;
  });
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
    if (isSequence(token)) {
      if (token.items.length > YAML_ITEMS_MAX) {
        throw new Error(at(lines, token.offset, `more than ${YAML_ITEMS_MAX} items in a list`));
      }
    } else if (token.items.length > YAML_KEYS_MAX) {
      throw new Error(at(lines, token.offset, `more than ${YAML_KEYS_MAX} keys in a mapping`));
    }
    for (const item of token.items) {
      pending.push({ token: item.key, depth: depth + 1 }, { token: item.value, depth: depth + 1 });
    }
  }
}

function isSequence(token: CST.BlockMap | CST.BlockSequence | CST.FlowCollection): boolean {
  return token.type === 'block-seq' || (token.type === 'flow-collection' && token.start.source === '[');
}

function at(lines: LineCounter, offset: number, message: string): string {
  const { line, col } = lines.linePos(offset);
  return `${message} (line ${line}, column ${col})`;
}
