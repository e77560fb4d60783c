import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

/**
 * The parts of src/ and what each may import of the others. Arrows point down this list only. A folder is a
 * part; files directly in src/ are the part `app`.
 */
const RULES: { from: string; may: string[]; because: string }[] = [
  {
    from: 'bin',
    may: ['app', 'cli', 'model'],
    because: 'a program parses its arguments and starts one thing',
  },
  {
    from: 'app',
    may: [
      'api',
      'cni',
      'docker',
      'install',
      'metrics',
      'vnet',
      'firewall',
      'nat',
      'bridge',
      'datapath',
      'store',
      'netns',
      'native',
      'model',
    ],
    because: 'the one place where the parts are put together',
  },
  {
    from: 'cli',
    may: ['install', 'doctor', 'model'],
    because:
      'it speaks to the daemon over HTTP, like anybody else, and does by itself what is done without one',
  },
  {
    from: 'doctor',
    may: ['install', 'bridge', 'native', 'model'],
    because: 'it looks at the node and changes nothing',
  },
  { from: 'api', may: ['vnet', 'unix', 'model'], because: 'an edge translates; it decides nothing' },
  {
    from: 'cni',
    may: ['vnet', 'install', 'unix', 'model'],
    because: 'an edge translates; it decides nothing',
  },
  { from: 'docker', may: ['vnet', 'unix', 'model'], because: 'an edge translates; it decides nothing' },
  { from: 'metrics', may: ['vnet', 'datapath', 'model'], because: 'it reads counters and changes nothing' },
  {
    from: 'vnet',
    may: ['firewall', 'nat', 'bridge', 'datapath', 'store', 'netns', 'native', 'work', 'model'],
    because: 'it turns the desired state into steps for the adapters',
  },
  {
    from: 'firewall',
    may: ['work', 'model'],
    because: 'policy is pure: the same input gives the same rules, anywhere',
  },
  {
    from: 'nat',
    may: ['model'],
    because: 'who gets which port and which connection is pure, as policy is',
  },
  {
    from: 'bridge',
    may: ['netns', 'native', 'model'],
    because: 'an adapter knows the kernel and no other adapter',
  },
  {
    from: 'datapath',
    may: ['nat', 'netns', 'native', 'work', 'model'],
    because: 'an adapter knows the kernel and no other adapter',
  },
  { from: 'unix', may: ['model'], because: 'what edges have in common knows none of them' },
  { from: 'store', may: ['model'], because: 'an adapter knows its database and no other adapter' },
  { from: 'netns', may: ['native', 'model'], because: 'a library of its own on top of the native bridge' },
  { from: 'install', may: ['model'], because: 'files that others read, put there by the daemon or by hand' },
  { from: 'work', may: [], because: 'how long work is done, whatever it is' },
  { from: 'native', may: [], because: 'the boundary to the addon stands alone' },
  { from: 'model', may: [], because: 'everything else is made of it' },
];

/** The rooms of src/vnet, and which others each may know. What all of them share stands beside them, and what joins them. */
const ROOMS = [
  { room: 'policy', may: [] },
  { room: 'nat', may: ['policy'] },
  { room: 'endpoints', may: ['nat', 'policy'] },
];

/** Folders that must give the same answer anywhere: no modules that reach outside of the process. */
const PURE = ['firewall', 'nat'];
const OUTSIDE = /^(?:node:)?(?:fs|net|http|https|child_process|dgram|dns|os|process|worker_threads)(?:\/|$)/;

const src = join(import.meta.dirname, '../../src');
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
const partOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : 'app');

/** Undefined: it is not in a room of src/vnet. */
const roomOf = (file: string) => /^vnet\/([^/]+)\//.exec(file)?.[1];

/** Module specifiers of static and dynamic imports and of re-exports, types included. */
function specifiersOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const found = text.matchAll(
    /(?:^|[;}\s])(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g,
  );
  return [...found].flatMap(([, from, direct]) => [from, direct].filter((name) => name !== undefined));
}

/** Our own files that a file imports, relative to src/. */
function importsOf(file: string): string[] {
  return specifiersOf(file)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => relative(src, join(src, dirname(file), specifier)).replace(/\.js$/, '.ts'));
}

const graph = new Map(files.map((file) => [file, importsOf(file)]));

describe('imports of src/', () => {
  it('come only from parts that the table names', () => {
    const parts = new Set(files.map(partOf));
    expect([...parts].filter((part) => !RULES.some((rule) => rule.from === part))).toEqual([]);
  });

  it.each(RULES)('$from: $because', ({ from, may }) => {
    const wrong = files
      .filter((file) => partOf(file) === from)
      .flatMap((file) => (graph.get(file) ?? []).map((target) => ({ file, target })))
      .filter(({ target }) => partOf(target) !== from && !may.includes(partOf(target)))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(wrong).toEqual([]);
  });

  it('of src/vnet come from rooms that the table names', () => {
    const rooms = new Set(files.map(roomOf).filter((room) => room !== undefined));
    expect([...rooms].sort()).toEqual(ROOMS.map(({ room }) => room).sort());
  });

  it.each(ROOMS)('vnet/$room knows only the rooms below', ({ room, may }) => {
    const wrong = files
      .filter((file) => roomOf(file) === room)
      .flatMap((file) => (graph.get(file) ?? []).map((target) => ({ file, target, other: roomOf(target) })))
      .filter(({ other }) => other !== undefined && other !== room && !may.some((one) => one === other))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(wrong).toEqual([]);
  });

  it('stay inside src/ and name files that exist', () => {
    const lost = [...graph].flatMap(([file, targets]) =>
      targets.filter((target) => !graph.has(target)).map((target) => `${file} imports ${target}`),
    );
    expect(lost).toEqual([]);
  });

  it('form no cycle between files', () => {
    expect(findCycle(graph)).toEqual([]);
  });

  it.each(PURE)('of %s reach nothing outside of the process', (part) => {
    const wrong = files
      .filter((file) => partOf(file) === part)
      .flatMap((file) => specifiersOf(file).map((specifier) => ({ file, specifier })))
      .filter(({ specifier }) => OUTSIDE.test(specifier))
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });
});

it('the search for cycles finds one', () => {
  const cyclic = new Map([
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', []],
    ['d', ['b']],
  ]);
  expect(findCycle(cyclic)).toEqual(['b', 'd', 'b']);
});

/** The first cycle as the files along it, or nothing. */
function findCycle(edges: Map<string, string[]>): string[] {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const target of edges.get(file) ?? []) {
      const cycle = visit(target, [...path, file]);
      if (cycle.length > 0) return cycle;
    }
    done.add(file);
    return [];
  };
  for (const file of edges.keys()) {
    const cycle = visit(file, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}
