/**
 * Keeps the compiled policy in the kernel equal to what the engine compiles. The engine decides what changes; here
 * it becomes keys and numbers of the maps, and a change that the kernel does not take is taken back in the engine.
 */

import type { ConntrackSweeper } from '../../datapath/conntrack-sweeper.js';
import {
  noRoom,
  type PolicyChange,
  type PolicyContents,
  type PolicyTable,
} from '../../datapath/policy-table.js';
import { addition } from '../../firewall/addition.js';
import type { PolicyEngine } from '../../firewall/engine.js';
import { growth } from '../../firewall/growth.js';
import { InForce } from '../../firewall/in-force.js';
import { compiling } from '../../firewall/ledger.js';
import type { CompiledPolicy, PolicyDelta } from '../../firewall/types.js';
import type { PolicySize } from '../../model/cut-off.js';
import { AppError } from '../../model/errors.js';
import type { PolicyState } from '../../model/health.js';
import type { Store } from '../../store/store.js';
import type { Steps } from '../../work/steps.js';
import { inTurns } from '../../work/turns.js';
import { type OnLeft, Rollback } from '../rollback.js';
import { Admission, type CutOffBy } from './admission.js';
import { policyState } from './cut-offs.js';
import { but, isEmpty, subjectsOf } from './policy-difference.js';
import { PolicyNumbering } from './policy-numbering.js';

/** Subjects whose rules are taken out of the engine for a preview, and how many rules, but for those of the first. */
const PREVIEW_SUBJECTS_MAX = 1000;
const PREVIEW_ENTRIES_MAX = 20_000;

/** A change of the engine, in steps. */
export type EngineChange = (engine: PolicyEngine) => Steps;

/** Rules in force of the subjects for whom a change makes a difference, by identity. */
export interface AffectedRules {
  readonly subjects: ReadonlyMap<number, { readonly before: CompiledPolicy; readonly after: CompiledPolicy }>;
  /** Whose rules would not be in force. */
  readonly cutOff: CutOffBy;
  /** There are more of them than are told. */
  readonly truncated: boolean;
}

/** Of who is cut off, as of who has no rules in the tables at all. */
const NOTHING: CompiledPolicy = { entries: [], subjects: [], cidrs: [] };

export class PolicySync {
  /** What the kernel has, also while others are on their way: of who is cut off, nothing. */
  readonly inForce: InForce;
  private readonly numbering: PolicyNumbering;
  private readonly admission: Admission;
  /** It is not known what the kernel has: a comparison has failed on its way. */
  private isUncertain = false;

  constructor(
    private readonly engine: PolicyEngine,
    private readonly table: PolicyTable,
    private readonly store: Store,
    private readonly sweeper: ConntrackSweeper,
    private readonly on: {
      /** Something went wrong that no caller is told of. */
      error: (error: unknown, what: string) => void;
      left: OnLeft;
      /** A change has left unknown what the kernel has: ensure() is to be called, and again until it succeeds. */
      uncertain: () => void;
    },
  ) {
    this.numbering = new PolicyNumbering(store, engine);
    this.admission = new Admission(engine, table, (policy) => this.encodeAll(policy));
    this.inForce = new InForce(
      (identity) => (this.cutOffBy(identity) === undefined ? engine.inForce.view(identity) : undefined),
      () => {
        const { cutOff } = this.admission;
        const kept = engine.inForce.keep();
        return {
          view: (identity) => (cutOff.has(identity) ? undefined : kept.view(identity)),
          [Symbol.dispose]: () => kept[Symbol.dispose](),
        };
      },
    );
  }

  /**
   * Throws what change() would throw because it does not fit, and changes nothing that is to be. Tells the rules of those for
   * whom the change would make a difference, before it and after it.
   */
  async preview(apply: EngineChange, undo: EngineChange): Promise<AffectedRules> {
    await this.ensureNow();
    const { engine } = this;
    using _ = engine.hold();
    const after = new Map<number, CompiledPolicy>();
    let touched: number[] = [];
    let delta: PolicyDelta | undefined;
    try {
      await inTurns(apply(engine));
      delta = await inTurns(engine.takingDelta());
      touched = await inTurns(subjectsOf(delta));
      await inTurns(takingRules(engine, touched, after));
    } finally {
      await this.takeBack(undo);
    }
    await this.requireRoom(delta);
    const before = new Map<number, CompiledPolicy>();
    await inTurns(takingRules(engine, [...after.keys()], before));
    const changed = new Map<number, { before: CompiledPolicy; after: CompiledPolicy }>();
    for (const [identity, rules] of before) {
      changed.set(identity, { before: rules, after: after.get(identity) ?? rules });
    }
    return await this.affected(changed, new Set(touched), changed.size < touched.length);
  }

