/** What finding the flow and counting are of the cost of a packet: see costs.bpf.c. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, BpfObject } from '../../dist/native/bpf.js';
import { compileBpf } from './processes.mjs';

/** As in costs.bpf.c. */
const TURNS = 64;
const REPEAT = 5000;

/** Loads them with the maps of programs that are loaded; tells nanoseconds of one turn of a part, by its name. */
export async function loadCosts(cleanup, directory, { pins, loaded }, endpointId) {
  const object = BpfObject.open(compileBpf('costs', directory));
  cleanup.add(() => object.close());
  for (const map of object.mapNames) {
    if (!existsSync(join(pins.maps, map))) continue;
    const pinned = BpfMap.fromPin(join(pins.maps, map));
    object.setMaxEntries(map, pinned.info.maxEntries);
    pinned.close();
  }
  const { keys } = await loaded.maps.conntrack.raw.entries();
  object.setVariable('flow', keys.subarray(0, loaded.maps.conntrack.raw.info.keySize));
  object.setVariable('endpoint_id', new Uint8Array(new Uint32Array([endpointId]).buffer));
  await object.load({ pinRoot: pins.maps });
  const data = new Uint8Array(64);
  return (name) => {
    const program = object.program(`bench_${name}`);
    try {
      const { returnValue, durationNs } = program.testRun({ data, repeat: REPEAT });
      if (returnValue !== 0) throw new Error(`bench_${name} found nothing`);
      return durationNs / TURNS;
    } finally {
      program.close();
    }
  };
}
