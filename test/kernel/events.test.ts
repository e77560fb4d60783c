/** The event stream says what it loses. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EventKind, EventLoss } from '../../src/datapath/abi/generated.js';
import { monotonicNs } from '../../src/native/bpf.js';
import { Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { NOBODY } from '../support/scenario-parties.js';

const BURST = 20;
/** One record with its header; a ring of one page is never filled to its last byte. */
const RECORD = 112 + 8;
const RING = 4096;
const ROOM = Math.floor((RING - 1) / RECORD);

const dropped = (s: Scenario, who: 'a' | 'b' = 'a') => s.send(s[who], outgoing(s[who], NOBODY[4]).udp());

describe('the limit of events of an endpoint', () => {
  let s: Scenario;
  beforeAll(async () => {
    s = new Scenario(await Programs.load({ settings: { events_burst: BURST, events_per_second: 1 } }));
  });
  afterAll(() => s?.programs.close());
  beforeEach(() => s.reset());

  it('lets the burst through, counts the rest, and drops all the same', async () => {
    const before = s.programs.eventLoss(EventLoss.RATE_LIMITED);
    const since = monotonicNs();
    for (let count = 0; count < BURST + 30; count++) expect(dropped(s).reason).toBe('NO_SUCH_ENDPOINT');
    s.programs.since(since);

    const events = await s.programs.takeEvents(BURST);
    expect(events.every((event) => event.kind === EventKind.DROP && event.endpointId === s.a.id)).toBe(true);
    expect(s.programs.eventLoss(EventLoss.RATE_LIMITED) - before).toBe(30);
    expect(s.programs.eventLoss(EventLoss.RING_FULL)).toBe(0);
  });

  it('is one for each endpoint', () => {
    for (let count = 0; count < BURST + 5; count++) dropped(s);
    const before = s.programs.eventLoss(EventLoss.RATE_LIMITED);
    for (let count = 0; count < BURST; count++) dropped(s, 'b');
    expect(s.programs.eventLoss(EventLoss.RATE_LIMITED)).toBe(before);
  });

  it('fills up again with time, to no more than the burst', () => {
    for (let count = 0; count < BURST + 5; count++) dropped(s);
    const lost = () => s.programs.eventLoss(EventLoss.RATE_LIMITED);
    s.programs.eventLimits.set(s.a.id, { refilledNs: monotonicNs() - 3_000_000_000n, tokens: 0 });
    let before = lost();
    for (let count = 0; count < 10; count++) dropped(s);
    expect(lost() - before).toBe(10 - 3);
    s.programs.eventLimits.set(s.a.id, { refilledNs: 0n, tokens: 0 });
    before = lost();
    for (let count = 0; count < BURST + 4; count++) dropped(s);
    expect(lost() - before).toBe(4);
  });

  it('counts packets beyond it in the metrics as ever', () => {
    for (let count = 0; count < BURST; count++) dropped(s);
    expect(dropped(s)).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', packets: 1 });
  });
});

describe('the ring buffer', () => {
  let s: Scenario;
  beforeAll(async () => {
    s = new Scenario(
      await Programs.load({ settings: { events_burst: 1000 }, maxEntries: { qn_events: RING } }),
    );
  });
  afterAll(() => s?.programs.close());

  it('counts exactly what did not fit, and goes on when it is read', async () => {
    const since = monotonicNs();
    for (let count = 0; count < ROOM + 25; count++) dropped(s);
    expect(s.programs.eventLoss(EventLoss.RING_FULL)).toBe(25);
    expect(s.programs.eventLoss(EventLoss.RATE_LIMITED)).toBe(0);
    s.programs.since(since);
    await s.programs.takeEvents(ROOM);
    dropped(s);
    await s.programs.takeEvent();
    expect(s.programs.eventLoss(EventLoss.RING_FULL)).toBe(25);
  });
});
