/** One operation, with the daemon killed while it carries it out. */
import { expect } from 'vitest';
import type { Container } from '../support/containers.js';
import { type KillPoint, pointText, Tracer } from '../support/system-calls.js';
import type { Operation } from './operation.js';
import type { Scene } from './scene.js';
import { SEED } from './settings.js';

export class Attempt {
  constructor(
    private readonly scene: Scene,
    private readonly operation: Operation,
    private readonly visitor: Container,
  ) {}

  /** The calls that the daemon does for the operation, and for what follows on its answer. */
  async points(): Promise<KillPoint[]> {
    const { rest, daemon } = this.scene.site;
    const { prepare, request, clean, status, name } = this.operation;
    await prepare(rest, this.visitor);
    const tracer = await Tracer.attach(daemon.pid);
    expect(await request(rest, this.visitor)).toMatchObject({ status });
    await this.scene.requireOrder(name);
    const points = await tracer.end();
    await clean(rest, this.visitor);
    return points;
  }

  /** Kills the daemon at the point; `restart` has to start it again. Whether it came as far as the point. */
  async kill(point: KillPoint, restart: () => Promise<void>): Promise<boolean> {
    const { scene, operation, visitor } = this;
    const { rest, daemon } = scene.site;
    const when = `seed ${SEED}: ${operation.name}, killed before ${pointText(point)}`;
    const expectHappened = async (what: string) =>
      expect(await operation.hasHappened(rest), `${when}: ${what}`).toBe(true);
    await operation.prepare(rest, visitor);
    await scene.requireOrder(`${when}: before`);
    const { api: before } = await scene.site.state();

    const tracer = await Tracer.attach(daemon.pid, point);
    const answer = await operation.request(rest, visitor).catch(() => undefined);
    await scene.disorder();
    await tracer.end();
    const wasHit = daemon.hasEnded;
    await daemon.kill();
    await restart();

    await scene.requireOrder(when);
    if (answer !== undefined) await expectHappened('what was answered');
    const hasHappened = await operation.hasHappened(rest);
    if (!hasHappened) expect((await scene.site.state()).api, when).toEqual(before);

    const { status, text } = await operation.request(rest, visitor);
    expect(status, `${when}: again: ${text}`).toBe(hasHappened ? operation.again : operation.status);
    await scene.requireOrder(`${when}: again`);
    await expectHappened('again');
    await operation.clean(rest, visitor);
    await scene.requireOrder(`${when}: undone`);
    return wasHit;
  }
}
