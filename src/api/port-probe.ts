import { createServer } from 'node:net';
import { AppError } from '../model/errors.js';
import type { ListenAddress } from '../model/settings.js';

/**
 * Throws PORT_IN_USE when nobody can listen there. Asked before anything is changed; whoever takes the port between
 * this and the listener is found by the listener.
 */
export async function assertPortFree({ host, port }: ListenAddress): Promise<void> {
  const probe = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once('error', reject);
      probe.listen({ host, port, exclusive: true }, resolve);
    });
  } catch (cause) {
    throw new AppError(
      'PORT_IN_USE',
      `cannot listen at ${host} port ${port}: ${(cause as NodeJS.ErrnoException).code}`,
      {
        cause,
        hint: 'another program has the port; choose another with --listen',
      },
    );
  }
  await new Promise<void>((resolve) => probe.close(() => resolve()));
}
