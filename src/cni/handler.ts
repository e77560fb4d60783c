/** Carries out calls of the CNI plugin: each command of the specification, and no more than it says. */
import {
  answerVersion,
  type CniAnswer,
  type CniCall,
  type CniConfiguration,
  type CniResult,
  parseCniConfiguration,
} from '../model/cni.js';
import { resultText, versionText } from '../model/cni-result.js';
import { AppError, asAppError } from '../model/errors.js';
import type { DeferredCalls } from './deferred.js';
import { type Delegated, delegatedOf } from './delegated.js';
import { CNI_CODES, CniFailure, errorObject } from './failure.js';
import {
  attachmentKey,
  badVariable,
  parseNamed,
  requireCommand,
  requireVariable,
  validAttachments,
} from './input.js';
import { KeyedQueue } from './keyed-queue.js';
import { ensureNetwork, requireGateway } from './network.js';
import type { Attachment, AttachmentKey, CniPorts, Log } from './ports.js';
import { attachRequest } from './request.js';
import { addResult, resultProblems } from './result.js';
import { parseRuntimeConfig } from './runtime-config.js';

/** Errors that say that there is nothing to delete. */
const ABSENT = new Set(['NETWORK_NOT_FOUND', 'CONTAINER_NOT_FOUND']);

/** Problems that an answer of CHECK or GC lists. */
const PROBLEMS_SHOWN = 16;

export interface CniHandlerOptions {
  ports: CniPorts;
  deferred: DeferredCalls;
  log: Log;
}

export class CniHandler {
  readonly #ports: CniPorts;
  readonly #deferred: DeferredCalls;
  readonly #log: Log;
  /** Calls for one interface of one container are carried out in the order they came. */
  readonly #queue = new KeyedQueue();

  constructor({ ports, deferred, log }: CniHandlerOptions) {
    this.#ports = ports;
    this.#deferred = deferred;
    this.#log = log;
  }

  /** The answer of the plugin to a call. Never rejects: an error is an answer too. */
  async handle(call: CniCall): Promise<CniAnswer> {
    const { CNI_COMMAND: command, CNI_CONTAINERID: container_id, CNI_IFNAME: interface_name } = call.env;
    const started = performance.now();
    const fields = () => ({
      command,
      container_id,
      interface_name,
      ms: Math.round(performance.now() - started),
    });
    try {
      const text = await this.#carryOut(call);
      this.#log.info(fields(), 'CNI call');
      return { exit_code: 0, stdout: text === '' ? '' : `${text}\n` };
    } catch (error) {
      const object = errorObject(answerVersion(call.stdin), error);
      this.#log.warn({ ...fields(), code: object.code, err: error }, 'CNI call failed');
      return { exit_code: 1, stdout: `${JSON.stringify(object)}\n` };
    }
  }

  /** Carries out the DEL calls that the plugin kept while nobody listened. What fails stays for the next time. */
  async replayDeferred(): Promise<void> {
    for (const call of await this.#deferred.list()) {
      try {
        await this.#queue.run(queueKey(call), () => this.#settle(call));
      } catch (error) {
        this.#log.warn({ ...call, err: error }, 'a deferred CNI DEL failed and will be tried again');
      }
    }
  }

