// `hardhat test` against the node, with contracts that Hardhat compiles itself.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Wallet } from 'ethers';
import { freshKey } from './support.mjs';

const here = dirname(fileURLToPath(import.meta.url));

test('hardhat test', async () => {
    const keys = [await freshKey((key) => new Wallet(key).address), await freshKey((key) => new Wallet(key).address)];
    const run = spawnSync(join(here, 'node_modules/.bin/hardhat'), ['--config', 'hardhat.config.cjs', 'test', '--network', 'here'], {
        cwd: here,
        encoding: 'utf8',
        env: { ...process.env, HARDHAT_KEYS: keys.join(','), HARDHAT_DISABLE_TELEMETRY_PROMPT: 'true' },
        timeout: 150000,
    });
    assert.equal(run.status, 0, run.stdout + run.stderr);
    assert.match(run.stdout, /5 passing/);
    assert.doesNotMatch(run.stdout, /failing|pending/);
});
