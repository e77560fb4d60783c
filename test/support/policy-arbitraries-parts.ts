/** What random policies of every kind are made of: selectors, ranges and ports. */
import fc from 'fast-check';
import type { OracleSelector } from './policy-oracle.js';
import {
  EDGE_PORTS,
  LABEL_KEYS,
  LABEL_VALUES,
  NAME_LABEL,
  NAMESPACES,
  PORT_NAMES,
  RANGES,
} from './policy-vocabulary.js';

export const labels = fc.dictionary(fc.constantFrom(...LABEL_KEYS), fc.constantFrom(...LABEL_VALUES), {
  noNullPrototype: true,
});

function expression(keys: string[], values: string[]) {
  return fc.oneof(
    fc.record({
      key: fc.constantFrom(...keys),
      operator: fc.constantFrom('In', 'NotIn'),
      values: fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }),
    }),
    fc.record({ key: fc.constantFrom(...keys), operator: fc.constantFrom('Exists', 'DoesNotExist') }),
  );
}

/** Every second selects everything. */
export function selector(keys: string[], values: string[]): fc.Arbitrary<OracleSelector> {
  const exact = fc.record(
    {
      matchLabels: fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...values), {
        maxKeys: 2,
        noNullPrototype: true,
      }),
      matchExpressions: fc.array(expression(keys, values), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
  return fc.oneof(fc.constant({}), exact);
}

export const podSelector = selector(LABEL_KEYS, LABEL_VALUES);
export const namespaceSelector = fc.oneof(
  selector(LABEL_KEYS, LABEL_VALUES),
  selector([NAME_LABEL], NAMESPACES),
);

export const range = fc.constantFrom(...RANGES);
export const portNumber = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...EDGE_PORTS) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 65535 }) },
);
export const portName = fc.constantFrom(...PORT_NAMES);
export const protocol = fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const);

const AUDIT = { 'quantum.network/mode': 'audit' };
export const annotations = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom({}, { 'quantum.network/mode': 'enforce' }) },
  { weight: 1, arbitrary: fc.constant(AUDIT) },
);
