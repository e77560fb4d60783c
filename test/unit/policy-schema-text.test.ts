import { expect, test } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { POLICY_TEXT_MAX, parsePolicyText } from '../../src/model/policy.js';
import { YAML_DEPTH_MAX, YAML_ITEMS_MAX } from '../../src/model/yaml-text.js';

function errorOf(run: () => unknown): AppError {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

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
  const policy = parsePolicyText(YAML, 'yaml');
  expect(policy.spec.ingress?.[0]?.ports).toEqual([{ protocol: 'TCP', port: 80 }]);
  expect(parsePolicyText(JSON.stringify(policy), 'json')).toEqual(policy);
  expect(parsePolicyText(JSON.stringify(policy, null, 2), 'yaml')).toEqual(policy);
});

test.each([
  ['an alias', 'a: &x 1\nb: *x', /aliases are not allowed.*line 2/],
  ['an alias bomb', 'a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]', /aliases are not allowed/],
  ['a key given twice', `${YAML}kind: NetworkPolicy\n`, /unique.*line/],
  ['two documents', `${YAML}---\n${YAML}`, /more than one document/],
  ['an unknown tag', 'a: !run x', /Unresolved tag.*line 1/],
  ['a syntax error', 'a: "b', /Missing closing.*line 1/],
  ['a key that is a list', '[a]: b', /keys must be strings/],
])('YAML with %s is refused, telling where', (_what, text, message) => {
  const error = errorOf(() => parsePolicyText(text, 'yaml'));
  expect(error.code).toBe('INVALID_JSON');
  expect(error.message).toMatch(message);
});

test('a label that YAML reads as a number or a truth value is refused, not guessed', () => {
  expect(
    errorOf(() => parsePolicyText(YAML.replace('app: web', 'app: yes1, on: true'), 'yaml')).details,
  ).toEqual([
    { path: 'spec.podSelector.matchLabels.on', message: 'Invalid input: expected string, received boolean' },
  ]);
});

test.each(['[', '{a: ', '- ', '? ', 'a:\n'])(
  'nesting of %j as deep as the size allows ends in an error, not in the end of the process',
  (text) => {
    // The nested block mapping needs its indentation; the others nest on one line.
    const nested =
      text === 'a:\n'
        ? Array.from({ length: 600 }, (_none, depth) => `${' '.repeat(depth)}${text}`).join('')
        : text.repeat(Math.floor(50_000 / text.length));
    const error = errorOf(() => parsePolicyText(nested, 'yaml'));
    expect(error.message).toContain(`more than ${YAML_DEPTH_MAX} levels`);
  },
);

test('a mapping with very many keys is refused before its keys are compared with each other', () => {
  const text = Array.from({ length: 20_000 }, (_none, index) => `k${index}: 1\n`).join('');
  expect(errorOf(() => parsePolicyText(text, 'yaml')).message).toContain(`more than ${YAML_ITEMS_MAX} items`);
});

test('a text that is too large is refused before it is parsed', () => {
  for (const format of ['json', 'yaml'] as const) {
    const error = errorOf(() => parsePolicyText('x'.repeat(POLICY_TEXT_MAX + 1), format));
    expect(error.code).toBe('PAYLOAD_TOO_LARGE');
  }
});

test('JSON that is none is refused as such', () => {
  expect(errorOf(() => parsePolicyText('{', 'json')).code).toBe('INVALID_JSON');
});
