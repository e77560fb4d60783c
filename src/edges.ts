/** What clients speak to, half of the daemon's code: for app.ts to load while the verifier is at work. */
export { buildApi } from './api/api.js';
export { CallerRegistry } from './api/caller.js';
export { serveApi } from './api/server.js';
export { DeferredCalls } from './cni/deferred.js';
export { CniHandler } from './cni/handler.js';
export { NodeCniPorts } from './cni/node-ports.js';
export { CniServer } from './cni/server.js';
export { DockerPlugin } from './docker/plugin.js';
export { createMetrics } from './metrics/metrics.js';
