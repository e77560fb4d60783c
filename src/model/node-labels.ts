/** Labels of the node itself, which policies select by with their peers of the kind `nodes`. */
import { AppError, errorDetails } from './errors.js';
import { type Labels, labelPairs, labels, labelValue } from './names.js';

/** The label that a node carries without being given it; its value is the node's host name. */
export const HOSTNAME_LABEL = 'kubernetes.io/hostname';

/** Labels as `a=b,c=d`; none of an empty text. Throws AppError INVALID_REQUEST. */
export function parseNodeLabels(text: string): Labels {
  const pairs = text === '' ? [] : labelPairs(text);
  if (pairs === undefined) throw refusal('must have the form key=value,key=value');
  const given = Object.fromEntries(pairs);
  const twice = pairs.find(([key], index) => pairs.findIndex(([other]) => other === key) !== index);
  if (twice !== undefined) throw refusal(`${JSON.stringify(twice[0])} is given twice`);
  const result = labels.safeParse(given);
  if (result.success) return result.data;
  const [first] = errorDetails(result.error);
  throw refusal(
    first === undefined || first.path === '' ? 'are no labels' : `${first.path}: ${first.message}`,
  );
}

function refusal(message: string): AppError {
  return new AppError('INVALID_REQUEST', message);
}

/** The labels that policies see: those given in the settings, and the host name where it can be a label. */
export function nodeLabels(given: string, hostname: string): Labels {
  const implied = labelValue.safeParse(hostname).success ? { [HOSTNAME_LABEL]: hostname } : {};
  return { ...implied, ...parseNodeLabels(given) };
}
