/** Finds what an earlier daemon left in the maps of port mappings and services. */
import { formatAddress, fromBytes16 } from '../model/address.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../model/names.js';
import { type FrontendPlace, type FrontendState, placeText, targetText } from '../nat/frontend.js';
import { u32 } from './abi/codec.js';
import { Backend, FrontendFlags, type FrontendKey } from './abi/generated.js';
import { keyOf } from './frontend-encoding.js';
import type { DatapathMaps } from './maps.js';
import { Space } from './space.js';

export type FrontendMaps = Pick<DatapathMaps, 'frontends' | 'slots' | 'backends'>;

/** A frontend that the maps have. */
export interface PlacedFrontend extends FrontendPlace {
  readonly id: number;
  readonly affinitySeconds: number;
  readonly isServiceAddress: boolean;
  /** Where its part of qn_slots starts, and what is in it: indexes of qn_backends. */
  readonly first: number;
  readonly slots: Uint32Array;
  /** Index in qn_backends of each backend, by targetText(). */
  readonly places: ReadonlyMap<string, number>;
  /** Every slot leads to one of its backends, and none has more than its share: nobody was ended while writing it. */
  readonly isWhole: boolean;
}

export interface AdoptedFrontends {
  /** By placeText(). */
  readonly frontends: Map<string, PlacedFrontend>;
  /** Keys of frontends that cannot be used: of no known form, or with a part that is another's. */
  readonly broken: FrontendKey[];
  /** Backends that no slot of their frontend leads to. */
  readonly stray: [index: number, backend: Backend][];
}

export async function adoptFrontends(maps: FrontendMaps): Promise<AdoptedFrontends> {
  const entries = await maps.frontends.entries();
  const owned = await ownedBackends(maps);
  const everySlot = entries.length === 0 ? new Uint32Array() : await readSlots(maps);
  const adopted: AdoptedFrontends = { frontends: new Map(), broken: [], stray: [] };
  const parts = new Space(maps.slots.raw.info.maxEntries);
  for (const [key, frontend] of entries) {
    const place = placeOf(key);
    const isOwnPart = parts.claim(frontend.first, frontend.slots);
    if (place === undefined || !isOwnPart) {
      adopted.broken.push(key);
      continue;
    }
    const slots = everySlot.slice(frontend.first, frontend.first + frontend.slots);
    const places = new Map<string, number>();
    for (const index of new Set(slots)) {
      const backend = owned.get(index);
      const target = targetOf(backend, frontend.id);
      if (target === undefined) continue;
      places.set(target, index);
      owned.delete(index);
    }
    const { id, affinityS: affinitySeconds, first, flags } = frontend;
    const isServiceAddress = (flags & FrontendFlags.SERVICE_ADDRESS) !== 0;
    const isWhole = isShared(slots, places);
    adopted.frontends.set(placeText(place), {
      ...place,
      ...{ id, affinitySeconds, isServiceAddress, first, slots, places, isWhole },
    });
  }
  adopted.stray.push(...owned);
  return adopted;
}

/** As targetText(); undefined: it is not that frontend's, or has no address. */
function targetOf(backend: Backend | undefined, frontendId: number): string | undefined {
  if (backend?.frontendId !== frontendId) return undefined;
  const address = fromBytes16(backend.address);
  return address && targetText({ address: formatAddress(address), port: backend.port });
}

/** Most places are nobody's: only the others become objects. */
async function ownedBackends({ backends }: FrontendMaps): Promise<Map<number, Backend>> {
  const { keys, values } = await backends.raw.entries();
  const owned = new Map<number, Backend>();
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const indexes = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  for (let at = 0; at < values.byteLength / Backend.size; at++) {
    // The owner stands first.
    if (u32.read(view, at * Backend.size) === 0) continue;
    owned.set(u32.read(indexes, at * u32.size), Backend.read(view, at * Backend.size));
  }
  return owned;
}

/** Whether the maps have a frontend as it is to be, whoever has written them last. */
export function isInForce(maps: FrontendMaps, state: FrontendState): boolean {
  const found = maps.frontends.get(keyOf(state));
  if (found?.id !== state.id) return false;
  const wanted = new Set(state.backends.map(targetText));
  const led = new Set<string>();
  for (let slot = 0; slot < found.slots; slot++) {
    const index = maps.slots.get(found.first + slot);
    const target = index === undefined ? undefined : targetOf(maps.backends.get(index), state.id);
    if (target === undefined) return false;
    led.add(target);
  }
  return led.size === wanted.size && [...led].every((target) => wanted.has(target));
}

/** The whole of qn_slots. */
async function readSlots({ slots }: FrontendMaps): Promise<Uint32Array> {
  const { keys, values } = await slots.raw.entries();
  const found = new Uint32Array(slots.raw.info.maxEntries);
  const [indexes, contents] = [keys, values].map(
    ({ buffer, byteOffset, byteLength }) => new DataView(buffer, byteOffset, byteLength),
  ) as [DataView, DataView];
  for (let at = 0; at < keys.byteLength; at += u32.size)
    found[u32.read(indexes, at)] = u32.read(contents, at);
  return found;
}

function isShared(slots: Uint32Array, places: ReadonlyMap<string, number>): boolean {
  const counts = new Map([...places.values()].map((index) => [index, 0]));
  const share = Math.ceil(slots.length / places.size);
  return slots.every((index) => {
    const count = (counts.get(index) ?? share) + 1;
    counts.set(index, count);
    return count <= share;
  });
}

/** Undefined: no daemon writes such a key. */
function placeOf({ address, port, protocol }: FrontendKey): FrontendPlace | undefined {
  const name = (Object.keys(PROTOCOL_NUMBERS) as Protocol[]).find(
    (candidate) => PROTOCOL_NUMBERS[candidate] === protocol,
  );
  if (name === undefined) return undefined;
  const found = fromBytes16(address);
  if (found === undefined) return { protocol: name, port, family: 6 };
  if (found.family === 4 && found.value === 0n) return { protocol: name, port, family: 4 };
  return { protocol: name, port, family: found.family, address: formatAddress(found) };
}
