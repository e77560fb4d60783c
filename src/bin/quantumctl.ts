#!/usr/bin/env node
import { runQuantumctl } from '../cli/quantumctl.js';

const { argv, env, stdin, stdout, stderr } = process;

// Who pipes into `head` has had enough when it ends.
stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runQuantumctl({ argv: argv.slice(2), env, stdin, stdout, stderr });
