/** How the node's own processes reach port mappings and services: by hooks of their sockets, where there are cgroups. */
import type { SocketHooks } from '../../datapath/hooks/socket-hooks.js';
import type { NodeConnectState } from '../../model/health.js';

export interface NodeConnectParts {
  hooks: Pick<SocketHooks, 'root' | 'sync'>;
  /** They are reached now, or no longer. */
  onChange: (state: NodeConnectState) => void;
  /** The hooks could not be attached; the next sync() tries again. */
  onError: (error: unknown) => void;
}

export class NodeConnect {
  private known: NodeConnectState | undefined;

  constructor(private readonly parts: NodeConnectParts) {}

  /** Undefined before the first sync(). */
  get state(): NodeConnectState | undefined {
    return this.known;
  }

  /** A node whose processes reach no mapping is still a node: this throws nothing. */
  sync(): void {
    const { hooks, onError } = this.parts;
    const { root } = hooks;
    try {
      hooks.sync();
      this.tell('path' in root ? { cgroup: root.path } : { message: root.problem });
    } catch (error) {
      const before = this.known?.message;
      this.tell({ message: 'the hooks could not be attached; the log says why' });
      // Once, not at each attempt.
      if (before !== this.known?.message) onError(error);
    }
  }

  private tell(state: NodeConnectState): void {
    const before = this.known;
    this.known = state;
    if (JSON.stringify(before) !== JSON.stringify(state)) this.parts.onChange(state);
  }
}
