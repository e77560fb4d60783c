/** docs/settings.md, from the schema of the settings. */
import { SETTINGS } from './settings.js';

/** The whole file; a test compares it with what is committed. */
export function renderSettingsDocs(): string {
  const rows = SETTINGS.map(({ key, flag, environment, fallback, text }) => {
    const cells = [
      `\`${key}\``,
      `\`${flag}\``,
      `\`${environment}\``,
      fallback === '' ? 'empty' : `\`${fallback}\``,
      text.replaceAll('|', '\\|'),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return `<!-- Generated from src/model/settings.ts; do not edit. -->

# Settings

Every setting of \`quantum-api\` can be given as a flag, as an environment variable, or as a key of the
configuration file (YAML). A flag wins over the variable, and that over the file. Unknown flags, keys and
\`QUANTUM_*\` variables are refused, and so is a configuration file that was asked for and is not there.

| key | flag | environment | default | meaning |
|---|---|---|---|---|
${rows.join('\n')}

Paths are settings, so that several daemons can run side by side, each in a network namespace of its own.
Times and limits take effect when the programs are loaded: at the start of the daemon. Sizes, from \`events_buffer_bytes\`
on, are those of maps that outlive the daemon: a map keeps its size until the node is restarted, and the log says so.
`;
}
