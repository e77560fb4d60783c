/** The fabric as a plugin of Docker: a network driver and an IPAM driver on one socket. */
import { join } from 'node:path';
import { NO_PATH, type Settings } from '../model/settings.js';
import type {
  NetworkService,
  ReservationService,
  RuntimeNetworkService,
  StagedEndpointService,
} from '../vnet/contract.js';
import { callsOf } from './calls.js';
import { EngineApi } from './engine-api.js';
import { Identification, type Log } from './identification.js';
import { IpamDriver } from './ipam-driver.js';
import { NetworkDriver } from './network-driver.js';
import { PluginServer } from './server.js';

/** Docker calls the plugin by the name of its socket: `docker network create -d quantum`. */
const SOCKET = 'quantum.sock';

export interface DockerPluginOptions {
  settings: Pick<Settings, 'docker_plugin_dir' | 'docker_socket'>;
  networks: NetworkService;
  runtimeNetworks: RuntimeNetworkService;
  staged: StagedEndpointService;
  reservations: ReservationService;
  log: Log;
}

export class DockerPlugin {
  private constructor(
    private readonly identification: Identification,
    private readonly server: PluginServer | undefined,
  ) {}

  /**
   * To be started when the node is. That the socket cannot be had is logged, and no reason for the daemon to end:
   * whoever uses Docker sees that, and nobody else needs it.
   */
  static async start(options: DockerPluginOptions): Promise<DockerPlugin> {
    const { settings, networks, runtimeNetworks, staged, reservations, log } = options;
    const engine = settings.docker_socket === NO_PATH ? undefined : new EngineApi(settings.docker_socket);
    const identification = new Identification({ staged, reservations, engine, log });
    identification.start();
    if (settings.docker_plugin_dir === NO_PATH) return new DockerPlugin(identification, undefined);
    const network = new NetworkDriver({ networks, runtimeNetworks, staged, identification });
    const calls = callsOf(network, new IpamDriver({ networks, reservations }));
    const socketPath = join(settings.docker_plugin_dir, SOCKET);
    try {
      const server = await PluginServer.start({ socketPath, calls, log });
      return new DockerPlugin(identification, server);
    } catch (error) {
      log.warn({ err: error, socket: socketPath }, 'Docker cannot use the fabric');
      return new DockerPlugin(identification, undefined);
    }
  }

  async close(): Promise<void> {
    await this.server?.close();
    await this.identification.stop();
  }
}
