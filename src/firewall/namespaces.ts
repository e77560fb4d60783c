/** Who is where: the namespaces with their labels, and the identities in each. */
import type { Labels } from '../model/names.js';
import { namespaceLabels } from '../model/namespace.js';
import { type IdentityRecord, NamespaceRecord } from './records.js';
import type { Term } from './rules.js';
import { type LabelMap, labelMap } from './selector.js';
import { LabelIndex } from './selector-index.js';

export class NamespaceDirectory {
  readonly #byName = new Map<string, NamespaceRecord>();
  readonly #byLabel = new LabelIndex<NamespaceRecord>();

  /** The namespace of that name, known from now on until `leave` finds it empty. */
  enter(name: string): NamespaceRecord {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const namespace = new NamespaceRecord(name, labelMap(namespaceLabels(name, {})), false);
    this.#byName.set(name, namespace);
    this.#byLabel.add(namespace);
    return namespace;
  }

  leave(namespace: NamespaceRecord): void {
    if (namespace.given || namespace.identities.size > 0) return;
    this.#byName.delete(namespace.name);
    this.#byLabel.remove(namespace);
  }

  /** Changes the labels. Returns those that policies saw before. */
  relabel(namespace: NamespaceRecord, given: Labels | undefined): LabelMap {
    const before = namespace.labels;
    this.#byLabel.remove(namespace);
    namespace.labels = labelMap(namespaceLabels(namespace.name, given ?? {}));
    namespace.given = given !== undefined;
    this.#byLabel.add(namespace);
    return before;
  }

  /** The identities that a term means, each once. Nothing must come or go while the result is being read. */
  *meant({ namespaces, pods }: Term): Iterable<IdentityRecord> {
    if (typeof namespaces === 'string') {
      yield* this.#byName.get(namespaces)?.identities.matching(pods) ?? [];
      return;
    }
    for (const namespace of this.#byLabel.matching(namespaces)) yield* namespace.identities.matching(pods);
  }
}
