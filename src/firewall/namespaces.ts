/**
 * Who is where: the identities of each namespace, and the peer terms that may mean them. Everything is found
 * by label; nothing here goes through all identities or all terms.
 */
import type { Labels } from '../model/names.js';
import { namespaceLabels } from '../model/namespace.js';
import { type BoundTerm, type IdentityRecord, NamespaceRecord } from './records.js';
import { labelMap } from './selector.js';
import { isAnchored, LabelIndex, SelectorIndex } from './selector-index.js';

export class NamespaceDirectory {
  readonly #byName = new Map<string, NamespaceRecord>();
  readonly #byLabel = new LabelIndex<NamespaceRecord>();
  /** Every term with a namespaceSelector, by that: for namespaces whose labels change. */
  readonly #wide = new SelectorIndex<BoundTerm>();
  /** Of those, for identities that come: the ones whose podSelector asks for a label, by that. */
  readonly #wideByPod = new SelectorIndex<BoundTerm>();
  /** And the others, by namespaceSelector. */
  readonly #wideByNamespace = new SelectorIndex<BoundTerm>();

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
    const { given, identities, policies, terms } = namespace;
    if (given || identities.size + policies.size + terms.size > 0) return;
    this.#byName.delete(namespace.name);
    this.#byLabel.remove(namespace);
  }

  /** Changes the labels. Returns the terms that see the namespace differently now. */
  relabel(namespace: NamespaceRecord, given: Labels | undefined): BoundTerm[] {
    const before = new Set(this.#wide.matching(namespace.labels));
    this.#byLabel.remove(namespace);
    namespace.labels = labelMap(namespaceLabels(namespace.name, given ?? {}));
    namespace.given = given !== undefined;
    this.#byLabel.add(namespace);
    const after = new Set(this.#wide.matching(namespace.labels));
    return [
      ...[...before].filter((term) => !after.has(term)),
      ...[...after].filter((term) => !before.has(term)),
    ];
  }

  addTerm(term: BoundTerm): void {
    const { namespaces, pods } = term;
    if (typeof namespaces === 'string') {
      this.enter(namespaces).terms.add(term, pods);
      return;
    }
    this.#wide.add(term, namespaces);
    if (isAnchored(pods)) this.#wideByPod.add(term, pods);
    else this.#wideByNamespace.add(term, namespaces);
  }

  removeTerm(term: BoundTerm): void {
    if (typeof term.namespaces === 'string') {
      const namespace = this.#byName.get(term.namespaces);
      if (namespace === undefined) return;
      namespace.terms.remove(term);
      this.leave(namespace);
      return;
    }
    this.#wide.remove(term);
    this.#wideByPod.remove(term);
    this.#wideByNamespace.remove(term);
  }

  /** The identities that a term means. */
  *meant({ namespaces, pods }: BoundTerm): Iterable<IdentityRecord> {
    if (typeof namespaces === 'string') {
      const namespace = this.#byName.get(namespaces);
      if (namespace !== undefined) yield* namespace.identities.matching(pods);
      return;
    }
    for (const namespace of this.#byLabel.matching(namespaces)) yield* namespace.identities.matching(pods);
  }

  /** The terms that mean an identity. */
  *meaning({ labels, namespace }: IdentityRecord): Iterable<BoundTerm> {
    yield* namespace.terms.matching(labels);
    for (const term of this.#wideByPod.matching(labels)) {
      if (typeof term.namespaces !== 'string' && term.namespaces.matches(namespace.labels)) yield term;
    }
    for (const term of this.#wideByNamespace.matching(namespace.labels)) {
      if (term.pods.matches(labels)) yield term;
    }
  }
}
