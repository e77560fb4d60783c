/**
 * Finds out whose an endpoint is. Docker tells drivers neither the container of an endpoint nor its labels; its API
 * does, from when the endpoint has joined, which is before the container is made. Until then nothing of it passes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { asAppError } from '../model/errors.js';
import type { ReservationService, StagedEndpoint, StagedEndpointService } from '../vnet/contract.js';
import { identityOf } from './container-labels.js';
import type { DockerEngine } from './engine-api.js';

/** Between two questions: after the first one, and at most. */
const PAUSE_MS = { first: 5, most: 2_000 };
/** An endpoint whose container does not show its interface is looked for so long; then only while collecting. */
const LOCATE_MS = 30_000;
const COLLECT_INTERVAL_MS = 30_000;

/** As much of a logger as is used here; pino's has it. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface IdentificationParts {
  staged: StagedEndpointService;
  reservations: ReservationService;
  /** Undefined: it is not to be asked. An endpoint is then who its options say, under its own id. */
  engine: DockerEngine | undefined;
  log: Log;
}

export class Identification {
  private readonly stopping = new AbortController();
  private readonly following = new Map<string, { known: Promise<void>; ended: Promise<void> }>();
  /** Endpoints that were found without a container in the last round. */
  private suspects = new Set<string>();
  private collecting: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: IdentificationParts) {}

  /** Goes on with what a daemon before this one had not finished. */
  start(): void {
    for (const { key, joined } of this.parts.staged.list()) if (joined) this.follow(key);
    this.collect();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.collect(), COLLECT_INTERVAL_MS).unref();
  }

  /** Whether no round is under way. */
  get isIdle(): boolean {
    return this.collecting === undefined;
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.stopping.abort();
    await Promise.allSettled([...this.following.values()].map(({ ended }) => ended));
    await this.collecting;
  }

  /** Sees to it that an endpoint that has joined becomes known. */
  follow(key: string): void {
    if (this.following.has(key) || this.stopping.signal.aborted) return;
    const known = this.identify(key);
    const ended = known.then(() => this.locate(key)).finally(() => this.following.delete(key));
    this.following.set(key, { known, ended });
    // Ends with the daemon, or with an error that is logged.
    ended.catch(() => undefined);
  }

  /** Waits until the endpoint is known, but no longer than so. */
  async settled(key: string, patienceMs: number): Promise<void> {
    const known = this.following.get(key)?.known;
    if (known === undefined) return;
    const waiting = new AbortController();
    const patience = delay(patienceMs, undefined, { signal: waiting.signal, ref: false });
    await Promise.race([known, patience]).catch(() => undefined);
    waiting.abort();
    patience.catch(() => undefined);
  }

  private async identify(key: string): Promise<void> {
    let reported: string | undefined;
    for (let pause = PAUSE_MS.first; ; pause = Math.min(2 * pause, PAUSE_MS.most)) {
      try {
        if (await this.attempt(key)) return;
      } catch (error) {
        const { message } = asAppError(error);
        const fields = { endpoint: key, err: error };
        if (message !== reported)
          this.parts.log.warn(fields, 'it is not known whose an endpoint is; nothing passes');
        reported = message;
      }
      await delay(pause, undefined, { signal: this.stopping.signal, ref: false });
    }
  }

  /** True: there is nothing more to do. */
  private async attempt(key: string): Promise<boolean> {
    const { staged, engine, log } = this.parts;
    const found = staged.find(key);
    if (found?.joined !== true || found.endpoint.state === 'ready') return true;
    const { endpoint, runtime_network } = found;
    if (engine === undefined) {
      const { labels, namespace } = endpoint;
      await staged.identify(key, { container_id: key, labels, namespace });
      return true;
    }
    const holder = await engine.containerOf(runtime_network, key);
    if (holder === 'none' || holder === 'absent') return false;
    const container = await engine.container(holder.id);
    if (container === undefined) return false;
    const known = await staged.identify(key, identityOf(container, endpoint));
    if (known !== undefined) {
      const { container_id, network, labels, namespace } = known;
      log.info({ container_id, network, namespace, labels }, 'a container of Docker is connected');
    }
    return true;
  }

  /** Docker takes the interface into the container, and names it, when it makes that; the record follows. */
  private async locate(key: string): Promise<void> {
    const deadline = performance.now() + LOCATE_MS;
    for (
      let pause = PAUSE_MS.first;
      performance.now() < deadline;
      pause = Math.min(2 * pause, PAUSE_MS.most)
    ) {
      if (this.parts.staged.find(key)?.joined !== true || (await this.parts.staged.locate(key))) return;
      await delay(pause, undefined, { signal: this.stopping.signal, ref: false });
    }
  }

  private collect(): void {
    this.collecting ??= this.sweep()
      .catch((error: unknown) =>
        this.parts.log.error({ err: error }, 'could not look for what Docker has left'),
      )
      .finally(() => {
        this.collecting = undefined;
      });
  }

  /**
   * Takes off what a Docker that ended otherwise than in order has left: endpoints without an interface, and those
   * that Docker says twice in a row that it does not have, unless their interface is in a container.
   */
  private async sweep(): Promise<void> {
    const { staged, reservations, log } = this.parts;
    await reservations.collect();
    const suspects = new Set<string>();
    for (const one of staged.list()) {
      if (this.stopping.signal.aborted) return;
      const isGone = !(await staged.hasInterface(one.key));
      if (!isGone && !(await this.isForgotten(one))) continue;
      if (isGone || this.suspects.has(one.key)) {
        await staged.remove(one.key);
        const { container_id, network } = one.endpoint;
        log.info(
          { endpoint: one.key, container_id, network },
          'an endpoint that Docker has left was taken off',
        );
      } else suspects.add(one.key);
    }
    this.suspects = suspects;
  }

  private async isForgotten({ key, runtime_network, joined }: StagedEndpoint): Promise<boolean> {
    const { staged, engine } = this.parts;
    if (joined && (await staged.locate(key))) return false;
    if (engine === undefined) return false;
    try {
      return (await engine.containerOf(runtime_network, key)) === 'absent';
    } catch {
      // It says nothing: it may be down, and its containers up.
      return false;
    }
  }
}
