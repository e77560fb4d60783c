/**
 * The paths that the API knows, to tell a wrong method from a wrong path: those of routes, in the form of the router:
 * `/networks/:name`, with `*` for a rest.
 */
export class KnownPaths {
  readonly #routes = new Map<string, { pattern: RegExp; methods: Set<string> }>();

  add(path: string, methods: readonly string[]): void {
    let route = this.#routes.get(path);
    if (route === undefined) {
      const source = path
        .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
        .replace(/:[A-Za-z_]+/g, '[^/]+')
        .replace('*', '.*');
      route = { pattern: new RegExp(`^${source}$`), methods: new Set() };
      this.#routes.set(path, route);
    }
    for (const method of methods) route.methods.add(method);
  }

  /** Methods that the path takes, in the form of the Allow header; undefined: there is nothing at the path. */
  allowed(path: string): string | undefined {
    const methods = [...this.#routes.values()]
      .filter(({ pattern }) => pattern.test(path))
      .flatMap((route) => [...route.methods]);
    return methods.length === 0 ? undefined : [...new Set(methods)].sort().join(', ');
  }
}
