/**
 * npm run bench [-- options]. The exit code says whether everything could be measured, not whether it is fast.
 */
import { parseArgs } from 'node:util';
import { chain } from './chain.mjs';
import { change } from './change.mjs';
import { cni } from './cni.mjs';
import { datapath } from './datapath.mjs';
import { machine } from './machine.mjs';
import { nat } from './nat.mjs';
import { nftables } from './nftables.mjs';
import { policy } from './policy.mjs';
import { programs } from './programs.mjs';
import { markdown, table } from './report.mjs';
import { scale } from './scale.mjs';
import { services } from './services.mjs';
import { start } from './start.mjs';
import { uplinks } from './uplinks.mjs';
import { verdict } from './verdict.mjs';
import { xdp } from './xdp.mjs';

const PARTS = {
  datapath,
  nat,
  programs,
  verdict,
  nftables,
  policy,
  change,
  cni,
  chain,
  scale,
  services,
  start,
  uplinks,
  xdp,
};

const HELP = `npm run bench [-- options]
  --only part,…   of ${Object.keys(PARTS).join(', ')}; all of them by default
  --rounds n      how often what is compared takes turns (default 7)
  --seconds n     of each measurement of the data path (default 1)
  --calls n       CNI calls of each kind, and plugin (default 100)
  --endpoints n   endpoints of the scale (default 1000)
  --present n     endpoints on the full node of the chain (default 2000)
  --json          the result as JSON
  --markdown      the result as a table for docs/benchmarks.md`;

function options() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: Object.keys(PARTS).join(',') },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '1' },
      calls: { type: 'string', default: '100' },
      endpoints: { type: 'string', default: '1000' },
      present: { type: 'string', default: '2000' },
      json: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const number = (name) => {
    const value = Number(values[name]);
    if (Number.isInteger(value) && value > 0) return value;
    throw new Error(`--${name} takes a positive number`);
  };
  const parts = values.only.split(',');
  const unknown = parts.find((part) => !Object.hasOwn(PARTS, part));
  if (unknown !== undefined) throw new Error(`--only: there is no part ${unknown}`);
  const numbers = Object.fromEntries(
    ['rounds', 'seconds', 'calls', 'endpoints', 'present'].map((name) => [name, number(name)]),
  );
  return { ...values, ...numbers, parts };
}

async function main() {
  const chosen = options();
  if (chosen.help) {
    console.log(HELP);
    return;
  }
  const lines = [];
  for (const part of chosen.parts) {
    console.error(`bench: ${part}`);
    lines.push(...(await PARTS[part](chosen)));
  }
  const measuredOn = machine();
  if (chosen.json) console.log(JSON.stringify({ machine: measuredOn, lines }, undefined, 2));
  else console.log(`${(chosen.markdown ? markdown : table)(lines)}\n\n${JSON.stringify(measuredOn)}`);
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