  /**
   * Changes the engine and puts the difference in force, for packets of every flow from the same moment on. When it
   * fails, `undo` must bring the engine back, and nothing has changed. Idle connections that the new set does not
   * allow are cut soon after. `record` is called when the change is known to fit, before it is in force; what it has
   * recorded is for the caller to take back when the change fails after all.
   */
  async change(
    apply: EngineChange,
    undo: EngineChange,
    record: () => Promise<unknown> = async () => undefined,
  ): Promise<void> {
    const changed = await this.put(apply, undo, (change) => this.table.commit(change), record);
    if (changed) this.cutIdle();
  }

  /** The same for rules that no packet can ask for yet or any more: those of an identity that no endpoint has. */
  async changeUnobserved(apply: EngineChange, undo: EngineChange): Promise<void> {
    await this.put(apply, undo, (change) => this.table.applyUnobserved(change));
  }

  /** Every flow is judged again: endpoints have changed who they are. */
  async judgeAgain(): Promise<void> {
    await this.table.advance();
    this.cutIdle();
  }

  /** What the kernel has of one identity. Nothing may change until it is told. */
  takingRulesInForce(identity: number): Steps<CompiledPolicy> {
    const view = this.inForce.view(identity);
    return compiling(view === undefined ? [] : [view]);
  }

  /** The settings that leave no room for the rules of an identity that is cut off; undefined: it is not. */
  cutOffBy(identity: number): readonly PolicySize[] | undefined {
    return this.admission.cutOff.get(identity);
  }

  /** Undefined: all policies are in force. */
  get state(): PolicyState | undefined {
    return policyState(this.store, this.admission.cutOff);
  }

  /**
   * Makes the kernel's tables equal to the whole of the engine's policy, once at the start. Who lacks rules because not
   * all of it fits talks to nobody, until what is taken away makes room.
   */
  async resync(): Promise<void> {
    const { policy, changed } = await this.compare();
    this.isUncertain = false;
    if (changed) this.cutIdle();
    await this.numbering.retain(addition(policy));
  }

  /**
   * Where it is not known what the kernel has, because a change or the letting in after it has failed on its way: makes it
   * what it is to be, and whoever there is room for is in force. Otherwise nothing.
   */
  async ensure(): Promise<void> {
    if (!this.isUncertain) return;
    const { policy } = await this.compare();
    // Packets may have missed rules that were written meanwhile: until they are judged again, it is not done.
    await this.table.advance();
    this.isUncertain = false;
    this.cutIdle();
    await this.numbering
      .retain(addition(policy))
      .catch((error: unknown) => this.on.error(error, 'could not forget numbers before the next start'));
  }

  /** Makes the tables equal to the engine's policy, as far as there is room. Its caller says when that is all that is to be. */
  private async compare(): Promise<{ policy: CompiledPolicy; changed: boolean }> {
    await inTurns(this.engine.takingDelta());
    const policy = await inTurns(this.engine.takingSnapshot());
    const wanted = await this.encodeAll(policy);
    this.isUncertain = true;
    return { policy, changed: await this.admission.compare(wanted) };
  }

  /** ensure(), for a caller that needs it done now. */
  private async ensureNow(): Promise<void> {
    try {
      await this.ensure();
    } finally {
      if (this.isUncertain) this.on.uncertain();
    }
  }

  private cutIdle(): void {
    this.sweeper
      .sweep()
      .catch((error: unknown) => this.on.error(error, 'could not sweep the connection table'));
  }

  private async put(
    apply: EngineChange,
    undo: EngineChange,
    write: (change: PolicyChange) => Promise<void>,
    record: () => Promise<unknown> = async () => undefined,
  ): Promise<boolean> {
    try {
      // Whoever was told to be cut off may have theirs, and changes of it would be kept from them.
      await this.ensure();
      await this.numbering.forgetUnnamed();
      const { delta, isChanged } = await this.makeInForce(apply, undo, write, record);
      await this.readmit(delta);
      return isChanged;
    } finally {
      if (this.isUncertain) this.on.uncertain();
    }
  }

