/**
 * Keeps the compiled policy in the kernel equal to what the engine compiles. The engine decides what changes; here
 * it becomes keys and numbers of the maps, and a change that the kernel does not take is taken back in the engine.
 */
import type { ConntrackSweeper } from '../datapath/conntrack-sweeper.js';
import type { PolicyChange, PolicyContents, PolicyTable } from '../datapath/policy-table.js';
import type { PolicyEngine } from '../firewall/engine.js';
import { finish, type Steps } from '../firewall/steps.js';
import type { CompiledPolicy, PolicyDelta } from '../firewall/types.js';
import type { PolicySize } from '../model/cut-off.js';
import type { PolicyState } from '../model/health.js';
import type { Reader, Store } from '../store/store.js';
import { cidrNumbers, endpoints, portNames } from '../store/tables.js';
import { Admission, type CutOffBy, subjectsOf } from './admission.js';
import { policyState } from './cut-offs.js';
import { but, isEmpty } from './policy-difference.js';
import { encodeDelta, namesOfPorts, rangesOf, rulesOf } from './policy-encoding.js';
import { takeBack } from './rollback.js';
import { RuleNumbers } from './rule-numbers.js';
import { claimNumbers, forgetNumbersOf, retainNumbers } from './stored-numbers.js';
import { inTurns } from './turns.js';

