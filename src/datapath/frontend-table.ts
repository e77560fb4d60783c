/**
 * Port mappings and services in the kernel. Programs look up a frontend, one slot of its part of qn_slots, and the
 * backend that the slot leads to; each write leaves them something that is whole:
 *
 * - A backend is written while no slot leads to it. One that is no more is disowned when nobody reads the slots that led to
 *   it, and its place is given away when nobody reads it any more.
 * - As long as a part keeps its size, its slots are changed one by one: each leads to a backend that is, or was until now.
 *   Another size is a new part, which counts with the one write of its frontend.
 *
 * What a daemon that was ended has left is adopted with its slots, so that clients keep their backends.
 */
import { AppError } from '../model/errors.js';
import {
  type FrontendPlace,
  type FrontendState,
  placeText,
  type Target,
  targetText,
} from '../nat/frontend.js';
import { maglevTable, smallerSize, tableSize } from '../nat/maglev.js';
import { type Backend, FrontendFlags, type FrontendKey } from './abi/generated.js';
import { adoptFrontends, type FrontendMaps, isInForce, type PlacedFrontend } from './frontend-adoption.js';
import { backendOf, keyOf, namesOf } from './frontend-encoding.js';
import { Space } from './space.js';

/** What becomes different; no place is in both. */
export interface FrontendChange {
  put: readonly FrontendState[];
  remove: readonly FrontendPlace[];
}

/** What is no longer used, once every program has ended that may still read it. */
interface Garbage {
  places: { index: number; backend: Backend }[];
  parts: { first: number; slots: number }[];
}

/** A frontend as it is to be, with all the room that it needs. */
interface Planned {
  readonly state: FrontendState;
  readonly key: FrontendKey;
  readonly before: PlacedFrontend | undefined;
  readonly after: PlacedFrontend;
  /** Targets that get a place. */
  readonly added: readonly { index: number; target: Target }[];
}

export class FrontendTable {
  /** By placeText(). */
  private placed = new Map<string, PlacedFrontend>();
  private parts: Space;
  private places: Space;
  private settling: Promise<void> = Promise.resolve();

  constructor(
    private readonly maps: FrontendMaps,
    /** Resolves when no program runs any more that started before the call. */
    private readonly waitForPrograms: () => Promise<void>,
    /** Called when backends are no more, and no program chooses one of them. */
    private readonly onDisowned: () => void,
  ) {
    this.parts = new Space(maps.slots.raw.info.maxEntries);
    this.places = new Space(maps.backends.raw.info.maxEntries);
  }

  /** Makes the maps hold exactly these, keeping what of them is there. Once, before the first change. */
  async sync(wanted: readonly FrontendState[]): Promise<void> {
    // A daemon before this one may have ended while programs still read what it gave up.
    await this.waitForPrograms();
    const { frontends, slots, backends } = this.maps;
    const found = await adoptFrontends(this.maps);
    this.parts = new Space(slots.raw.info.maxEntries);
    this.places = new Space(backends.raw.info.maxEntries);
    for (const frontend of found.frontends.values()) {
      this.parts.claim(frontend.first, frontend.slots.length);
      for (const index of frontend.places.values()) this.places.claim(index, 1);
    }
    this.placed = found.frontends;
    for (const key of found.broken) frontends.delete(key);
    for (const [index, backend] of found.stray) backends.set(index, { ...backend, frontendId: 0 });
    // Those of what was broken may still be read.
    if (found.broken.length > 0) await this.waitForPrograms();
    const kept = new Set(wanted.map(placeText));
    const remove = [...this.placed.values()].filter((frontend) => !kept.has(placeText(frontend)));
    await this.change({ put: [], remove });
    await this.settled();
    await this.change({ put: wanted, remove: [] });
  }

  /**
   * In force when it resolves, or not made at all: INSUFFICIENT_CAPACITY. One change after the other. A frontend that is as
   * it should be is not touched.
   */
  async change({ put, remove }: FrontendChange): Promise<void> {
    const wanted = put.filter((state) => !this.isAsWanted(state));
    const plans = await this.plan(wanted);
    const garbage: Garbage = { places: [], parts: [] };
    try {
      for (const place of remove) this.remove(place, garbage);
      while (plans[0] !== undefined) {
        await this.write(plans[0], garbage);
        plans.shift();
      }
    } finally {
      // What the one has that failed half-way is not given away: programs may see it.
      this.release(plans.slice(1));
      this.discard(garbage);
    }
  }

  /** Whether the kernel has it so, and not only what was written there. */
  isInForce(state: FrontendState): boolean {
    return isInForce(this.maps, state);
  }

  /** Waits until what the last change gave up is free again; the daemon may end without it. */
  async settled(): Promise<void> {
    await this.settling.catch(() => undefined);
  }

  private isAsWanted(state: FrontendState): boolean {
    const found = this.placed.get(placeText(state));
    return (
      found?.isWhole === true &&
      found.id === state.id &&
      hasSameNature(found, state) &&
      found.places.size === state.backends.length &&
      found.slots.length === tableSize(state.backends.length, found.slots.length) &&
      state.backends.every((target) => found.places.has(targetText(target)))
    );
  }

  /** Takes the room for everything, or nothing. */
  private async plan(states: readonly FrontendState[]): Promise<Planned[]> {
    const made = states.filter((state) => !this.placed.has(placeText(state))).length;
    if (this.placed.size + made > this.maps.frontends.raw.info.maxEntries) throw noRoom('frontends_max');
    const plans: Planned[] = [];
    try {
      for (const state of states) plans.push(await this.planOne(state));
      return plans;
    } catch (error) {
      this.release(plans);
      throw error;
    }
  }

