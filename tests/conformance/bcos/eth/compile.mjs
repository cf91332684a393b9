// Compiles the contracts with the npm compiler; run by itself it says where the result is.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** The file with ABI and code of every contract, compiled once for a state of the sources. */
export function compiled() {
    const sources = {};
    const folder = join(here, 'contracts');
    for (const name of readdirSync(folder)) sources[name] = { content: readFileSync(join(folder, name), 'utf8') };
    const input = {
        language: 'Solidity',
        sources,
        settings: {
            evmVersion: 'cancun',
            optimizer: { enabled: true, runs: 200 },
            outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
        },
    };
    const require = createRequire(import.meta.url);
    const version = require('solc/package.json').version + require('@openzeppelin/contracts/package.json').version;
    const stamp = createHash('sha256').update(version).update(JSON.stringify(input)).digest('hex');
    const kept = join(here, 'build', `${stamp}.json`);
    if (existsSync(kept)) return kept;
    const solc = require('solc');
    const read = (path) => ({ contents: readFileSync(require.resolve(path), 'utf8') });
    const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
    const errors = (output.errors ?? []).filter((error) => error.severity === 'error');
    assert.deepEqual(errors.map((error) => error.formattedMessage), []);
    const found = {};
    for (const source of Object.keys(sources)) {
        for (const [name, contract] of Object.entries(output.contracts[source])) {
            const code = contract.evm.bytecode.object;
            const deployed = contract.evm.deployedBytecode.object;
            found[name] = { abi: contract.abi, bytecode: `0x${code}`, deployed: `0x${deployed}` };
        }
    }
    mkdirSync(join(here, 'build'), { recursive: true });
    writeFileSync(`${kept}.new`, JSON.stringify(found));
    renameSync(`${kept}.new`, kept);
    return kept;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(compiled());
