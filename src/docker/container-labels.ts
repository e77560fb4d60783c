/** Who a container of Docker is, by its labels; pure. */
import type { Endpoint } from '../model/endpoint.js';
import { parseWith } from '../model/errors.js';
import { DEFAULT_NAMESPACE, dnsLabel, type Labels, labelKey, labels, labelValue } from '../model/names.js';
import type { ContainerIdentity } from '../vnet/contract.js';

/** Label of a container that names its namespace. */
export const NAMESPACE_LABEL = 'quantum.namespace';

/** Labels that Docker's own tools write; most are another one on each container. */
const DOCKERS_OWN = /^(com\.docker\.|desktop\.docker\.)/;
const USEFUL = new Set(['com.docker.compose.project', 'com.docker.compose.service']);

/** A container, as the Docker Engine tells of it. */
export interface DockerContainer {
  id: string;
  /** Those of its image among them. */
  labels: Readonly<Record<string, string>>;
  imageLabels: Readonly<Record<string, string>>;
}

/**
 * Labels count that the user has given to the container. Those of its image do not, or whoever builds an image would
 * decide who the container is; nor can those that are no labels of Kubernetes, which no policy could name. What the
 * endpoint was given by options goes first. Throws INVALID_REQUEST.
 */
export function identityOf(
  { id, labels: given, imageLabels }: DockerContainer,
  endpoint: Pick<Endpoint, 'labels' | 'namespace'>,
): ContainerIdentity {
  const own = Object.entries(given).filter(
    ([key, value]) => !(Object.hasOwn(imageLabels, key) && imageLabels[key] === value),
  );
  const namespace = own.find(([key]) => key === NAMESPACE_LABEL)?.[1];
  const usable = own.filter(([key, value]) => key !== NAMESPACE_LABEL && isUsable(key, value));
  const all: Labels = { ...Object.fromEntries(usable), ...endpoint.labels };
  return {
    container_id: id,
    labels: parseWith(labels, all, 'INVALID_REQUEST', `labels of container ${id}`),
    namespace:
      namespace === undefined || endpoint.namespace !== DEFAULT_NAMESPACE
        ? endpoint.namespace
        : parseWith(dnsLabel, namespace, 'INVALID_REQUEST', `label ${NAMESPACE_LABEL} of container ${id}`),
  };
}

function isUsable(key: string, value: string): boolean {
  if (DOCKERS_OWN.test(key) && !USEFUL.has(key)) return false;
  return labelKey.safeParse(key).success && labelValue.safeParse(value).success;
}
