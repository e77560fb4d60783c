/** Flags out of the schema of a request: `--cidr`, `--label k=v` and so on, each with the words of the schema. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';

type Shape = Readonly<Record<string, z.ZodType>>;

/** A field of the request and the flag that sets it. */
interface Flag {
  readonly option: Option;
  readonly path: readonly string[];
}

export interface FlagOptions {
  /** Fields that are arguments and not flags. */
  readonly except?: readonly string[];
}

/** Adds a flag for each field of the schema; the function makes the body of a request out of the parsed flags. */
export function addFlags(
  command: Command,
  schema: z.ZodObject,
  { except = [] }: FlagOptions = {},
): (values: Readonly<Record<string, unknown>>) => Record<string, unknown> {
  const fields = Object.entries(schema.shape as Shape).filter(([key]) => !except.includes(key));
  const flags = fields.flatMap(([key, field]) => flagsOf([key], field));
  for (const { option } of flags) command.addOption(option);
  return (values) => {
    const body: Record<string, unknown> = {};
    for (const { option, path } of flags) {
      const value = values[option.attributeName()];
      if (value !== undefined) assign(body, path, value);
    }
    return body;
  };
}

function flagsOf(path: readonly string[], field: z.ZodType): Flag[] {
  const { inner, text, isRequired } = unwrap(field);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape as Shape).flatMap(([key, part]) => flagsOf([...path, key], part));
  }
  const name = nameOf(path);
  const single = name.replace(/s$/, '');
  const flag = (flags: string, more = '') => new Option(flags, text + more).makeOptionMandatory(isRequired);
  if (inner instanceof z.ZodBoolean) {
    // What is on unless it is said otherwise has a flag that says so.
    if (field.safeParse(undefined).data !== true) return [{ path, option: flag(`--${name}`) }];
    return [{ path, option: new Option(`--no-${name}`, `Turns off: ${text}`) }];
  }
  if (inner instanceof z.ZodRecord) {
    return [{ path, option: flag(`--${single} <key=value>`).argParser(collectPair) }];
  }
  if (inner instanceof z.ZodArray) {
    const element = unwrap(inner.element as z.ZodType).inner;
    if (!(element instanceof z.ZodObject)) {
      return [{ path, option: flag(`--${single} <value>`).argParser(collect((text) => text)) }];
    }
    const keys = Object.keys(element.shape).join(', ');
    const option = flag(`--${single} <key=value,...>`, `; keys: ${keys}`);
    return [{ path, option: option.argParser(collect(objectOf(element.shape as Shape))) }];
  }
  const isNumber =
    inner instanceof z.ZodLiteral && [...inner.values].every((value) => typeof value === 'number');
  if (inner instanceof z.ZodNumber || isNumber)
    return [{ path, option: flag(`--${name} <n>`).argParser(wholeNumber) }];
  return [{ path, option: flag(`--${name} <value>`) }];
}

/** `options.mtu` is --mtu, `dns.domain` is --dns-domain. */
function nameOf(path: readonly string[]): string {
  return (path[0] === 'options' ? path.slice(1) : path).join('-').replaceAll('_', '-');
}

/** The schema inside of defaults and the like, with the first description on the way. */
function unwrap(field: z.ZodType): { inner: z.ZodType; text: string; isRequired: boolean } {
  let inner = field;
  let text = '';
  for (;;) {
    text ||= inner.description ?? '';
    if (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
      inner = inner.unwrap() as z.ZodType;
    } else if (inner instanceof z.ZodPipe) {
      // A look at what is given before it is read has no form of its own.
      inner = (inner.in instanceof z.ZodTransform ? inner.out : inner.in) as z.ZodType;
    } else {
      return { inner, text, isRequired: !field.safeParse(undefined).success };
    }
  }
}

function assign(body: Record<string, unknown>, [key = '', ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    body[key] = value;
    return;
  }
  const inner = (body[key] ?? {}) as Record<string, unknown>;
  body[key] = inner;
  assign(inner, rest, value);
}

function wholeNumber(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** For a flag that may be given several times. */
function collect(parse: (text: string) => unknown) {
  return (text: string, before: readonly unknown[] = []): readonly unknown[] => [...before, parse(text)];
}

/** `key=value`, for labels. */
function collectPair(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [key, value] = pairOf(text);
  requireNew(key, Object.keys(before));
  return { ...before, [key]: value };
}

/** Of two values for one key nobody knows which was meant. */
function requireNew(key: string, before: readonly string[]): void {
  if (before.includes(key)) throw new InvalidArgumentError(`${key} is given twice.`);
}

function pairOf(text: string): [key: string, value: string] {
  const end = text.indexOf('=');
  if (end < 1) throw new InvalidArgumentError('It must be key=value.');
  return [text.slice(0, end), text.slice(end + 1)];
}

/** `container_port=80,name=http`; a field that is a number in the schema is one. */
function objectOf(shape: Shape) {
  return (text: string): object => {
    const keys: string[] = [];
    const pairs = text.split(',').map((part) => {
      const [key, value] = pairOf(part);
      requireNew(key, keys);
      keys.push(key);
      const field = shape[key];
      if (field === undefined) {
        throw new InvalidArgumentError(`${key} is not one of ${Object.keys(shape).join(', ')}.`);
      }
      return [key, unwrap(field).inner instanceof z.ZodNumber ? wholeNumber(value) : value] as const;
    });
    return Object.fromEntries(pairs);
  };
}
