/** What has to be taken away again, last made first, whatever happens in between. */

const SIGNALS = ['SIGINT', 'SIGTERM'];

export class Cleanup {
  #steps = [];

  add(step) {
    this.#steps.push(step);
  }

  /** Takes everything away; what fails is told and does not stop the rest. */
  async run() {
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        console.error(`bench: clean up: ${error.message}`);
      }
    }
  }

  /** Runs a part of the benchmark, and takes away what it made before the next one begins. */
  static async during(task) {
    const cleanup = new Cleanup();
    let stop;
    const stopped = new Promise((_, reject) => {
      stop = () => reject(new Error('interrupted'));
    });
    for (const signal of SIGNALS) process.once(signal, stop);
    try {
      return await Promise.race([task(cleanup), stopped]);
    } finally {
      for (const signal of SIGNALS) process.removeListener(signal, stop);
      await cleanup.run();
    }
  }
}
