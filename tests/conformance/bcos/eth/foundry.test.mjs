// forge and cast from npm: create, script, call, send, receipt, logs, trace.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Wallet } from 'ethers';
import { chainId, freshKey, http } from './support.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const project = join(here, 'foundry');

function tool(name, args, good = true) {
    const run = spawnSync(join(here, `node_modules/@foundry-rs/${name}-linux-amd64/bin/${name}`), args, { cwd: project, encoding: 'utf8', timeout: 120000, env: { ...process.env, NO_COLOR: '1' } });
    const said = `${name} ${args.join(' ')}: ${run.status}\n${run.stdout}\n${run.stderr}`;
    assert.equal(run.status === 0, good, said);
    return good ? run.stdout.trim() : said;
}
const cast = (...args) => tool('cast', [...args, '--rpc-url', http]);
const refused = (...args) => tool('cast', [...args, '--rpc-url', http], false);

describe('forge and cast', () => {
    let key;
    let own;
    let counter;
    const free = ['--gas-price', '0', '--priority-gas-price', '0'];
    const compiler = join(project, 'solc.mjs');

    before(async () => {
        chmodSync(compiler, 0o755);
        key = await freshKey((one) => new Wallet(one).address);
        own = new Wallet(key).address;
        const made = JSON.parse(tool('forge', ['create', 'src/Counter.sol:Counter', '--use', compiler, '--rpc-url', http, '--private-key', key, '--broadcast', '--json', ...free, '--constructor-args', '7']).replace(/^[^{]*/, ''));
        counter = made.deployedTo;
        assert.equal(made.deployer, own);
    });

    test('cast reads', () => {
        assert.equal(cast('chain-id'), String(chainId));
        assert.equal(cast('call', counter, 'number()(uint256)'), '7');
        assert.equal(BigInt(cast('storage', counter, '0')), 7n);
        assert.ok(cast('code', counter).length > 100);
        assert.ok(Number(cast('block-number')) >= 1);
        assert.equal(cast('nonce', own), '1');
        assert.equal(cast('gas-price'), '0');
        assert.ok(Number(cast('estimate', counter, 'add(uint256)', '1', '--from', own)) > 21000);
    });

    test('cast sends, with every type of transaction', () => {
        let expected = BigInt(cast('call', counter, 'number()(uint256)'));
        for (const [type, options] of [['0x0', ['--legacy', '--gas-price', '0']], ['0x2', free]]) {
            const receipt = JSON.parse(cast('send', counter, 'add(uint256)', '3', '--private-key', key, '--json', ...options));
            assert.equal(receipt.status, '0x1');
            assert.equal(receipt.type, type);
            expected += 3n;
            assert.equal(BigInt(cast('call', counter, 'number()(uint256)')), expected);
            const told = JSON.parse(cast('receipt', receipt.transactionHash, '--json'));
            assert.deepEqual(told.logs, receipt.logs);
            assert.equal(cast('tx', receipt.transactionHash, 'from').toLowerCase(), own.toLowerCase());
            const logs = JSON.parse(cast('logs', '--from-block', String(Number(receipt.blockNumber)), '--to-block', String(Number(receipt.blockNumber)), '--address', counter, 'Counted(address indexed,uint256)', '--json'));
            assert.equal(logs.length, 1);
            assert.equal(logs[0].transactionHash, receipt.transactionHash);
            const block = JSON.parse(cast('block', String(Number(receipt.blockNumber)), '--json'));
            assert.ok(block.transactions.includes(receipt.transactionHash));
            assert.equal(BigInt(cast('call', counter, 'number()(uint256)', '--block', String(Number(receipt.blockNumber) - 1))), expected - 3n);
        }
    });

    test('cast shows reasons', () => {
        assert.match(refused('call', counter, 'add(uint256)', '0'), /nothing to add/);
        assert.match(refused('send', counter, 'add(uint256)', '0', '--private-key', key, ...free), /nothing to add/);
    });

    test('cast traces a committed transaction by the node\'s tracer', () => {
        const receipt = JSON.parse(cast('send', counter, 'add(uint256)', '1', '--private-key', key, '--json', ...free));
        const trace = JSON.parse(cast('rpc', 'debug_traceTransaction', receipt.transactionHash, '{"tracer":"callTracer"}'));
        assert.equal(trace.to.toLowerCase(), counter.toLowerCase());
        assert.match(cast('run', receipt.transactionHash, '--quick'), /add\(|Transaction successfully executed|771602f7|1003e2d2/);
    });

    test('forge script deploys and calls', () => {
        const said = tool('forge', ['script', 'script/Deploy.s.sol:Deploy', '--use', compiler, '--rpc-url', http, '--private-key', key, '--broadcast', '--slow', '--with-gas-price', '0', '--legacy']);
        assert.match(said, /ONCHAIN EXECUTION COMPLETE & SUCCESSFUL/);
        const address = said.match(/made: address (0x[0-9a-fA-F]{40})/)[1];
        assert.equal(cast('call', address, 'number()(uint256)'), '111');
    });
});
