import { expect, test, vi } from 'vitest';
import { Parser } from 'yaml';
import type { NetworkPolicy } from '../../src/model/network-policy.js';
import { parsePolicy } from '../../src/model/policy.js';
import {
  parseYaml,
  parseYamlDocuments,
  YAML_DEPTH_MAX,
  YAML_DIRECTIVES_MAX,
  YAML_ITEMS_MAX,
  YAML_KEYS_MAX,
  YAML_LEXEMES_MAX,
} from '../../src/model/yaml-text.js';
import { errorOf } from '../support/bad-policy.js';

const YAML = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web   # a comment
spec:
  podSelector:
    matchLabels: {app: web}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: client}}
    ports:
    - {port: 80}
`;

test('YAML and JSON of the same policy parse to the same', () => {
  const policy = parsePolicy(parseYaml(YAML)) as NetworkPolicy;
  expect(policy.spec.ingress?.[0]?.ports).toEqual([{ protocol: 'TCP', port: 80 }]);
  expect(parsePolicy(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
  expect(parsePolicy(parseYaml(JSON.stringify(policy, null, 2)))).toEqual(policy);
});

test.each([
  ['an alias', 'a: &x 1\nb: *x', /aliases are not allowed.*line 2/],
  ['an alias bomb', 'a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]', /aliases are not allowed/],
  ['a key given twice', `${YAML}kind: NetworkPolicy\n`, /unique.*line/],
  ['an end that has no begin', 'a: 1\n}', /Unexpected flow-map-end.*line 2/],
  ['a directive without a document', '%YAML 1.2\n', /[Dd]irectives-end/],
  ['an unknown tag', 'a: !run x', /Unresolved tag.*line 1/],
  ['a syntax error', 'a: "b', /Missing closing.*line 1/],
  ['a key that is a list', '[a]: b', /keys must be strings/],
])('YAML with %s is refused, telling where', (_what, text, message) => {
  for (const given of [text, `${YAML}---\n${text}`]) {
    const error = errorOf(() => parseYamlDocuments(given, 2));
    expect(error.code).toBe('INVALID_JSON');
    if (given === text) expect(error.message).toMatch(message);
  }
  expect(errorOf(() => parseYaml(text)).message).toMatch(message);
});

test('where one document is wanted, two are refused', () => {
  expect(errorOf(() => parseYaml(`${YAML}---\n${YAML}`)).message).toMatch(/more than one document.*line 14/);
});

test.each([
  ['a', ['a']],
  ['---\na\n', ['a']],
  ['a\n---\nb', ['a', 'b']],
  ['--- # first\na: 1\n--- {b: 2}\n', [{ a: 1 }, { b: 2 }]],
  ['a: |\n  ---\n  text\n', [{ a: '---\ntext\n' }]],
  ['', []],
  ['---\n---\n# c\n', []],
  ['---\n# only a comment\n---\na: 1\n---\n---\n', [{ a: 1 }]],
  ['a\n...\n---\n', ['a']],
  ['---\nnull\n---\na', ['a']],
  ['%YAML 1.2\n---\na\n...\n%YAML 1.2\n---\nb', ['a', 'b']],
  // The directive is of the first document, which is empty; in YAML 1.1 `yes` would be a truth value.
  ['%YAML 1.1\n---\n---\na: yes', [{ a: 'yes' }]],
  ['\ufeffa: 1', [{ a: 1 }]],
])('the documents of %j are %j: empty ones do not count', (text, documents) => {
  expect(parseYamlDocuments(text, 2)).toEqual(documents);
});

test('documents are bounded; very many empty ones do no harm', () => {
  expect(parseYamlDocuments('a\n---\n'.repeat(16), 16)).toHaveLength(16);
  expect(errorOf(() => parseYamlDocuments('a\n---\n'.repeat(17), 16)).message).toContain(
    'more than 16 documents (line 32',
  );
  expect(parseYamlDocuments('---\n'.repeat(50_000), 1)).toEqual([]);
});

test('a label that YAML reads as a number or a truth value is refused, not guessed', () => {
  expect(
    errorOf(() => parsePolicy(parseYaml(YAML.replace('app: web', 'app: yes1, on: true')))).details,
  ).toEqual([{ path: 'spec.podSelector.matchLabels.on', message: 'must be a text' }]);
});

test.each(['[', '{a: ', '- ', '? ', 'a:\n'])(
  'nesting of %j as deep as the size allows ends in an error, not in the end of the process',
  (text) => {
    // The nested block mapping needs its indentation; the others nest on one line.
    const nested =
      text === 'a:\n'
        ? Array.from({ length: 600 }, (_none, depth) => `${' '.repeat(depth)}${text}`).join('')
        : text.repeat(Math.floor(50_000 / text.length));
    const error = errorOf(() => parseYamlDocuments(`a: 1\n---\n${nested}`, 2));
    expect(error.message).toContain(`more than ${YAML_DEPTH_MAX} levels`);
  },
);

test('a mapping with very many keys is refused before its keys are compared with each other', () => {
  const text = Array.from({ length: 20_000 }, (_none, index) => `k${index}: 1\n`).join('');
  expect(errorOf(() => parseYaml(text)).message).toContain(`more than ${YAML_KEYS_MAX} keys`);
  const flow = `{${Array.from({ length: YAML_KEYS_MAX + 1 }, (_none, index) => `k${index}`).join(',')}}`;
  expect(errorOf(() => parseYaml(flow)).message).toContain(`more than ${YAML_KEYS_MAX} keys`);
});

test('a list may be longer than a mapping, and is bounded too', () => {
  expect(parseYaml('- a\n'.repeat(YAML_KEYS_MAX + 1))).toHaveLength(YAML_KEYS_MAX + 1);
  for (const text of ['- a\n'.repeat(YAML_ITEMS_MAX + 1), `[${'a,'.repeat(YAML_ITEMS_MAX + 1)}]`]) {
    expect(errorOf(() => parseYaml(text)).message).toContain(`more than ${YAML_ITEMS_MAX} items`);
  }
});

test('a text of very many words is refused before it is parsed', () => {
  expect(errorOf(() => parseYaml('\n'.repeat(10) + '[] '.repeat(YAML_LEXEMES_MAX / 2))).message).toContain(
    `more than ${YAML_LEXEMES_MAX} words`,
  );
});

test.each([
  [
    'directives',
    '%TAG !a! b\n'.repeat(YAML_DIRECTIVES_MAX + 1),
    `more than ${YAML_DIRECTIVES_MAX} directives`,
  ],
  ['directives that nobody knows', '%X\n'.repeat(50_000), `more than ${YAML_DIRECTIVES_MAX} directives`],
  ['documents', '%YAML 1.2\n---\n'.repeat(50_000), 'more than 2 documents'],
  ['brackets', '['.repeat(100_000), `more than ${YAML_DEPTH_MAX} levels`],
  ['items inside of items', '- '.repeat(100_000), `more than ${YAML_DEPTH_MAX} levels`],
])('a text of very many %s is refused before it is parsed', (_what, text, message) => {
  const parser = vi.spyOn(Parser.prototype, 'next');
  try {
    expect(errorOf(() => parseYamlDocuments(text, 2)).message).toContain(message);
    expect(parser).not.toHaveBeenCalled();
  } finally {
    parser.mockRestore();
  }
});

test('what scalars say is no directive, bracket or document', () => {
  const lines = (text: string) => `${`  ${text}\n`.repeat(YAML_DIRECTIVES_MAX + 1)}`;
  for (const text of ['%a', '[', '- a', '---']) {
    expect(parseYaml(`a: |\n${lines(text)}`)).toEqual({ a: `${text}\n`.repeat(YAML_DIRECTIVES_MAX + 1) });
  }
  expect(parseYaml(`a:\n${"- '%a'\n- '['\n".repeat(YAML_DIRECTIVES_MAX + 1)}`)).toMatchObject({});
});

test.each([
  ['podSelector', '{podSelector: {matchLabels: {__proto__: x}}}', 'spec.podSelector.matchLabels.__proto__'],
  [
    'namespaceSelector',
    '{ingress: [{from: [{namespaceSelector: {matchLabels: {a: b, __proto__: x}}}]}]}',
    'spec.ingress[0].from[0].namespaceSelector.matchLabels.__proto__',
  ],
])('a label that cannot be is refused in a %s, not left out: it would select more', (_where, spec, path) => {
  const head = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ';
  const yaml = parseYaml(head + spec);
  for (const value of [yaml, JSON.parse(JSON.stringify(yaml))]) {
    expect(errorOf(() => parsePolicy(value)).details).toEqual([
      { path, message: expect.stringContaining('must be a label key') },
    ]);
  }
});

test('an annotation that cannot be is refused too', () => {
  const text =
    '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","annotations":{"__proto__":"x"}},"spec":{}}';
  const paths = errorOf(() => parsePolicy(JSON.parse(text))).details?.map(({ path }) => path);
  expect(paths).toEqual(['metadata.annotations.__proto__']);
});
