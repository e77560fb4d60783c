/** Namespaces and their labels. One exists as soon as something is in it; only labels need a record. */
import { AppError } from '../model/errors.js';
import { DEFAULT_NAMESPACE } from '../model/names.js';
import { type Namespace, type NamespaceRequest, namespaceLabels } from '../model/namespace.js';
import type { Reader, Store } from '../store/store.js';
import { endpoints, namespaces, policies, services } from '../store/tables.js';
import type { NamespaceService } from './contract.js';
import type { EngineChange, PolicySync } from './policy/policy-sync.js';
import { type OnLeft, Rollback } from './rollback.js';
import type { Serial } from './serial.js';

/** When a namespace without a record began is not known. */
const UNRECORDED = new Date(0).toISOString();

export class Namespaces implements NamespaceService {
  constructor(private readonly parts: { store: Store; serial: Serial; policy: PolicySync; onLeft: OnLeft }) {}

  list(): Namespace[] {
    const { store } = this.parts;
    const recorded = store.list(namespaces);
    const names = new Set(recorded.map(({ name }) => name));
    const implied = [...namesInUse(store)].filter((name) => !names.has(name)).map(impliedNamespace);
    return [...recorded, ...implied].sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  get(name: string): Namespace {
    const { store } = this.parts;
    const recorded = store.get(namespaces, [name]);
    if (recorded !== undefined) return recorded;
    if (namesInUse(store).has(name)) return impliedNamespace(name);
    throw new AppError('NAMESPACE_NOT_FOUND', `there is no namespace ${name}`);
  }

  put(name: string, request: NamespaceRequest): Promise<Namespace> {
    return this.parts.serial.run(async () => {
      const { store } = this.parts;
      const before = store.get(namespaces, [name]);
      const after: Namespace = {
        name,
        labels: namespaceLabels(name, request.labels),
        created_at: before?.created_at ?? new Date().toISOString(),
      };
      await this.change(name, before, after);
      return after;
    });
  }

  delete(name: string): Promise<void> {
    return this.parts.serial.run(async () => {
      const { store } = this.parts;
      const before = store.get(namespaces, [name]);
      if (name === DEFAULT_NAMESPACE || namesInUse(store).has(name)) {
        throw new AppError(
          'NAMESPACE_IN_USE',
          `endpoints, policies or services are in the namespace ${name}`,
        );
      }
      if (before === undefined) throw new AppError('NAMESPACE_NOT_FOUND', `there is no namespace ${name}`);
      await this.change(name, before, undefined);
    });
  }

  /** Stored before it is in force, and taken back when the kernel refuses it. */
  private async change(
    name: string,
    before: Namespace | undefined,
    after: Namespace | undefined,
  ): Promise<void> {
    const { store, policy, onLeft } = this.parts;
    const record = (namespace: Namespace | undefined) =>
      store.transaction((transaction) => {
        if (namespace === undefined) transaction.delete(namespaces, [name]);
        else transaction.put(namespaces, [name], namespace);
      });
    const apply =
      (namespace: Namespace | undefined): EngineChange =>
      (engine) =>
        namespace === undefined ? engine.removingNamespace(name) : engine.settingNamespace(namespace);
    const rollback = new Rollback(onLeft);
    try {
      await policy.change(apply(after), apply(before), async () => {
        await record(after);
        rollback.add(`labels of the namespace ${name} are recorded that are not in force`, () =>
          record(before),
        );
      });
    } catch (error) {
      await rollback.run();
      throw error;
    }
  }
}

function impliedNamespace(name: string): Namespace {
  return { name, labels: namespaceLabels(name, {}), created_at: UNRECORDED };
}

function namesInUse(reader: Reader): Set<string> {
  return new Set([
    DEFAULT_NAMESPACE,
    ...reader.list(endpoints).map(({ namespace }) => namespace),
    ...reader.list(services).map(({ namespace }) => namespace),
    ...reader.list(policies).map((record) => namespaceOf(record.object)),
  ]);
}

function namespaceOf(object: Record<string, unknown>): string {
  const { metadata } = object as { metadata?: { namespace?: string } };
  return metadata?.namespace ?? DEFAULT_NAMESPACE;
}
