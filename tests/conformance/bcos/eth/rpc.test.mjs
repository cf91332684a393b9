// The JSON-RPC itself, without a client in between: shapes, lookups, filters, traces, batches, and bad input.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { AbiCoder, Interface, Transaction, Wallet, getCreateAddress, id as topicOf, keccak256, toBeHex, zeroPadValue } from 'ethers';
import { ask, chainId, contracts, eventually, freshKey, http, onlyHere, post, receiptOf, reference, refusal, rpc } from './support.mjs';

const quantity = /^0x(0|[1-9a-f][0-9a-f]*)$/;
const word = /^0x[0-9a-f]{64}$/;
const address = /^0x[0-9a-fA-F]{40}$/;
const { Probe } = contracts();
const face = new Interface(Probe.abi);
const hex = (number) => `0x${BigInt(number).toString(16)}`;

let wallet;
let nonce = 0;
let probe;

const common = () => ({ chainId, nonce: nonce++, gasLimit: 5000000, value: 0 });
async function sendRaw(fields) {
    const raw = await wallet.signTransaction({ type: 0, gasPrice: 0, ...common(), ...fields });
    const hash = await rpc('eth_sendRawTransaction', raw);
    assert.equal(hash, Transaction.from(raw).hash);
    return { raw, hash };
}
async function run(method, args = [], fields = {}) {
    const { hash } = await sendRaw({ to: probe, data: face.encodeFunctionData(method, args), ...fields });
    return receiptOf(hash);
}
const call = (method, args = [], tag = 'latest') => rpc('eth_call', { to: probe, from: wallet.address, data: face.encodeFunctionData(method, args) }, tag);
const value = async (tag) => BigInt(await call('value', [], tag));

