/**
 * The composition root of the daemon. Everything that can be wrong with the settings, the port or the store is
 * found before the machine is changed.
 */
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { assertPortFree } from './api/port-probe.js';
import { removeConflist, syncConflists, writeConflist } from './cni/conflist.js';
import { Claim, OWN_NETNS } from './datapath/claim.js';
import { installPlugin } from './install/plugin.js';
import { cniAnswer, cniCall } from './model/cni.js';
import { AppError } from './model/errors.js';
import type { Network } from './model/network.js';
import { listenAddress, type Settings } from './model/settings.js';
import { KernelError } from './native/errors.js';
import { returnFreedMemory } from './native/memory.js';
import { socketOwner } from './native/net.js';
import { notifyServiceManager } from './native/sd-notify.js';
import { EmbeddedStore } from './store/embedded.js';
import { networks } from './store/tables.js';

export interface App {
  /** Where the REST API listens; undefined: on its socket only. */
  readonly url: string | undefined;
  readonly socketPath: string;
  /** Finishes what is under way and lets go; containers keep their network. */
  stop(): Promise<void>;
}

export interface AppOptions {
  settings: Settings;
  version: string;
  log: Logger;
  /** NOTIFY_SOCKET of the environment, where a service manager set it. */
  notifySocket: string | undefined;
}

/** Starts the daemon; throws AppError, and then nothing of it runs. */
export async function startApp({ settings, version, log, notifySocket }: AppOptions): Promise<App> {
  requireRights();
  returnFreedMemory();
  const listen = listenAddress(settings.listen);
  if (listen !== undefined) await assertPortFree(listen);

  // Code, while another process checks the store and then other threads load the programs.
  const core = import('./vnet/node.js');
  const edgesLoaded = core.then(() => import('./edges.js'));
  // Nobody may come to wait for them.
  edgesLoaded.catch(() => undefined);

  /** Answers whoever waits for the start: until then a stop would wait for them, and cut them off in the end. */
  let refuse: (why: unknown) => void = () => undefined;
  const stopping: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const step of stopping.splice(0).reverse()) await step();
  };
  try {
    const store = await EmbeddedStore.open(settings.state_dir);
    stopping.push(() => store.close());
    const claim = Claim.take(OWN_NETNS, 'this network namespace');
    stopping.push(async () => claim[Symbol.dispose]());

    const cniSocket = join(settings.run_dir, 'cni.sock');
    const place = {
      directory: settings.cni_conf_dir,
      socket: cniSocket,
      prefix: settings.cni_conf_prefix,
      version: settings.cni_version,
    };
    const files = {
      write: (network: Network) => writeConflist(place, network),
      remove: async (network: Network) => void (await removeConflist(place, network.name)),
    };
    const { LocalNode } = await core;
    const node = await LocalNode.open({ settings, store, files, log: log.child({ component: 'node' }) });
    refuse = (why) => node.refuse(why);
    stopping.push(() => node[Symbol.asyncDispose]());

    const edges = await edgesLoaded;
    const cniLog = log.child({ component: 'cni' });
    const handler = new edges.CniHandler({
      ports: new edges.NodeCniPorts(node),
      deferred: new edges.DeferredCalls(cniSocket, cniLog),
      log: cniLog,
    });
    const callers = new edges.CallerRegistry(socketOwner);
    const app = await edges.buildApi({
      node,
      version,
      logger: log.child({ component: 'api' }),
      callers,
      metrics: edges.createMetrics({ node, version, log: log.child({ component: 'metrics' }) }),
      cni: {
        call: cniCall,
        outcome: cniAnswer,
        handle: (call) => handler.handle(cniCall.parse(call)),
      },
    });
    const socketPath = join(settings.run_dir, 'api.sock');
    const server = await edges.serveApi(app, { listen, socketPath, callers });
    stopping.push(() => server.close());

    await installPlugin(settings.cni_bin_dir);
    log.info(await node.start(), 'the kernel is as the store wants it');
    for (const error of await syncConflists(place, store.list(networks))) {
      log.warn({ err: error }, 'a CNI network configuration could not be written');
    }
    const cni = await edges.CniServer.start({ socketPath: cniSocket, handler, log: cniLog });
    stopping.push(() => cni.close());
    const docker = await edges.DockerPlugin.start({
      settings,
      networks: node.networks,
      runtimeNetworks: node.runtimeNetworks,
      staged: node.endpoints.staged,
      reservations: node.reservations,
      log: log.child({ component: 'docker' }),
    });
    stopping.push(() => docker.close());

    stopping.push(async () => notifyServiceManager(notifySocket, 'STOPPING=1'));
    const url = urlOf(server.tcp);
    notifyServiceManager(notifySocket, `READY=1\nSTATUS=serving ${url ?? socketPath}`);
    return { url, socketPath, stop };
  } catch (cause) {
    const error =
      cause instanceof KernelError ? new AppError('KERNEL_ERROR', cause.message, { cause }) : cause;
    refuse(error);
    await stop();
    throw error;
  }
}

/** Without which nothing works: CAP_NET_ADMIN for interfaces, CAP_SYS_ADMIN for namespaces, mounts and programs. */
const CAPABILITIES = [
  { name: 'CAP_NET_ADMIN', bit: 12n },
  { name: 'CAP_SYS_ADMIN', bit: 21n },
] as const;

/** Throws NOT_ROOT. */
function requireRights(): void {
  const what = 'it loads BPF programs and configures interfaces';
  if (process.geteuid?.() !== 0) throw new AppError('NOT_ROOT', `the daemon must run as root: ${what}`);
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  const held = BigInt(`0x${effective ?? 0}`);
  const missing = CAPABILITIES.filter(({ bit }) => ((held >> bit) & 1n) === 0n).map(({ name }) => name);
  if (missing.length > 0) {
    throw new AppError('NOT_ROOT', `the daemon lacks ${missing.join(' and ')}: ${what}`);
  }
}

function urlOf(tcp: AddressInfo | undefined): string | undefined {
  if (tcp === undefined) return undefined;
  return `http://${tcp.family === 'IPv6' ? `[${tcp.address}]` : tcp.address}:${tcp.port}`;
}
