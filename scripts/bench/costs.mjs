/** What finding the flow and counting are of the cost of a packet: see costs.bpf.c. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BpfMap, BpfObject } from '../../dist/native/bpf.js';

const SOURCE = fileURLToPath(new URL('costs.bpf.c', import.meta.url));
/** As in costs.bpf.c. */
const TURNS = 64;
const REPEAT = 5000;

/** Loads them with the maps of programs that are loaded; tells nanoseconds of one turn of a part, by its name. */
export async function loadCosts(cleanup, directory, { pins, loaded }, endpointId) {
  const path = join(directory, 'costs.bpf.o');
  const include = `/usr/include/${execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim()}`;
  execFileSync('clang', [
    ...['-std=gnu11', '-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Wextra', '-Werror'],
    ...['-isystem', include, '-c', SOURCE, '-o', path],
  ]);
  const object = BpfObject.open(path);
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
