/** Namespaces: a scope of policies, with labels that policies select by. */
import { z } from 'zod';
import { dnsLabel, LABELS_MAX, type Labels, labels, NAMESPACE_NAME_LABEL, timestamp } from './names.js';

/** Body of PUT /namespaces/{name}. */
export const namespaceRequest = z
  .strictObject({
    labels: labels
      .refine(
        (given) => Object.keys(namespaceLabels('', given)).length <= LABELS_MAX,
        `at most ${LABELS_MAX - 1} labels beside ${NAMESPACE_NAME_LABEL}, which every namespace has`,
      )
      .prefault({}),
  })
  .meta({ id: 'NamespaceRequest', description: 'Labels of a namespace' });
export type NamespaceRequest = z.output<typeof namespaceRequest>;

export const namespace = z
  .strictObject({
    name: dnsLabel.describe('Name of the namespace'),
    labels: labels.describe(`Labels, with ${NAMESPACE_NAME_LABEL}`),
    created_at: timestamp,
  })
  .meta({ id: 'Namespace', description: 'A scope of endpoints and policies' });
export type Namespace = z.infer<typeof namespace>;

export const namespaceList = z.strictObject({ namespaces: z.array(namespace) }).meta({ id: 'NamespaceList' });
export type NamespaceList = z.infer<typeof namespaceList>;

/** The labels that policies see: those given, and the namespace's name, which nobody can claim otherwise. */
export function namespaceLabels(name: string, given: Labels): Labels {
  return { ...given, [NAMESPACE_NAME_LABEL]: name };
}
