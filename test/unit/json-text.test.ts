import { expect, it } from 'vitest';
import { parseJson } from '../../src/model/json-text.js';
import { parseYaml } from '../../src/model/yaml-text.js';
import { errorOf } from '../support/bad-policy.js';

it.each([
  ['{"a":1,"a":1}', 'a'],
  ['{"spec":{"podSelector":{"matchLabels":{}},"podSelector":{}}}', 'spec.podSelector'],
  ['[{"a":1},{"b":[{"c":1,"\\u0063":2}]}]', '[1].b[0].c'],
  ['{"a":"x","b":"\\"","a":"\\\\"}', 'a'],
  ['{"__proto__":1,"__proto__":2}', '__proto__'],
])('%s is refused as in YAML: a key is given twice, and where', (text, path) => {
  const error = errorOf(() => parseJson(text));
  expect([error.code, error.details]).toEqual(['INVALID_JSON', [{ path, message: 'is given twice' }]]);
  expect(errorOf(() => parseYaml(text)).code).toBe('INVALID_JSON');
});

it.each([
  '{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":"a"}',
  '{"a":"{\\"b\\":1,\\"b\\":2}","b":"x\\\\","c":",:"}',
  ' [ [ ] , { } , "" , 1e3 , null ] ',
  '"a"',
])('%s is read as it is: no key is there twice in one object', (text) => {
  expect(parseJson(text)).toEqual(JSON.parse(text));
});

it('a body that is nested as deeply as it can be does no harm', () => {
  const levels = 1 << 19;
  expect(parseJson('['.repeat(levels) + ']'.repeat(levels))).toBeInstanceOf(Array);
  const deep = `${'{"a":'.repeat(levels / 8)}{"b":1,"b":2}${'}'.repeat(levels / 8)}`;
  expect(errorOf(() => parseJson(deep)).code).toBe('INVALID_JSON');
});
