/**
 * Keeps the compiled policy in the kernel equal to what the engine compiles. The engine decides what changes; here
 * it becomes keys and numbers of the maps, and a change that the kernel does not take is taken back in the engine.
 */
import type { ConntrackSweeper } from '../datapath/conntrack-sweeper.js';
import type { PolicyChange, PolicyTable } from '../datapath/policy-table.js';
import type { PolicyEngine } from '../firewall/engine.js';
import { type Steps, stepping } from '../firewall/steps.js';
import type { CompiledPolicy, PolicyDelta } from '../firewall/types.js';
import { AppError } from '../model/errors.js';
import type { PolicyState } from '../model/health.js';
import type { Store } from '../store/store.js';
import { differing, givingNothingTo, isEmpty, partOf, withdrawal } from './policy-encoding.js';
import { PolicyNumbering } from './policy-numbering.js';
import { type OnLeft, Rollback } from './rollback.js';
import { inTurns } from './turns.js';

/** Subjects whose rules are taken out of the engine for a preview, and how many rules, but for those of the first. */
const PREVIEW_SUBJECTS_MAX = 1000;
const PREVIEW_ENTRIES_MAX = 20_000;

/** A change of the engine, in steps. */
export type EngineChange = (engine: PolicyEngine) => Steps;

/** Rules of the subjects that a change touches, by identity. */
export interface AffectedRules {
  readonly subjects: ReadonlyMap<number, { readonly before: CompiledPolicy; readonly after: CompiledPolicy }>;
  /** There are more of them than are told. */
  readonly truncated: boolean;
}

export class PolicySync {
  private readonly numbering: PolicyNumbering;
  /** Subjects for whose rules there is no room: the kernel lacks them, and lets nothing of theirs pass. */
  private cutOff: ReadonlySet<number> = new Set();
  /** It is not known what the kernel has: a comparison has failed on its way. */
  private isUncertain = false;

  constructor(
    private readonly engine: PolicyEngine,
    private readonly table: PolicyTable,
    store: Store,
    private readonly sweeper: ConntrackSweeper,
    private readonly on: {
      /** Something went wrong that no caller is told of. */
      error: (error: unknown, what: string) => void;
      left: OnLeft;
    },
  ) {
    this.numbering = new PolicyNumbering(store, engine);
  }

