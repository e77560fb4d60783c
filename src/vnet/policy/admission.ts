/**
 * Whose rules are in force, where the kernel's tables have no room for those of everybody: a change that does not fit is
 * refused, but what is recorded may be more than what there is room for once the tables are smaller. Whoever fits into all
 * of them is in force; who does not is cut off, and has nothing in the tables: nothing of theirs passes, and nothing of
 * the room is lost to them.
 */
import type { PolicyContents, PolicyTable } from '../../datapath/policy-table.js';
import { addition } from '../../firewall/addition.js';
import type { PolicyEngine } from '../../firewall/engine.js';
import type { CompiledPolicy, PolicyDelta } from '../../firewall/types.js';
import type { PolicyRoom, PolicySize } from '../../model/cut-off.js';
import { AppError } from '../../model/errors.js';
import { inTurns } from '../../work/turns.js';
import { fitting, minus, needOf, needsOf, plus } from './fitting.js';
import { concernedBy, difference, isEmpty, partOf, subjectsOf, withdrawal } from './policy-difference.js';

/** By identity. */
export type CutOffBy = ReadonlyMap<number, readonly PolicySize[]>;

type Needs = ReadonlyMap<number, PolicyRoom>;

export class Admission {
  private misfits: CutOffBy = new Map();
  /** What those need; missing where it has changed since it was found. */
  private readonly needs = new Map<number, PolicyRoom>();

  constructor(
    private readonly engine: PolicyEngine,
    private readonly table: PolicyTable,
    private readonly encode: (policy: CompiledPolicy) => Promise<PolicyContents>,
  ) {}

  get cutOff(): CutOffBy {
    return this.misfits;
  }

  /**
   * Makes the tables equal to what is wanted, as far as there is room. False: they were. Whoever has theirs already keeps
   * it. Where what is wanted does not fit beside what is there, that goes first, and nobody talks to those concerned
   * until theirs is there.
   */
  async compare(wanted: PolicyContents): Promise<boolean> {
    const present = await this.table.load();
    const change = await inTurns(difference(wanted, present));
    if (isEmpty(change) || (await this.fits(change))) this.set(new Map(), new Map());
    else {
      const concerned = await inTurns(concernedBy(change));
      await this.table.commit(await inTurns(withdrawal(present, concerned)));
      const theirs = await inTurns(partOf(wanted, concerned));
      await this.give(await inTurns(needsOf(theirs)), async () => theirs);
    }
    return !isEmpty(change);
  }

  /** Told of each change that is in force: whoever is cut off gets what is theirs, where it has made room for it. */
  async readmit(made: PolicyDelta): Promise<void> {
    if (this.misfits.size === 0) return;
    const gone = new Set(made.subjects.delete);
    this.set(new Map([...this.misfits].filter(([identity]) => !gone.has(identity))), this.needs);
    for (const identity of await inTurns(subjectsOf(made))) this.needs.delete(identity);
    if (this.misfits.size === 0) return;
    // Also where nothing has gone: what has come may be one more reason why they do not fit.
    await this.give(await this.needsOfMisfits(), async (identities) =>
      this.encode(await this.rulesOf(identities)),
    );
  }

  /** Who would be cut off, were the rules of some others: those that `changes` tells before and after. */
  async afterwards(
    changes: ReadonlyMap<number, { readonly before: CompiledPolicy; readonly after: CompiledPolicy }>,
  ): Promise<CutOffBy> {
    if (this.misfits.size === 0) return this.misfits;
    const needs = new Map(await this.needsOfMisfits());
    let room = await this.table.room();
    for (const [identity, { before, after }] of changes) {
      if (this.misfits.has(identity)) needs.set(identity, needOf(after));
      else room = minus(plus(room, needOf(before)), needOf(after));
    }
    return (await inTurns(fitting(needs, room))).misfits;
  }

  /** Gives theirs to as many of those who have nothing as there is room for, and remembers the others. */
  private async give(
    needs: Needs,
    rulesOf: (identities: readonly number[]) => Promise<PolicyContents>,
  ): Promise<void> {
    const { fit, misfits } = await inTurns(fitting(needs, await this.table.room()));
    const refused = fit.length === 0 ? [] : await this.giveInParts(await rulesOf(fit), fit);
    const lackless = refused.map((identity) => [identity, []] as const);
    this.set(new Map<number, readonly PolicySize[]>([...misfits, ...lackless]), needs);
  }

  /** Returns those whom the kernel has refused all the same, for want of memory. */
  private async giveInParts(rules: PolicyContents, identities: readonly number[]): Promise<number[]> {
    const theirs = await inTurns(partOf(rules, new Set(identities)));
    if (await this.fits(addition(theirs))) return [];
    if (identities.length === 1) return [...identities];
    const middle = identities.length >>> 1;
    return [
      ...(await this.giveInParts(theirs, identities.slice(0, middle))),
      ...(await this.giveInParts(theirs, identities.slice(middle))),
    ];
  }

  private async needsOfMisfits(): Promise<Needs> {
    for (const identity of this.misfits.keys()) {
      if (this.needs.has(identity)) continue;
      this.needs.set(identity, needOf(await inTurns(this.engine.takingRulesOf(identity))));
    }
    return this.needs;
  }

  private async rulesOf(identities: readonly number[]): Promise<CompiledPolicy> {
    const parts: CompiledPolicy[] = [];
    for (const identity of identities) parts.push(await inTurns(this.engine.takingRulesOf(identity)));
    return {
      entries: parts.flatMap(({ entries }) => entries),
      subjects: parts.flatMap(({ subjects }) => subjects),
      cidrs: parts.flatMap(({ cidrs }) => cidrs),
    };
  }

  private set(misfits: CutOffBy, needs: Needs): void {
    this.misfits = misfits;
    const theirs = [...needs].filter(([identity]) => misfits.has(identity));
    this.needs.clear();
    for (const [identity, need] of theirs) this.needs.set(identity, need);
  }

  private async fits(change: Parameters<PolicyTable['commit']>[0]): Promise<boolean> {
    try {
      await this.table.commit(change);
      return true;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'INSUFFICIENT_CAPACITY') throw error;
      return false;
    }
  }
}
