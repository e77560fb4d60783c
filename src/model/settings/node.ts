/** Settings of the node that the daemon runs on: its uplink, its own processes, and what is said of it. */
import { z } from 'zod';
import { AppError } from '../errors.js';
import { interfaceName } from '../names.js';
import { HOSTNAME_LABEL, parseNodeLabels } from '../node-labels.js';
import { PATH_MAX, textFor, tooLong } from './values.js';

/** Longest text of node_labels: some sixty labels of usual length. */
const NODE_LABELS_MAX = 4096;

/** Value of `uplink` that stands for the interface of the default route. */
export const UPLINK_AUTO = 'auto';
/** Value of `uplink` for a node without one. */
export const UPLINK_NONE = 'none';
/** Interfaces that `uplink` may name: as many as the programs know (UPLINKS_MAX of bpf/abi/nat.h). */
export const UPLINKS_MAX = 8;

/** The interfaces that a value of `uplink` names. */
export function uplinkNames(text: string): string[] {
  return text.split(',');
}

function checkUplinks(text: string): void {
  const names = uplinkNames(text);
  const refuse = (message: string) => {
    throw new AppError('INVALID_REQUEST', message);
  };
  for (const name of names) {
    const { error } = interfaceName.safeParse(name);
    const [issue] = error?.issues ?? [];
    if (issue !== undefined) refuse(`${JSON.stringify(name)}: ${issue.message}`);
    if (names.length > 1 && (name === UPLINK_AUTO || name === UPLINK_NONE)) refuse(`"${name}" stands alone`);
  }
  if (new Set(names).size < names.length) refuse('names an interface twice');
  if (names.length > UPLINKS_MAX) refuse(`names more than ${UPLINKS_MAX} interfaces`);
}

/** Value of `cgroup_root` that stands for wherever the hierarchy is mounted. */
export const CGROUP_ROOT_AUTO = 'auto';
/** Value of `cgroup_root` for a node whose processes are to be left alone. */
export const CGROUP_ROOT_NONE = 'none';

export const nodeSettings = {
  uplink: textFor(checkUplinks, UPLINKS_MAX * 16)
    .default(UPLINK_AUTO)
    .describe(
      `Interfaces to the outside, as \`eth0,eth1\`, at most ${UPLINKS_MAX}; of several the node's routes choose one for each destination; \`auto\`: the interface of the default route; \`none\`: there is none`,
    ),
  xdp: z
    .enum(['auto', 'native', 'off'])
    .default('auto')
    .describe(
      'Where what comes in by the uplink is looked at first; `native`: in its driver, by XDP; `auto`: the same, but for veths, which gain nothing by it; `off`: by TC, as where XDP cannot be had',
    ),
  cgroup_root: z
    .string()
    .max(PATH_MAX, tooLong(PATH_MAX))
    .regex(
      /^(?:auto|none|(?!.*\/\.\.(?:\/|$))\/[^\0]*)$/,
      'must be auto, none, or an absolute path without ".."',
    )
    .default(CGROUP_ROOT_AUTO)
    .describe(
      "Cgroup (version 2) of the node's processes that reach port mappings and services; `auto`: all of them; `none`: no process does",
    ),
  host_access: z
    .enum(['full', 'policy'])
    .default('policy')
    .describe(
      'What the node itself may reach of its containers; `full`: everything, whatever policies say; `policy`: what they let it',
    ),
  node_labels: textFor(parseNodeLabels, NODE_LABELS_MAX)
    .default('')
    .describe(
      `Labels of the node, as \`a=b,c=d\`, for policies that select nodes; \`${HOSTNAME_LABEL}\` is implied`,
    ),
};