  /** Until the change is in force, or taken back, others see what was in force before. */
  private async makeInForce(
    apply: EngineChange,
    undo: EngineChange,
    write: (change: PolicyChange) => Promise<void>,
    record: () => Promise<unknown>,
  ): Promise<{ delta: PolicyDelta; isChanged: boolean }> {
    const { engine } = this;
    using _ = engine.hold();
    try {
      await inTurns(apply(engine));
      const delta = await inTurns(engine.takingDelta());
      await record();
      const cutOff = new Set(this.admission.cutOff.keys());
      const change = await this.numbering.encode(await inTurns(but(delta, cutOff)));
      const isChanged = !isEmpty(change);
      if (isChanged) {
        this.isUncertain = true;
        await write(change);
        this.isUncertain = false;
      }
      return { delta, isChanged };
    } catch (error) {
      // Then the tables are as they were.
      if (error instanceof AppError && error.code === 'INSUFFICIENT_CAPACITY') this.isUncertain = false;
      await this.takeBack(undo);
      throw error;
    }
  }

  private async takeBack(undo: EngineChange): Promise<void> {
    const { engine } = this;
    const rollback = new Rollback(this.on.left);
    rollback.add('what is not in force is not forgotten', () => inTurns(engine.takingDelta()));
    rollback.add('policies are compiled that are not in force', () =>
      inTurns(engine.undoing(() => undo(engine))),
    );
    await rollback.run();
  }

  /** The change is made, whatever becomes of this: what has failed is found out by ensure(). */
  private async readmit(made: PolicyDelta): Promise<void> {
    this.isUncertain = true;
    try {
      await this.admission.readmit(made);
      this.isUncertain = false;
    } catch (error) {
      this.on.error(error, 'could not let in again who is cut off');
    }
  }

  /** Throws what change() would throw because the tables have no room for what comes, beside what has not gone yet. */
  private async requireRoom(delta: PolicyDelta): Promise<void> {
    const written = await inTurns(but(delta, new Set(this.admission.cutOff.keys())));
    const { entries, cidrs, subjects } = await inTurns(growth(written, this.engine.inForce));
    const room = await this.table.room();
    const fits =
      entries <= room.policy_max && cidrs <= room.policy_cidrs_max && subjects <= room.subjects_max;
    if (!fits) throw noRoom();
  }

  /** Of a change, what it would change of what is in force, for those too who would be let in or are cut off. */
  private async affected(
    changed: ReadonlyMap<number, { readonly before: CompiledPolicy; readonly after: CompiledPolicy }>,
    touched: ReadonlySet<number>,
    isTruncated: boolean,
  ): Promise<AffectedRules> {
    const now = this.admission.cutOff;
    const cutOff = await this.admission.afterwards(changed);
    const letIn = [...now.keys()].filter((identity) => !cutOff.has(identity) && !touched.has(identity));
    const theirs = new Map<number, CompiledPolicy>();
    await inTurns(takingRules(this.engine, letIn, theirs));
    const subjects = new Map<number, { before: CompiledPolicy; after: CompiledPolicy }>();
    for (const [identity, { before, after }] of changed) {
      subjects.set(identity, {
        before: now.has(identity) ? NOTHING : before,
        after: cutOff.has(identity) ? NOTHING : after,
      });
    }
    for (const [identity, rules] of theirs) subjects.set(identity, { before: NOTHING, after: rules });
    return { subjects, cutOff, truncated: isTruncated || theirs.size < letIn.length };
  }

  private async encodeAll(policy: CompiledPolicy): Promise<PolicyContents> {
    const { set, subjects, cidrs } = await this.numbering.encode(addition(policy));
    return { entries: set, subjects: subjects.set, cidrs: cidrs.set };
  }
}

/** Takes the rules of one subject after the other, until there are as many as may be. */
function* takingRules(
  engine: PolicyEngine,
  subjects: readonly number[],
  into: Map<number, CompiledPolicy>,
): Steps {
  let entries = 0;
  for (const identity of subjects.slice(0, PREVIEW_SUBJECTS_MAX)) {
    const rules = yield* engine.takingRulesOf(identity);
    entries += rules.entries.length + rules.cidrs.length;
    if (into.size > 0 && entries > PREVIEW_ENTRIES_MAX) return;
    into.set(identity, rules);
  }
}