  #carryOut(call: CniCall): Promise<string> {
    const command = requireVariable(call.env, 'CNI_COMMAND');
    switch (command) {
      case 'ADD':
        return this.#add(call);
      case 'DEL':
        return this.#del(call);
      case 'CHECK':
        return this.#check(call);
      case 'GC':
        return this.#gc(call);
      case 'STATUS':
        return this.#status(call);
      case 'VERSION':
        return Promise.resolve(versionText(answerVersion(call.stdin)));
      default:
        throw badVariable('CNI_COMMAND', `is not known: ${JSON.stringify(command).slice(0, 32)}`);
    }
  }

  async #add(call: CniCall): Promise<string> {
    const { configuration, request, runtime, delegated } = readAdd(call);
    return await this.#queue.run(queueKey(request), async () => {
      // A DEL that was kept is of an earlier attachment: it must not come after this one.
      for (const earlier of await this.#deferred.list(request)) await this.#settle(earlier);
      requireGateway(await ensureNetwork(this.#ports, configuration, delegated), request.spans);
      const attachment = await this.#ports.attach(request);
      return await this.#resultOrUndo(attachment, () =>
        resultText(configuration.cniVersion, addResult(attachment, configuration, runtime)),
      );
    });
  }

  /** An attachment whose result cannot be told is taken back: the runtime would not know of it. */
  async #resultOrUndo({ endpoint }: Attachment, text: () => string): Promise<string> {
    try {
      return text();
    } catch (error) {
      await this.#detach(endpoint);
      throw new AppError('INVALID_CNI_CONFIG', 'the result of the earlier plugins cannot be passed on', {
        details: [{ path: 'prevResult', message: error instanceof Error ? error.message : 'is not valid' }],
        cause: error,
      });
    }
  }

  async #del(call: CniCall): Promise<string> {
    const key = readDel(call);
    if (key === undefined) return '';
    return await this.#queue.run(queueKey(key), async () => {
      await this.#detach(key);
      for (const kept of await this.#deferred.list(key)) {
        if (kept.network === key.network) await this.#deferred.remove(kept);
      }
      return '';
    });
  }

  async #check(call: CniCall): Promise<string> {
    const configuration = readConfiguration(call, 'CHECK');
    const request = attachRequest(call, configuration);
    const previous = requirePrevious(configuration);
    return await this.#queue.run(queueKey(request), async () => {
      const routesTo = new Set((previous.routes ?? []).map(({ dst }) => dst));
      const inspection = await this.#ports.inspect(request, routesTo);
      const problems = [...resultProblems(inspection, previous, request.netns_path), ...inspection.problems];
      if (problems.length === 0) return '';
      const shown = problems.slice(0, PROBLEMS_SHOWN).join('; ');
      throw new CniFailure(CNI_CODES.checkFailed, 'the attachment is not as it should be', shown);
    });
  }

  async #gc(call: CniCall): Promise<string> {
    const configuration = parseNamed(call.stdin);
    requireCommand(configuration.cniVersion, 'GC');
    const listed = validAttachments(configuration);
    // Who does not say what is valid has said nothing: that all is stale would be a guess.
    if (listed === undefined) return '';
    const valid = new Set(
      listed.map(({ containerID, ifname }) =>
        queueKey({ container_id: containerID, interface_name: ifname }),
      ),
    );
    const errors: AppError[] = [];
    for (const key of await this.#attachments(configuration.name)) {
      if (valid.has(queueKey(key))) continue;
      try {
        await this.#queue.run(queueKey(key), () => this.#detach(key));
        this.#log.info({ ...key }, 'CNI GC removed an attachment');
      } catch (error) {
        errors.push(asAppError(error));
      }
    }
    const [first] = errors;
    if (first === undefined) return '';
    throw new AppError(first.code, `${errors.length} attachments could not be removed`, {
      details: errors.slice(0, PROBLEMS_SHOWN).map(({ message }) => ({ path: 'GC', message })),
      cause: first,
    });
  }

  async #status(call: CniCall): Promise<string> {
    const configuration = parseNamed(call.stdin);
    requireCommand(configuration.cniVersion, 'STATUS');
    const { ready, connectivity, message } = await this.#ports.status(configuration.name);
    const why = message ?? 'the daemon cannot serve ADD at the moment';
    if (!connectivity) throw new CniFailure(CNI_CODES.limitedConnectivity, why, 'containers are affected');
    if (!ready) throw new AppError('CNI_UNAVAILABLE', why);
    return '';
  }

  async #attachments(network: string): Promise<AttachmentKey[]> {
    try {
      return await this.#ports.attachments(network);
    } catch (error) {
      if (error instanceof AppError && ABSENT.has(error.code)) return [];
      throw error;
    }
  }

  /** Carries out a call that was kept. Its file goes only when that is done. */
  async #settle(kept: AttachmentKey & { name: string }): Promise<void> {
    const call = await this.#deferred.read(kept);
    if (call === undefined) return;
    const key = readKept(call);
    if (key !== undefined) await this.#detach(key);
    await this.#deferred.remove(kept);
    this.#log.info({ ...kept }, 'a deferred CNI DEL was carried out');
  }

  async #detach({ network, container_id, interface_name }: AttachmentKey): Promise<void> {
    try {
      await this.#ports.detach({ network, container_id, interface_name });
    } catch (error) {
      if (!(error instanceof AppError && ABSENT.has(error.code))) throw error;
    }
  }
}

function readConfiguration(call: CniCall, command: 'ADD' | 'CHECK'): CniConfiguration {
  requireCommand(parseNamed(call.stdin).cniVersion, command);
  return parseCniConfiguration(call.stdin);
}

function readAdd(call: CniCall) {
  const given = readConfiguration(call, 'ADD');
  const runtime = parseRuntimeConfig(given);
  const delegated = delegatedOf(call, given);
  const configuration = delegated === undefined ? given : withDelegated(given, delegated);
  return { configuration, runtime, delegated, request: attachRequest(call, configuration, delegated) };
}

/** The configuration with the routes of the IPAM plugin, and with its DNS where it has none itself. */
function withDelegated(configuration: CniConfiguration, { routes, dns }: Delegated): CniConfiguration {
  const hasDns = Object.keys(configuration.dns ?? {}).length > 0;
  return {
    ...configuration,
    routes: [...configuration.routes, ...routes],
    dns: hasDns ? configuration.dns : dns,
  };
}

function readDel(call: CniCall): AttachmentKey | undefined {
  const configuration = parseNamed(call.stdin);
  return attachmentKey(call, configuration.name);
}

/** A call that was kept and is not valid asks for nothing. */
function readKept(call: CniCall): AttachmentKey | undefined {
  try {
    return readDel(call);
  } catch {
    return undefined;
  }
}

function requirePrevious({ prevResult }: CniConfiguration): CniResult {
  if (prevResult !== undefined) return prevResult;
  throw new AppError('INVALID_CNI_CONFIG', 'CHECK needs prevResult', {
    details: [{ path: 'prevResult', message: 'is missing' }],
  });
}

/** The specification identifies an attachment by container and interface; an interface is in one network alone. */
function queueKey({
  container_id,
  interface_name,
}: Pick<AttachmentKey, 'container_id' | 'interface_name'>): string {
  return `${container_id}/${interface_name}`;
}
