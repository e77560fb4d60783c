import { AppError } from '../../src/model/errors.js';
import { DEFAULT_NAMESPACE } from '../../src/model/names.js';
import { type Namespace, namespaceLabels } from '../../src/model/namespace.js';
import type { NamespaceService } from '../../src/vnet/contract.js';

export class FakeNamespaces implements NamespaceService {
  readonly #namespaces = new Map<string, Namespace>();

  constructor(
    private readonly fail: () => void,
    /** Names of the namespaces that something is in, once for each. */
    private readonly members: () => string[],
    private readonly createdAt: string,
  ) {
    this.ensure(DEFAULT_NAMESPACE);
  }

  /** Makes it if it is not there. */
  ensure(name: string): void {
    if (!this.#namespaces.has(name)) this.#make(name, {});
  }

  put: NamespaceService['put'] = async (name, request) => {
    this.fail();
    return this.#make(name, request.labels);
  };

  list(): Namespace[] {
    return [...this.#namespaces.values()];
  }

  get(name: string): Namespace {
    const found = this.#namespaces.get(name);
    if (found === undefined) throw new AppError('NAMESPACE_NOT_FOUND');
    return found;
  }

  async delete(name: string): Promise<void> {
    this.fail();
    this.get(name);
    if (name === DEFAULT_NAMESPACE || this.members().includes(name)) throw new AppError('NAMESPACE_IN_USE');
    this.#namespaces.delete(name);
  }

  #make(name: string, labels: Namespace['labels']): Namespace {
    const made = { name, labels: namespaceLabels(name, labels), created_at: this.createdAt };
    this.#namespaces.set(name, made);
    return made;
  }
}