  private release(plans: readonly Planned[]): void {
    for (const { before, after, added } of plans) {
      for (const { index } of added) this.places.give(index, 1);
      if (!isSamePart(before, after)) this.parts.give(after.first, after.slots.length);
    }
  }

  private async planOne(state: FrontendState): Promise<Planned> {
    const before = this.placed.get(placeText(state));
    // Places belong to the id.
    const owned = before?.id === state.id ? before : undefined;
    const places = new Map<string, number>();
    const added: { index: number; target: Target }[] = [];
    try {
      for (const target of state.backends) {
        const text = targetText(target);
        const known = owned?.places.get(text);
        const index = known ?? (await this.take(this.places, 1));
        if (index === undefined) throw noRoom('backends_max');
        places.set(text, index);
        if (known === undefined) added.push({ index, target });
      }
      const { first, size } = await this.part(state, owned);
      const names = [...places.keys()];
      const table = maglevTable(names, size, owned && namesOf(owned));
      const indexes = [...places.values()];
      const slots = table.map((name) => indexes[name] as number);
      const { backends: _, ...nature } = state;
      const after = { ...nature, first, slots, places, isWhole: true };
      return { state, key: keyOf(state), before, after, added };
    } catch (error) {
      for (const { index } of added) this.places.give(index, 1);
      throw error;
    }
  }

  /** The part that there is, where its size will do; else a new one, smaller than it should be where room is short. */
  private async part(
    { backends }: FrontendState,
    owned: PlacedFrontend | undefined,
  ): Promise<{ first: number; size: number }> {
    const wanted = tableSize(backends.length, owned?.slots.length);
    if (owned !== undefined && owned.slots.length === wanted) return { first: owned.first, size: wanted };
    for (
      let size: number | undefined = wanted;
      size !== undefined;
      size = smallerSize(size, backends.length)
    ) {
      if (owned !== undefined && owned.slots.length === size) return { first: owned.first, size };
      const first = await this.take(this.parts, size);
      if (first !== undefined) return { first, size };
    }
    throw noRoom('service_slots_max');
  }

  /** From what will be free in a moment, where nothing else is. */
  private async take(space: Space, length: number): Promise<number | undefined> {
    const found = space.take(length);
    if (found !== undefined) return found;
    await this.settled();
    return space.take(length);
  }

  private async write({ state, key, before, after, added }: Planned, garbage: Garbage): Promise<void> {
    const { backends, slots, frontends } = this.maps;
    for (const { index, target } of added) backends.set(index, backendOf(state.id, target));
    const isKept = isSamePart(before, after);
    const changed = [...after.slots.keys()].filter(
      (slot) => !isKept || before?.slots[slot] !== after.slots[slot],
    );
    if (changed.length > 0) {
      const keys = Uint32Array.from(changed, (slot) => after.first + slot);
      const values = Uint32Array.from(changed, (slot) => after.slots[slot] as number);
      await slots.raw.setBatch(new Uint8Array(keys.buffer), new Uint8Array(values.buffer));
    }
    if (!isKept || before?.id !== after.id || !hasSameNature(before, after)) {
      frontends.set(key, {
        key,
        id: after.id,
        first: after.first,
        slots: after.slots.length,
        affinityS: after.affinitySeconds,
        flags: after.isServiceAddress ? FrontendFlags.SERVICE_ADDRESS : 0,
      });
    }
    this.placed.set(placeText(state), after);
    if (before === undefined) return;
    if (!isKept) garbage.parts.push({ first: before.first, slots: before.slots.length });
    const kept = new Set(after.places.values());
    for (const index of before.places.values()) if (!kept.has(index)) this.discardPlace(index, garbage);
  }

  private remove(place: FrontendPlace, garbage: Garbage): void {
    const found = this.placed.get(placeText(place));
    if (found === undefined) return;
    this.maps.frontends.delete(keyOf(place));
    this.placed.delete(placeText(place));
    garbage.parts.push({ first: found.first, slots: found.slots.length });
    for (const index of found.places.values()) this.discardPlace(index, garbage);
  }

  private discardPlace(index: number, garbage: Garbage): void {
    const backend = this.maps.backends.get(index);
    if (backend !== undefined) garbage.places.push({ index, backend });
  }

  /** Disowns backends when no program still has a slot that led to them, so that no client is kept there either. */
  private discard(garbage: Garbage): void {
    if (garbage.places.length === 0 && garbage.parts.length === 0) return;
    const collect = async () => {
      await this.waitForPrograms();
      // All but the owner stays: a program that reads it now sees either backend whole.
      for (const { index, backend } of garbage.places) {
        this.maps.backends.set(index, { ...backend, frontendId: 0 });
      }
      if (garbage.places.length > 0) this.onDisowned();
      for (const { first, slots } of garbage.parts) this.parts.give(first, slots);
      await this.waitForPrograms();
      for (const { index } of garbage.places) this.places.give(index, 1);
    };
    this.settling = this.settled().then(collect);
    this.settling.catch(() => undefined);
  }
}

function isSamePart(before: PlacedFrontend | undefined, after: PlacedFrontend): boolean {
  return before?.first === after.first && before.slots.length === after.slots.length;
}

function noRoom(setting: string): AppError {
  return new AppError('INSUFFICIENT_CAPACITY', 'the node has no room for more port mappings and services', {
    hint: `raise ${setting}`,
  });
}

type Nature = Pick<FrontendState, 'affinitySeconds' | 'isServiceAddress'>;

/** Whether all is the same that stands in the frontend itself, but for its part. */
function hasSameNature(one: Nature, other: Nature): boolean {
  return one.affinitySeconds === other.affinitySeconds && one.isServiceAddress === other.isServiceAddress;
}
