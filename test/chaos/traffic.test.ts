/** Who may talk talks on, and who may not gets nothing through, while daemons are killed one after the other. */
import { expect, it } from 'vitest';
import { type Container, FAMILIES, type Family, lastWords } from '../support/containers.js';
import { random } from '../support/random.js';
import { useSite } from '../support/site.js';
import { Scene } from './scene.js';
import { SEED } from './settings.js';

const site = useSite();
const pick = random(SEED);

const KILLS = 10;
/** A start takes longer, so that some of those that are cut off have come as far as the programs. */
const CUT_OFF_MS = 1500;
const BYTES_PER_MS = 200;
const DATAGRAMS_PER_SECOND = 200;

/** A stream and datagrams from one to the other; `finish` ends them and proves that all arrived, as it was sent. */
async function talk(from: Container, to: Container, family: Family): Promise<{ finish(): Promise<void> }> {
  const port = 7000 + family;
  const target = [to.address(family), String(port)];
  const sink = await to.start('streams', 'sink', String(port)).ready();
  const tally = await to.start('streams', 'tally', String(port)).ready();
  const source = await from.start('streams', 'source', ...target, String(BYTES_PER_MS)).ready();
  const pace = await from.start('streams', 'pace', ...target, String(DATAGRAMS_PER_SECOND)).ready();
  const finish = async () => {
    const { sent, error } = JSON.parse(await lastWords(source));
    expect({ sent, error }).toEqual({ sent: expect.any(Number), error: '' });
    await sink.ended;
    expect(JSON.parse(sink.all.at(-1) ?? '')).toEqual({ received: sent, intact: true, error: '' });
    const paced = JSON.parse(await lastWords(pace));
    expect(paced).toEqual({ sent: expect.any(Number), refused: 0 });
    expect(JSON.parse(await lastWords(tally))).toMatchObject({ received: paced.sent, late: 0 });
    expect(sent).toBeGreaterThan(1000 * BYTES_PER_MS);
    expect(paced.sent).toBeGreaterThan(DATAGRAMS_PER_SECOND);
  };
  return { finish };
}

it('over ten daemons in a row nothing allowed is lost, nothing denied passes', {
  timeout: 300_000,
}, async () => {
  using scene = await Scene.set(site(), [], []);
  const talks = await Promise.all(FAMILIES.map((family) => talk(scene.a, scene.b, family)));
  for (let kill = 0; kill < KILLS; kill++) {
    await site().daemon.kill();
    if (pick(2) === 0) await scene.cutOff(pick(CUT_OFF_MS));
    await scene.start();
    await scene.requireOrder(`seed ${SEED}: daemon ${kill}`);
  }
  for (const { finish } of talks) await finish();
  await scene.requireClosed();
});
