/** Programs of endpoints by filters of clsact, which live as long as the interface and are replaced atomically. */
import type { ClsactFilters } from './clsact-filters.js';
import {
  type Attachable,
  type AttachedPrograms,
  type Attachments,
  HOOKS,
  programFor,
} from './endpoint-hooks.js';
import type { Loss } from './repair-ledger.js';

export class ClsactAttachments implements Attachments {
  readonly kind = 'clsact';
  /** Of the interfaces that filters were put on, by name. */
  private readonly indexes = new Map<string, number>();

  constructor(
    private readonly programs: AttachedPrograms,
    private readonly filters: ClsactFilters,
  ) {}

  attach(target: Attachable): void {
    try {
      this.keep(target);
    } catch (error) {
      this.detach(target);
      throw error;
    }
  }

  adopt(target: Attachable): boolean {
    return this.keep(target).includes('link');
  }

  guard(): boolean {
    return false;
  }

  isAttached(target: Attachable): boolean {
    return this.isInOrder(target.interface);
  }

  isInOrder(interfaceName: string): boolean {
    const ifindex = this.indexes.get(interfaceName);
    if (ifindex === undefined) return false;
    return HOOKS.every(({ direction }) => this.filters.isIntact({ ifindex, direction }));
  }

  detach({ interface: name, ifindex }: Attachable): void {
    for (const { direction } of HOOKS) this.filters.remove({ ifindex, direction });
    this.indexes.delete(name);
  }

  pinned(): string[] {
    return [];
  }

  /** They went with it. */
  unpin(interfaceName: string): void {
    const ifindex = this.indexes.get(interfaceName);
    if (ifindex !== undefined) this.filters.forget(ifindex);
    this.indexes.delete(interfaceName);
  }

  private keep({ interface: name, ifindex }: Attachable): (Loss | undefined)[] {
    this.indexes.set(name, ifindex);
    this.filters.requireBothHooks(ifindex);
    return HOOKS.map((hook) => {
      const { program: own, direction } = hook;
      return this.filters.keep({ name: own, program: programFor(hook, this.programs), ifindex, direction });
    });
  }
}
