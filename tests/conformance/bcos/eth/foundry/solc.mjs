#!/usr/bin/env node
// The compiler as forge calls it, over the npm package.
import { createRequire } from 'node:module';
import { readFileSync, writeSync } from 'node:fs';

const solc = createRequire(import.meta.url)('solc');
const said = process.argv.includes('--version')
    ? `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`
    : solc.compile(readFileSync(0, 'utf8'));
const bytes = Buffer.from(said);
for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