  /**
   * Throws what change() would throw because it does not fit, and changes nothing. Tells the rules of those whom the
   * change would touch, before it and after it.
   */
  async preview(apply: EngineChange, undo: EngineChange): Promise<AffectedRules> {
    const { engine } = this;
    using _ = engine.hold();
    const after = new Map<number, CompiledPolicy>();
    let touched: number[] = [];
    try {
      await inTurns(apply(engine));
      touched = subjectsOf(await inTurns(engine.takingDelta()));
      await inTurns(takingRules(engine, touched, after));
    } finally {
      await this.takeBack(undo);
    }
    const before = new Map<number, CompiledPolicy>();
    await inTurns(takingRules(engine, [...after.keys()], before));
    const subjects = new Map<number, { before: CompiledPolicy; after: CompiledPolicy }>();
    for (const [identity, rules] of before) {
      subjects.set(identity, { before: rules, after: after.get(identity) ?? rules });
    }
    return { subjects, truncated: subjects.size < touched.length };
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

  /** Undefined: all policies are in force. */
  get state(): PolicyState | undefined {
    const { size } = this.cutOff;
    return size === 0 ? undefined : { identities_cut_off: size, message: `${UNFIT.message}: ${UNFIT.hint}` };
  }

  /**
   * Makes the kernel's tables equal to the whole of the engine's policy, once at the start. `unfit`: not all of it fits;
   * who lacks rules talks to nobody, until what is taken away makes room.
   */
  async resync(): Promise<{ changed: boolean; unfit?: AppError }> {
    await inTurns(this.engine.takingDelta());
    const compiled = await inTurns(this.engine.takingSnapshot());
    const everything: PolicyDelta = {
      set: compiled.entries,
      delete: [],
      subjects: { set: compiled.subjects, delete: [] },
      cidrs: { set: compiled.cidrs, delete: [] },
    };
    const wanted = await this.numbering.encode(everything);
    const change = await inTurns(differing(wanted, await this.table.load()));
    const changed = !isEmpty(change);
    this.isUncertain = true;
    this.cutOff = changed ? await this.adjust(wanted, change) : new Set();
    this.isUncertain = false;
    if (changed) this.cutIdle();
    await this.numbering.retain(everything);
    return this.cutOff.size === 0 ? { changed } : { changed, unfit: withdrawn(this.cutOff.size) };
  }

  /**
   * What was recorded last may not be in force: the daemon has ended in between, or the tables are smaller than they were.
   * There may be no room for it beside what is; that goes first then, and nobody talks to those concerned until theirs is
   * there. Returns whose is not: they stay cut off.
   */
  private async adjust(wanted: PolicyChange, change: PolicyChange): Promise<ReadonlySet<number>> {
    if (await this.fits(change)) return new Set();
    await this.table.commit(withdrawal(change));
    const rest = await inTurns(differing(wanted, await this.table.load()));
    const subjects = [...(await inTurns(sizesOf(rest)))].sort(([, left], [, right]) => left - right);
    return this.giveInParts(
      rest,
      subjects.map(([identity]) => identity),
    );
  }

  /** Gives as many subjects theirs as there is room for, those who need least first. Returns the others. */
  private async giveInParts(rest: PolicyChange, subjects: readonly number[]): Promise<Set<number>> {
    if (subjects.length === 0 || (await this.fits(partOf(rest, new Set(subjects))))) return new Set();
    if (subjects.length === 1) return new Set(subjects);
    const middle = subjects.length >>> 1;
    const first = await this.giveInParts(rest, subjects.slice(0, middle));
    // Where one of those did not fit, none of these does, who need as much or more.
    const others = subjects.slice(middle);
    return new Set([...first, ...(first.size > 0 ? others : await this.giveInParts(rest, others))]);
  }

  private async fits(change: PolicyChange): Promise<boolean> {
    try {
      await this.table.commit(change);
      return true;
    } catch (error) {
      if (!isFull(error)) throw error;
      return false;
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
    // Whoever was told to be cut off may have theirs, and changes of it would be kept from them.
    if (this.isUncertain) await this.resync();
    await this.numbering.forgetUnnamed();
    const { delta, isChanged } = await this.makeInForce(apply, undo, write, record);
    await this.letInAgain(delta);
    return isChanged;
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
      const change = await this.numbering.encode(givingNothingTo(delta, this.cutOff));
      const isChanged = !isEmpty(change);
      if (isChanged) await write(change);
      return { delta, isChanged };
    } catch (error) {
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

  /** Whoever is cut off gets what is theirs, if a change has made room for it. */
  private async letInAgain({ delete: gone, subjects, cidrs }: PolicyDelta): Promise<void> {
    if (this.cutOff.size === 0) return;
    this.cutOff = new Set([...this.cutOff].filter((identity) => !subjects.delete.includes(identity)));
    if (gone.length + subjects.delete.length + cidrs.delete.length === 0) return;
    // The change is made, whatever becomes of this.
    await this.resync().catch((error: unknown) =>
      this.on.error(error, 'could not let in again who is cut off'),
    );
  }
}

function isFull(error: unknown): error is AppError {
  return error instanceof AppError && error.code === 'INSUFFICIENT_CAPACITY';
}

/** Not what is said of a refused change: something has changed. */
const UNFIT = {
  message: 'the recorded policies do not fit into the kernel',
  hint: 'remove policies, or raise policy_max, policy_cidrs_max or subjects_max and restart the node; containers whose policy does not fit reach nobody meanwhile, and nobody reaches them',
};

function withdrawn(identities: number): AppError {
  const message = `${UNFIT.message}: ${identities} identities are cut off`;
  return new AppError('INSUFFICIENT_CAPACITY', message, { hint: UNFIT.hint });
}

/** How much a change is about each subject. */
function* sizesOf({ set, cidrs, subjects }: PolicyChange): Steps<Map<number, number>> {
  const sizes = new Map<number, number>();
  const count = (subject: number) => sizes.set(subject, (sizes.get(subject) ?? 0) + 1);
  yield* stepping(set, ({ key }) => count(key.subject));
  yield* stepping(cidrs.set, ({ subject }) => count(subject));
  yield* stepping(subjects.set, ({ identity }) => count(identity));
  return sizes;
}

/** Those whose enforced or audited rules a delta changes. */
function subjectsOf({ set, delete: gone, subjects, cidrs }: PolicyDelta): number[] {
  const ids = [
    ...[...set, ...gone, ...cidrs.set, ...cidrs.delete].map(({ subject }) => subject),
    ...subjects.set.map(({ identity }) => identity),
  ];
  return [...new Set(ids)].sort((left, right) => left - right);
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