describe('Ethereum JSON-RPC', () => {
    before(async () => {
        wallet = new Wallet(await freshKey((key) => new Wallet(key).address));
        const { hash } = await sendRaw({ data: Probe.bytecode + AbiCoder.defaultAbiCoder().encode(['uint256'], [7]).slice(2) });
        const receipt = await receiptOf(hash);
        assert.equal(receipt.status, '0x1');
        probe = receipt.contractAddress;
    });

    test('names of the chain and the node', async () => {
        assert.equal(await rpc('eth_chainId'), hex(chainId));
        assert.equal(await rpc('net_version'), String(chainId));
        assert.equal(await rpc('net_listening'), true);
        assert.match(await rpc('web3_clientVersion'), /.+\/.+/);
        assert.equal(await rpc('web3_sha3', '0x68656c6c6f20776f726c64'), '0x47173285a8d7341e5e972fc677286384f802f8ef42a5ec5f03bbfa254cb01fad');
        assert.equal(await rpc('eth_syncing'), false);
        assert.match(await rpc('eth_blockNumber'), quantity);
        assert.ok(Array.isArray(await rpc('eth_accounts')));
    });

    test('this chain keeps no accounts and proves no state, and says so', onlyHere, async () => {
        assert.deepEqual(await rpc('eth_accounts'), []);
        assert.match((await refusal('eth_sendTransaction', { from: wallet.address, to: probe })).message, /account|sign/i);
        assert.match((await refusal('eth_getProof', probe, [], 'latest')).message, /proof/i);
        assert.equal(await rpc('eth_getBalance', wallet.address, 'latest'), '0x0');
    });

    test('a deployment has the address of the Ethereum rule, its code and its storage', async () => {
        assert.equal(probe.toLowerCase(), getCreateAddress({ from: wallet.address, nonce: 0 }).toLowerCase());
        assert.equal(await rpc('eth_getCode', probe, 'latest'), Probe.deployed);
        assert.equal(await rpc('eth_getCode', wallet.address, 'latest'), '0x');
        assert.equal(await rpc('eth_getStorageAt', probe, '0x0', 'latest'), zeroPadValue('0x07', 32));
        assert.equal(await rpc('eth_getStorageAt', probe, zeroPadValue('0x00', 32), 'latest'), zeroPadValue('0x07', 32));
        assert.equal(await rpc('eth_getStorageAt', probe, '0x77', 'latest'), zeroPadValue('0x00', 32));
        assert.equal(BigInt(await rpc('eth_getTransactionCount', probe, 'latest')), 1n);
    });

    test('a receipt has every member with its type', async () => {
        const receipt = await run('set', [41, 'receipt']);
        assert.match(receipt.transactionHash, word);
        assert.match(receipt.blockHash, word);
        for (const name of ['transactionIndex', 'blockNumber', 'gasUsed', 'cumulativeGasUsed', 'effectiveGasPrice', 'type', 'status']) {
            assert.match(receipt[name], quantity, name);
        }
        assert.equal(receipt.status, '0x1');
        assert.equal(receipt.type, '0x0');
        assert.equal(receipt.contractAddress, null);
        assert.equal(receipt.from.toLowerCase(), wallet.address.toLowerCase());
        assert.equal(receipt.to.toLowerCase(), probe.toLowerCase());
        assert.match(receipt.logsBloom, /^0x[0-9a-f]{512}$/);
        assert.notEqual(BigInt(receipt.logsBloom), 0n);
        assert.ok(BigInt(receipt.gasUsed) > 0n && BigInt(receipt.cumulativeGasUsed) >= BigInt(receipt.gasUsed));
        assert.equal(receipt.logs.length, 1);
        const [log] = receipt.logs;
        assert.deepEqual(Object.keys(log).filter((name) => name !== 'blockTimestamp').sort(), ['address', 'blockHash', 'blockNumber', 'data', 'logIndex', 'removed', 'topics', 'transactionHash', 'transactionIndex']);
        assert.equal(log.address.toLowerCase(), probe.toLowerCase());
        assert.equal(log.removed, false);
        assert.equal(log.topics[0], topicOf('Changed(address,uint256,string)'));
        assert.equal(log.topics[2], zeroPadValue(toBeHex(41), 32));
        assert.equal(log.blockHash, receipt.blockHash);
        assert.match(log.logIndex, quantity);
        assert.equal(await rpc('eth_getTransactionReceipt', keccak256('0x01')), null);
    });

    test('a transaction is the same by hash and by place, and its bytes come back', async () => {
        const { raw, hash } = await sendRaw({ to: probe, data: face.encodeFunctionData('set', [42, 'lookup']), gasLimit: 1234567 });
        const receipt = await receiptOf(hash);
        const found = await rpc('eth_getTransactionByHash', hash);
        assert.equal(found.hash, hash);
        assert.equal(found.blockHash, receipt.blockHash);
        assert.equal(BigInt(found.gas), 1234567n);
        assert.equal(BigInt(found.nonce), BigInt(nonce - 1));
        assert.equal(found.value, '0x0');
        assert.equal(found.gasPrice, '0x0');
        assert.equal(BigInt(found.chainId), BigInt(chainId));
        assert.equal(found.from.toLowerCase(), wallet.address.toLowerCase());
        const signed = Transaction.from(raw);
        assert.equal(BigInt(found.r), BigInt(signed.signature.r));
        assert.equal(BigInt(found.s), BigInt(signed.signature.s));
        assert.equal(BigInt(found.v), signed.signature.networkV);
        assert.deepEqual(await rpc('eth_getTransactionByBlockHashAndIndex', receipt.blockHash, receipt.transactionIndex), found);
        assert.deepEqual(await rpc('eth_getTransactionByBlockNumberAndIndex', receipt.blockNumber, receipt.transactionIndex), found);
        assert.equal(await rpc('eth_getTransactionByBlockHashAndIndex', receipt.blockHash, '0x7777'), null);
        assert.equal(await rpc('eth_getTransactionByHash', keccak256('0x01')), null);
        assert.equal(await rpc('eth_getRawTransactionByHash', hash), raw);
    });

    test('every type of transaction is executed and told with its own members', async () => {
        const accessList = [{ address: probe, storageKeys: [zeroPadValue('0x00', 32), zeroPadValue('0x02', 32)] }];
        const data = face.encodeFunctionData('set', [1, 'types']);
        for (const [type, fields] of [
            [0, { type: 0, gasPrice: 0 }],
            [1, { type: 1, gasPrice: 0, accessList }],
            [2, { type: 2, gasPrice: undefined, maxFeePerGas: 0, maxPriorityFeePerGas: 0, accessList }],
            [2, { type: 2, gasPrice: undefined, maxFeePerGas: 0, maxPriorityFeePerGas: 0 }],
        ]) {
            const { hash } = await sendRaw({ to: probe, data, ...fields });
            const receipt = await receiptOf(hash);
            assert.equal(receipt.status, '0x1', `type ${type}`);
            assert.equal(receipt.type, hex(type));
            const found = await rpc('eth_getTransactionByHash', hash);
            assert.equal(found.type, hex(type));
            assert.equal(BigInt(found.chainId), BigInt(chainId));
            if (type > 0) {
                const list = found.accessList.map((item) => ({ address: item.address.toLowerCase(), storageKeys: item.storageKeys }));
                const sent = (fields.accessList ?? []).map((item) => ({ ...item, address: item.address.toLowerCase() }));
                assert.deepEqual(list, sent);
                assert.match(found.yParity, /^0x[01]$/);
                assert.equal(found.v, found.yParity);
            }
            if (type === 2) {
                assert.equal(found.maxFeePerGas, '0x0');
                assert.equal(found.maxPriorityFeePerGas, '0x0');
            }
        }
        // Before EIP-155 a signature named no chain.
        const old = Transaction.from({ type: 0, nonce: nonce++, gasLimit: 500000, gasPrice: 0, to: probe, data, value: 0, chainId: 0 });
        old.signature = wallet.signingKey.sign(old.unsignedHash);
        const answer = await ask('eth_sendRawTransaction', old.serialized);
        if (answer.error) {
            assert.match(answer.error.message, /chain|replay|protected/i);
            nonce--;
        } else {
            assert.equal((await receiptOf(answer.result)).status, '0x1');
        }
    });

    test('a block is the same by number and by hash, with hashes or with transactions', async () => {
        const receipt = await run('set', [2, 'block']);
        const block = await rpc('eth_getBlockByNumber', receipt.blockNumber, false);
        assert.deepEqual(await rpc('eth_getBlockByHash', receipt.blockHash, false), block);
        for (const name of ['number', 'gasLimit', 'gasUsed', 'timestamp', 'size', 'baseFeePerGas', 'difficulty']) assert.match(block[name], quantity, name);
        for (const name of ['hash', 'parentHash', 'transactionsRoot', 'stateRoot', 'receiptsRoot', 'sha3Uncles', 'mixHash']) assert.match(block[name], word, name);
        assert.match(block.miner, address);
        assert.match(block.nonce, /^0x[0-9a-f]{16}$/);
        assert.deepEqual(block.uncles, []);
        assert.ok(Math.abs(Number(block.timestamp) - Date.now() / 1000) < 3600, 'the time stamp is in seconds');
        assert.equal(block.transactions[Number(receipt.transactionIndex)], receipt.transactionHash);
        const full = await rpc('eth_getBlockByNumber', receipt.blockNumber, true);
        assert.deepEqual(full.transactions[Number(receipt.transactionIndex)], await rpc('eth_getTransactionByHash', receipt.transactionHash));
        assert.equal(await rpc('eth_getBlockTransactionCountByNumber', receipt.blockNumber), hex(block.transactions.length));
        assert.equal(await rpc('eth_getBlockTransactionCountByHash', receipt.blockHash), hex(block.transactions.length));
        assert.equal(await rpc('eth_getUncleCountByBlockNumber', receipt.blockNumber), '0x0');
        const parent = await rpc('eth_getBlockByNumber', hex(BigInt(receipt.blockNumber) - 1n), false);
        assert.equal(parent.hash, block.parentHash);
        const bloomed = receipt.logsBloom;
        assert.equal(BigInt(block.logsBloom) & BigInt(bloomed), BigInt(bloomed));
        assert.equal(await rpc('eth_getBlockByNumber', '0xfffffff', false), null);
        assert.equal(await rpc('eth_getBlockByHash', keccak256('0x01'), false), null);
    });

    test('tags name blocks', async () => {
        const latest = await rpc('eth_getBlockByNumber', 'latest', false);
        assert.equal((await rpc('eth_getBlockByNumber', 'earliest', false)).number, '0x0');
        for (const tag of ['safe', 'finalized']) assert.ok(BigInt((await rpc('eth_getBlockByNumber', tag, false)).number) <= BigInt(latest.number));
        assert.ok(await rpc('eth_getBlockByNumber', 'pending', false));
    });

    test('the receipts of a block come together', async () => {
        const receipt = await run('set', [3, 'receipts']);
        const all = await rpc('eth_getBlockReceipts', receipt.blockNumber);
        assert.deepEqual(all[Number(receipt.transactionIndex)], receipt);
        assert.deepEqual(await rpc('eth_getBlockReceipts', receipt.blockHash), all);
        const count = Number(await rpc('eth_getBlockTransactionCountByNumber', receipt.blockNumber));
        assert.equal(all.length, count);
    });

    test('state of past blocks can be read', async () => {
        const first = await run('set', [100, 'then']);
        const second = await run('set', [200, 'now']);
        assert.ok(BigInt(second.blockNumber) > BigInt(first.blockNumber));
        assert.equal(await value(first.blockNumber), 100n);
        assert.equal(await value('latest'), 200n);
        assert.equal(await value({ blockNumber: first.blockNumber }), 100n);
        assert.equal(await value({ blockHash: first.blockHash }), 100n);
        assert.equal(BigInt(await rpc('eth_getStorageAt', probe, '0x0', first.blockNumber)), 100n);
        const before = BigInt(await rpc('eth_getTransactionCount', wallet.address, first.blockNumber));
        const after = BigInt(await rpc('eth_getTransactionCount', wallet.address, second.blockNumber));
        assert.equal(after, before + 1n);
        assert.equal(after, BigInt(nonce));
        assert.equal(await rpc('eth_getCode', probe, '0x0'), '0x');
        const environment = face.decodeFunctionResult('environment', await call('environment', [], first.blockNumber));
        assert.equal(environment.chain, BigInt(chainId));
        assert.equal(environment.sender, wallet.address);
        await refusal('eth_call', { to: probe, data: '0x' }, '0xfffffff');
        await refusal('eth_getStorageAt', probe, '0x0', '0xfffffff');
    });

    test('a call changes nothing', async () => {
        await run('set', [5, 'before']);
        assert.equal(BigInt(await call('set', [6, 'call'])), 5n);
        assert.equal(await value('latest'), 5n);
    });

    const panics = [['failAssert', [], 0x01], ['failDivide', [0], 0x12], ['failArray', [9], 0x32]];
    test('the reasons of failed calls and estimates arrive as code 3 with the bytes', async () => {
        const tx = (method, args) => ({ from: wallet.address, to: probe, data: face.encodeFunctionData(method, args) });
        for (const ask of ['eth_call', 'eth_estimateGas']) {
            const text = await refusal(ask, tx('failText', []));
            assert.equal(text.code, 3, ask);
            assert.match(text.message, /execution reverted.*told you so/);
            assert.equal(text.data, `0x08c379a0${AbiCoder.defaultAbiCoder().encode(['string'], ['told you so']).slice(2)}`);
            const custom = await refusal(ask, tx('failCustom', [11]));
            assert.equal(custom.code, 3);
            assert.equal(custom.data, face.encodeErrorResult('TooLarge', [11, 10]));
            for (const [method, args, code] of panics) {
                const panic = await refusal(ask, tx(method, args));
                assert.equal(panic.code, 3);
                assert.equal(panic.data, `0x4e487b71${AbiCoder.defaultAbiCoder().encode(['uint256'], [code]).slice(2)}`);
            }
            const bare = await refusal(ask, tx('failBare', []));
            assert.equal(bare.code, 3);
            assert.match(bare.message, /execution reverted/);
            assert.ok(!bare.data || bare.data === '0x');
            await refusal(ask, tx('failInvalid', []));
            assert.match((await refusal(ask, tx('failDeep', [probe]))).message, /told you so/);
        }
        const create = { from: wallet.address, data: Probe.bytecode + AbiCoder.defaultAbiCoder().encode(['uint256'], [13]).slice(2) };
        assert.match((await refusal('eth_estimateGas', create)).message, /not thirteen/);
        assert.match((await refusal('eth_call', create)).message, /not thirteen/);
    });

    test('failed transactions are in their block with status 0 and leave no trace', async () => {
        await run('set', [8, 'kept']);
        for (const [method, args] of [['failText', []], ['failCustom', [11]], ['failBare', []], ['failInvalid', []], ['failDeep', [probe]], ...panics]) {
            const receipt = await run(method, args);
            assert.equal(receipt.status, '0x0', method);
            assert.deepEqual(receipt.logs, []);
            assert.ok(BigInt(receipt.gasUsed) > 0n);
        }
        assert.equal(await value('latest'), 8n);
        const failing = Probe.bytecode + AbiCoder.defaultAbiCoder().encode(['uint256'], [13]).slice(2);
        const { hash } = await sendRaw({ data: failing });
        const receipt = await receiptOf(hash);
        assert.equal(receipt.status, '0x0');
        assert.equal(await rpc('eth_getTransactionCount', wallet.address, 'latest'), hex(nonce));
        assert.equal(await rpc('eth_getCode', getCreateAddress({ from: wallet.address, nonce: nonce - 1 }), 'latest'), '0x');
    });

    test('an estimate is enough gas', async () => {
        const data = face.encodeFunctionData('count', [20]);
        const gas = await rpc('eth_estimateGas', { from: wallet.address, to: probe, data });
        assert.match(gas, quantity);
        const receipt = await run('count', [20], { gasLimit: gas });
        assert.equal(receipt.status, '0x1');
        assert.ok(BigInt(receipt.gasUsed) <= BigInt(gas));
        assert.equal(receipt.logs.length, 20);
    });

    test('fees are nothing and told in every way clients ask', async () => {
        assert.equal(await rpc('eth_gasPrice'), '0x0');
        assert.match(await rpc('eth_maxPriorityFeePerGas'), quantity);
        const newest = BigInt(await rpc('eth_blockNumber'));
        const history = await rpc('eth_feeHistory', '0x3', 'latest', [25, 75]);
        assert.equal(BigInt(history.oldestBlock), newest - 2n);
        assert.equal(history.baseFeePerGas.length, 4);
        assert.equal(history.gasUsedRatio.length, 3);
        assert.equal(history.reward.length, 3);
        assert.ok(history.reward.every((row) => row.length === 2 && row.every((fee) => quantity.test(fee))));
        assert.ok(history.gasUsedRatio.every((ratio) => typeof ratio === 'number' && ratio >= 0 && ratio <= 1));
        assert.equal((await rpc('eth_feeHistory', 2, hex(newest - 1n), [])).gasUsedRatio.length, 2);
    });

    test('an access list names the slots that are touched', async () => {
        const list = await rpc('eth_createAccessList', { from: wallet.address, to: probe, data: face.encodeFunctionData('set', [1, 'x']) }, 'latest');
        assert.match(list.gasUsed, quantity);
        const item = list.accessList.find((one) => one.address.toLowerCase() === probe.toLowerCase());
        assert.ok(item.storageKeys.includes(zeroPadValue('0x00', 32)));
        assert.ok(item.storageKeys.includes(zeroPadValue('0x02', 32)));
    });

    test('logs are found by address, topic, alternatives, place and block', async () => {
        const first = await run('set', [501, 'a']);
        const second = await run('set', [502, 'b']);
        const third = await run('count', [3]);
        const range = { fromBlock: first.blockNumber, toBlock: third.blockNumber };
        const changed = topicOf('Changed(address,uint256,string)');
        const hashes = (logs) => logs.map((log) => log.transactionHash);
        const own = await rpc('eth_getLogs', { ...range, address: probe });
        assert.deepEqual(own, [...first.logs, ...second.logs, ...third.logs]);
        assert.deepEqual(hashes(await rpc('eth_getLogs', { ...range, address: [probe, wallet.address], topics: [changed] })), [first.transactionHash, second.transactionHash]);
        assert.deepEqual(hashes(await rpc('eth_getLogs', { ...range, topics: [null, null, zeroPadValue(toBeHex(502), 32)], address: probe })), [second.transactionHash]);
        const either = [null, [zeroPadValue(toBeHex(1), 32), zeroPadValue(toBeHex(2), 32)]];
        assert.equal((await rpc('eth_getLogs', { ...range, address: probe, topics: either })).length, 2);
        assert.deepEqual(await rpc('eth_getLogs', { blockHash: second.blockHash, address: probe }), second.logs);
        assert.deepEqual(await rpc('eth_getLogs', { ...range, address: wallet.address }), []);
        assert.deepEqual(third.logs.map((log) => BigInt(log.logIndex) - BigInt(third.logs[0].logIndex)), [0n, 1n, 2n]);
        await refusal('eth_getLogs', { blockHash: second.blockHash, fromBlock: first.blockNumber });
        if (!reference) await refusal('eth_getLogs', { fromBlock: third.blockNumber, toBlock: first.blockNumber });
    });

    test('filters tell what is new, once', async () => {
        const [logs, blocks, pending] = [
            await rpc('eth_newFilter', { address: probe, topics: [topicOf('Changed(address,uint256,string)')] }),
            await rpc('eth_newBlockFilter'),
            await rpc('eth_newPendingTransactionFilter'),
        ];
        for (const filter of [logs, blocks, pending]) assert.match(filter, /^0x[0-9a-f]+$/);
        const receipt = await run('set', [9, 'filtered']);
        await run('count', [1]);
        const gather = async (filter, enough) => {
            const found = [];
            await eventually('filter changes', async () => {
                found.push(...(await rpc('eth_getFilterChanges', filter)));
                return enough(found);
            });
            return found;
        };
        assert.deepEqual(await gather(logs, (found) => found.length >= 1), receipt.logs);
        assert.ok((await gather(blocks, (found) => found.length >= 2)).includes(receipt.blockHash));
        assert.ok((await gather(pending, (found) => found.length >= 2)).includes(receipt.transactionHash));
        assert.deepEqual(await rpc('eth_getFilterChanges', logs), []);
        assert.deepEqual(await rpc('eth_getFilterLogs', await rpc('eth_newFilter', { fromBlock: receipt.blockNumber, toBlock: receipt.blockNumber, address: probe })), receipt.logs);
        assert.equal(await rpc('eth_uninstallFilter', logs), true);
        assert.equal(await rpc('eth_uninstallFilter', logs), false);
        if (!reference) await refusal('eth_getFilterChanges', logs);
    });

    test('the call tracer tells the calls inside a transaction', async () => {
        const receipt = await run('failCaught', [probe]);
        const trace = await rpc('debug_traceTransaction', receipt.transactionHash, { tracer: 'callTracer' });
        assert.equal(trace.type, 'CALL');
        assert.equal(trace.from.toLowerCase(), wallet.address.toLowerCase());
        assert.equal(trace.to.toLowerCase(), probe.toLowerCase());
        assert.equal(trace.input, face.encodeFunctionData('failCaught', [probe]));
        assert.match(trace.gasUsed, quantity);
        assert.equal(trace.error, undefined);
        assert.equal(trace.calls.length, 1);
        assert.equal(trace.calls[0].input, face.encodeFunctionData('failText', []));
        assert.equal(trace.calls[0].revertReason, 'told you so');
        assert.match(trace.calls[0].error, /execution reverted/);
        const failed = await run('failDeep', [probe]);
        const other = await rpc('debug_traceTransaction', failed.transactionHash, { tracer: 'callTracer' });
        assert.match(other.error, /execution reverted/);
        assert.equal(other.calls.length, 1);
        const created = await run('create', [3]);
        const creation = await rpc('debug_traceTransaction', created.transactionHash, { tracer: 'callTracer' });
        assert.equal(creation.calls[0].type, 'CREATE');
    });

    test('the struct tracer tells every step', async () => {
        const receipt = await run('set', [77, 'steps']);
        const trace = await rpc('debug_traceTransaction', receipt.transactionHash, {});
        assert.equal(trace.failed, false);
        assert.ok(trace.gas > 0);
        assert.equal(BigInt(`0x${trace.returnValue.replace(/^0x/, '') || '0'}`), BigInt(await value(hex(BigInt(receipt.blockNumber) - 1n))));
        assert.ok(trace.structLogs.length > 50);
        for (const step of trace.structLogs) {
            assert.equal(typeof step.pc, 'number');
            assert.equal(typeof step.op, 'string');
            assert.equal(typeof step.gas, 'number');
            assert.equal(typeof step.gasCost, 'number');
            assert.equal(step.depth, 1);
            assert.ok(Array.isArray(step.stack));
        }
        assert.ok(trace.structLogs.some((step) => step.op === 'SSTORE'));
        assert.match(trace.structLogs.at(-1).op, /^(RETURN|STOP)$/);
        const slim = await rpc('debug_traceTransaction', receipt.transactionHash, { disableStack: true, disableStorage: true });
        assert.ok(slim.structLogs.every((step) => step.stack === undefined || step.stack === null));
        const failed = await run('failText');
        assert.equal((await rpc('debug_traceTransaction', failed.transactionHash, {})).failed, true);
    });

    test('a call can be traced before it is sent', async () => {
        const tx = { from: wallet.address, to: probe, data: face.encodeFunctionData('failCaught', [probe]) };
        const trace = await rpc('debug_traceCall', tx, 'latest', { tracer: 'callTracer' });
        assert.equal(trace.calls[0].revertReason, 'told you so');
        const steps = await rpc('debug_traceCall', tx, 'latest', {});
        assert.ok(steps.structLogs.length > 50);
    });

    test('contracts create contracts at the addresses of the rules', async () => {
        const count = BigInt(await rpc('eth_getTransactionCount', probe, 'latest'));
        const receipt = await run('create', [21]);
        const child = face.parseLog(receipt.logs[0]).args.child;
        assert.equal(child, getCreateAddress({ from: probe, nonce: count }));
        assert.equal(BigInt(await rpc('eth_getStorageAt', child, '0x0', 'latest')), 21n);
        const salt = keccak256('0x55');
        const predicted = face.decodeFunctionResult('createAt', await call('createAt', [salt, 22]))[0];
        const second = await run('createAt', [salt, 22]);
        assert.equal(face.parseLog(second.logs[0]).args.child, predicted);
        assert.equal((await run('createAt', [salt, 22])).status, '0x0', 'the same salt again');
    });

    test('the machine has Cancun, the precompiled contracts and the block\'s surroundings', async () => {
        const [kept, copied] = face.decodeFunctionResult('cancun', await call('cancun', [123]));
        assert.equal(kept, 123n);
        assert.equal(BigInt(copied), 123n);
        const [sha, ripe, same] = face.decodeFunctionResult('precompiles', await call('precompiles', ['0x616263']));
        assert.equal(sha, '0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
        assert.equal(ripe, '0x8eb208f7e05d987a9b044a8e98c6b087f15a0bfc');
        assert.equal(same, '0x616263');
        const signature = wallet.signingKey.sign(keccak256('0x07'));
        assert.equal(face.decodeFunctionResult('recover', await call('recover', [keccak256('0x07'), signature.v, signature.r, signature.s]))[0], wallet.address);
        const block = await rpc('eth_getBlockByNumber', 'latest', false);
        const parent = hex(BigInt(block.number) - 1n);
        const seen = await call('blockHashOf', [BigInt(parent)]);
        assert.equal(seen, block.parentHash);
    });

    test('nonces: the next one, pending included; used ones are refused', async () => {
        assert.equal(BigInt(await rpc('eth_getTransactionCount', wallet.address, 'latest')), BigInt(nonce));
        const raws = [];
        for (let at = 0; at < 5; ++at) raws.push(await wallet.signTransaction({ type: 0, gasPrice: 0, ...common(), to: probe, data: face.encodeFunctionData('set', [at, 'row']) }));
        const hashes = [];
        for (const raw of raws) hashes.push(await rpc('eth_sendRawTransaction', raw));
        assert.equal(BigInt(await rpc('eth_getTransactionCount', wallet.address, 'pending')), BigInt(nonce));
        for (const hash of hashes) assert.equal((await receiptOf(hash)).status, '0x1');
        assert.equal(await value('latest'), 4n);
        assert.equal(BigInt(await rpc('eth_getTransactionCount', wallet.address, 'latest')), BigInt(nonce));
        const used = await wallet.signTransaction({ type: 0, gasPrice: 0, ...common(), nonce: nonce - 3, to: probe, data: '0x' });
        nonce--;
        assert.match((await refusal('eth_sendRawTransaction', used)).message, /nonce too low/);
    });

    test('transactions that arrive in the wrong order are executed in the right one', async () => {
        const raws = [];
        for (let at = 0; at < 4; ++at) raws.push(await wallet.signTransaction({ type: 0, gasPrice: 0, ...common(), to: probe, data: face.encodeFunctionData('set', [900 + at, 'order']) }));
        const hashes = [];
        for (const raw of raws.reverse()) hashes.push(await rpc('eth_sendRawTransaction', raw));
        for (const hash of hashes) assert.equal((await receiptOf(hash)).status, '0x1');
        assert.equal(await value('latest'), 903n);
    });

    test('a batch is answered member by member', async () => {
        const answers = await post([
            { jsonrpc: '2.0', id: 1, method: 'eth_chainId', params: [] },
            { jsonrpc: '2.0', id: 'two', method: 'eth_nothing', params: [] },
            { jsonrpc: '2.0', id: 3, method: 'eth_getCode', params: [probe, 'latest'] },
        ]);
        assert.equal(answers.length, 3);
        const by = Object.fromEntries(answers.map((answer) => [answer.id, answer]));
        assert.equal(by[1].result, hex(chainId));
        assert.equal(by.two.error.code, -32601);
        assert.equal(by[3].result, Probe.deployed);
    });

    test('bad input is refused and the node goes on', async () => {
        assert.equal((await refusal('eth_nothing')).code, -32601);
        const invalid = [
            ['eth_getBlockByNumber', 'nonsense', false],
            ['eth_getTransactionByHash', '0x12'],
            ['eth_getCode', '0x1234', 'latest'],
            ['eth_call', 'text', 'latest'],
            ['eth_sendRawTransaction', '0x'],
            ['eth_sendRawTransaction', '0x02f8'],
            ['eth_sendRawTransaction', 'hello'],
            ['eth_sendRawTransaction', `0x${'00'.repeat(2000)}`],
            ['eth_getLogs', { topics: 'x' }],
        ];
        for (const [method, ...params] of invalid) assert.ok(Number.isInteger((await refusal(method, ...params)).code), method);
        const alien = await wallet.signTransaction({ type: 2, chainId: chainId + 1, nonce, gasLimit: 100000, to: probe, maxFeePerGas: 0, maxPriorityFeePerGas: 0 });
        assert.match((await refusal('eth_sendRawTransaction', alien)).message, /chain/i);
        const broken = await fetch(http, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"jsonrpc":' });
        assert.ok(broken.status < 500);
        assert.match(await broken.text(), /-32700|parse|EOF|JSON/i);
        assert.equal(await rpc('eth_chainId'), hex(chainId));
    });
});
