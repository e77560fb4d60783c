import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { installPlugin, listConfigurations, uninstallPlugin } from '../../install/plugin.js';
import type { ContextOf } from '../context.js';
import { objectText } from '../output.js';
import { localSettings } from '../settings.js';

interface Options {
  config?: string;
  dir?: string;
}

export function register(group: Command, contextOf: ContextOf): void {
  const settingsOf = ({ config, dir }: Options) => {
    const settings = localSettings(contextOf().env, config, (path) => readFileSync(path, 'utf8'));
    return { directory: dir ?? settings.cni_bin_dir, configurations: settings.cni_conf_dir };
  };

  located(group.command('install'), 'put the plugin where container runtimes look for it').action(
    async (options: Options) => {
      const { format, print } = contextOf();
      const { directory } = settingsOf(options);
      const written = await installPlugin(directory);
      if (format !== 'table') return print(await objectText(format, { directory, written }));
      if (written.length === 0) return print(`the plugin in ${directory} is up to date\n`);
      await print(written.map((path) => `${path} written\n`).join(''));
    },
  );

  located(group.command('uninstall'), 'remove the plugin').action(async (options: Options) => {
    const { format, print, complain } = contextOf();
    const { directory, configurations } = settingsOf(options);
    const removed = await uninstallPlugin(directory);
    const left = (await listConfigurations(configurations)).filter(({ network }) => network?.isOurs);
    for (const { file } of left) {
      complain(`${configurations}/${file} still names the plugin: delete the network, or remove the file\n`);
    }
    if (format !== 'table') return print(await objectText(format, { directory, removed }));
    if (removed.length === 0) return print(`there is no plugin of ours in ${directory}\n`);
    await print(removed.map((path) => `${path} removed\n`).join(''));
  });
}

function located(command: Command, text: string): Command {
  return command
    .description(text)
    .option('--config <path>', 'configuration file of the daemon')
    .option('--dir <path>', 'directory of the plugins, instead of the setting cni_bin_dir');
}