/** Subjects whose rules are taken out of the engine at once, and how many rules; both are a few milliseconds of work. */
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
  private readonly numbers: RuleNumbers;
  private readonly admission: Admission;
  /** It is not known what the kernel has: a comparison has failed on its way. */
  private isUncertain = false;

  constructor(
    private readonly engine: PolicyEngine,
    private readonly table: PolicyTable,
    private readonly store: Store,
    private readonly sweeper: ConntrackSweeper,
    private readonly onError: (error: unknown, what: string) => void,
  ) {
    this.numbers = new RuleNumbers(store);
    this.admission = new Admission(engine, table, (policy) => this.encodeAll(policy));
  }

  /**
   * Throws what change() would throw because it does not fit, and changes nothing. Asked before a change is recorded:
   * a record that does not fit would keep the next daemon from starting.
   */
  rehearse(apply: EngineChange, undo: EngineChange): void {
    const { engine } = this;
    try {
      finish(apply(engine));
    } finally {
      finish(engine.undoing(() => undo(engine)));
      engine.takeDelta();
    }
  }

  /** The same, and tells the rules of those for whom the change would make a difference, before it and after it. */
  async preview(apply: EngineChange, undo: EngineChange): Promise<AffectedRules> {
    const { engine } = this;
    const after = new Map<number, CompiledPolicy>();
    let touched: number[] = [];
    try {
      await inTurns(apply(engine));
      touched = subjectsOf(await inTurns(engine.takingDelta()));
      takeRules(engine, touched, after);
    } finally {
      await inTurns(engine.undoing(() => undo(engine)));
      await inTurns(engine.takingDelta());
    }
    const before = new Map<number, CompiledPolicy>();
    takeRules(engine, [...after.keys()], before);
    const changed = new Map<number, { before: CompiledPolicy; after: CompiledPolicy }>();
    for (const [identity, rules] of before) {
      changed.set(identity, { before: rules, after: after.get(identity) ?? rules });
    }
    const isTruncated = changed.size < touched.length;
    return this.inForce(changed, new Set(touched), isTruncated);
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

  /** What the kernel has of one identity: of who is cut off, nothing. */
  rulesInForce(identity: number): CompiledPolicy {
    return this.admission.cutOff.has(identity) ? NOTHING : this.engine.rulesOf(identity);
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
    await inTurns(this.engine.takingDelta());
    const policy = await inTurns(this.engine.takingSnapshot());
    const wanted = await this.encodeAll(policy);
    this.isUncertain = true;
    const changed = await this.admission.compare(wanted);
    this.isUncertain = false;
    if (changed) this.cutIdle();
    await this.forgetNumbers(settingAll(policy));
  }

  private cutIdle(): void {
    this.sweeper
      .sweep()
      .catch((error: unknown) => this.onError(error, 'could not sweep the connection table'));
  }

  private async put(
    apply: EngineChange,
    undo: EngineChange,
    write: (change: PolicyChange) => Promise<void>,
    record: () => Promise<unknown> = async () => undefined,
  ): Promise<boolean> {
    // Whoever was told to be cut off may have theirs, and changes of it would be kept from them.
    if (this.isUncertain) await this.resync();
    await this.forgetUnnamed();
    try {
      await inTurns(apply(this.engine));
      const delta = await inTurns(this.engine.takingDelta());
      await record();
      const cutOff = new Set(this.admission.cutOff.keys());
      const change = await this.encode(await inTurns(but(delta, cutOff)));
      if (!isEmpty(change)) await write(change);
      await this.readmit(delta);
      return !isEmpty(change);
    } catch (error) {
      const failures = await takeBack(
        () => inTurns(this.engine.undoing(() => undo(this.engine))),
        () => inTurns(this.engine.takingDelta()),
      );
      for (const failure of failures) this.onError(failure, 'could not take back a change of policies');
      throw error;
    }
  }

  /** The change is made, whatever becomes of this: what has failed is found out with the next one. */
  private async readmit(made: PolicyDelta): Promise<void> {
    this.isUncertain = true;
    try {
      await this.admission.readmit(made);
      this.isUncertain = false;
    } catch (error) {
      this.onError(error, 'could not let in again who is cut off');
    }
  }

  /** Of a change, what it would change of what is in force, for those too who would be let in or are cut off. */
  private async inForce(
    changed: Map<number, { before: CompiledPolicy; after: CompiledPolicy }>,
    touched: ReadonlySet<number>,
    isTruncated: boolean,
  ): Promise<AffectedRules> {
    const now = this.admission.cutOff;
    const cutOff = await this.admission.afterwards(changed);
    const letIn = [...now.keys()].filter((identity) => !cutOff.has(identity) && !touched.has(identity));
    const theirs = new Map<number, CompiledPolicy>();
    takeRules(this.engine, letIn, theirs);
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
    const { set, subjects, cidrs } = await this.encode(settingAll(policy));
    return { entries: set, subjects: subjects.set, cidrs: cidrs.set };
  }

  private async encode(delta: PolicyDelta): Promise<PolicyChange> {
    const { store } = this;
    const numbers = {
      rules: await this.numbers.of(await inTurns(rulesOf(delta))),
      names: await claimNumbers(store, portNames, await inTurns(namesOfPorts(delta))),
      cidrs: await claimNumbers(store, cidrNumbers, await inTurns(rangesOf(delta))),
    };
    return inTurns(encodeDelta(delta, numbers));
  }

  /** Keeps the numbers of what is in force alone. */
  private async forgetNumbers(inForce: PolicyDelta): Promise<void> {
    this.engine.takeUnnamed();
    const names = await inTurns(namesOfPorts(inForce));
    await this.numbers.retain(await inTurns(rulesOf(inForce)));
    await retainNumbers(this.store, portNames, [...names, ...declaredNames(this.store)]);
    await retainNumbers(this.store, cidrNumbers, await inTurns(rangesOf(inForce)));
  }

  /**
   * Forgets the numbers of what went with the changes before this one: until then the events of those who met it are
   * told by name. What is lost with a crash is forgotten at the next start.
   */
  private async forgetUnnamed(): Promise<void> {
    const { rules, names, cidrs } = this.engine.takeUnnamed();
    if (rules.length + names.length + cidrs.length === 0) return;
    await this.store.stage((transaction) => {
      this.numbers.forget(transaction, rules);
      forgetNumbersOf(transaction, cidrNumbers, cidrs);
      if (names.length === 0) return;
      const declared = declaredNames(transaction);
      forgetNumbersOf(
        transaction,
        portNames,
        names.filter((name) => !declared.has(name)),
      );
    }, 'soon');
  }
}

function settingAll({ entries, subjects, cidrs }: CompiledPolicy): PolicyDelta {
  return {
    set: entries,
    delete: [],
    subjects: { set: subjects, delete: [] },
    cidrs: { set: cidrs, delete: [] },
  };
}

/** What endpoints call their ports. */
function declaredNames(reader: Reader): Set<string> {
  return new Set(reader.list(endpoints).flatMap(({ ports }) => ports.flatMap(({ name }) => name ?? [])));
}

/** Takes the rules of one subject after the other, until there are as many as may be. */
function takeRules(
  engine: PolicyEngine,
  subjects: readonly number[],
  into: Map<number, CompiledPolicy>,
): void {
  let entries = 0;
  for (const identity of subjects.slice(0, PREVIEW_SUBJECTS_MAX)) {
    const rules = engine.rulesOf(identity);
    entries += rules.entries.length + rules.cidrs.length;
    if (into.size > 0 && entries > PREVIEW_ENTRIES_MAX) return;
    into.set(identity, rules);
  }
}
