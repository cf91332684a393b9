// viem: public and wallet clients over HTTP and WebSocket.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, getContract, http as overHttp, parseEventLogs, webSocket } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { chainId, contracts, eventually, freshKey, http, reference, ws } from './support.mjs';

const { Probe } = contracts();
// A reference node asks for a tip that its own price does not cover.
const free = reference ? { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n } : {};
const chain = defineChain({ id: chainId, name: 'here', nativeCurrency: { name: 'none', symbol: 'NONE', decimals: 18 }, rpcUrls: { default: { http: [http], webSocket: [ws] } } });

describe('viem', () => {
    const reader = createPublicClient({ chain, transport: overHttp(http, { retryCount: 0 }), pollingInterval: 50, cacheTime: 0 });
    let account;
    let writer;
    let address;
    let probe;
    const mined = (hash) => reader.waitForTransactionReceipt({ hash, pollingInterval: 50, timeout: 20000 });

    before(async () => {
        account = privateKeyToAccount(await freshKey((key) => privateKeyToAccount(key).address));
        writer = createWalletClient({ account, chain, transport: overHttp(http, { retryCount: 0 }) });
        const receipt = await mined(await writer.deployContract({ abi: Probe.abi, bytecode: Probe.bytecode, args: [7n], ...free }));
        assert.equal(receipt.status, 'success');
        address = receipt.contractAddress;
        probe = getContract({ address, abi: Probe.abi, client: { public: reader, wallet: writer } });
    });

    test('deploy, read, simulate, write', async () => {
        assert.equal(await reader.getChainId(), chainId);
        assert.equal(await probe.read.value(), 7n);
        const { result, request } = await reader.simulateContract({ address, abi: Probe.abi, functionName: 'set', args: [8n, 'viem'], account });
        assert.equal(result, 7n);
        const receipt = await mined(await writer.writeContract({ ...request, ...free }));
        assert.equal(receipt.status, 'success');
        assert.equal(receipt.type, 'eip1559');
        const [event] = parseEventLogs({ abi: Probe.abi, logs: receipt.logs });
        assert.equal(event.eventName, 'Changed');
        assert.deepEqual(event.args, { by: account.address, value: 8n, note: 'viem' });
        assert.equal(await probe.read.value(), 8n);
        assert.ok(await probe.estimateGas.set([9n, ''], { account, ...free }) > 0n);
    });

    test('reasons: text, own error, panic', async () => {
        const failure = async (functionName, args = []) => {
            for (const attempt of [
                () => reader.simulateContract({ address, abi: Probe.abi, functionName, args, account }),
                () => writer.writeContract({ address, abi: Probe.abi, functionName, args, ...free }),
            ]) {
                await assert.rejects(attempt, (error) => error instanceof BaseError);
            }
            try {
                await reader.simulateContract({ address, abi: Probe.abi, functionName, args, account });
            } catch (error) {
                return error.walk((inner) => inner instanceof ContractFunctionRevertedError);
            }
            return assert.fail(functionName);
        };
        assert.equal((await failure('failText')).reason, 'told you so');
        const own = await failure('failCustom', [11n]);
        assert.equal(own.data.errorName, 'TooLarge');
        assert.deepEqual(own.data.args, [11n, 10n]);
        const panic = await failure('failDivide', [0n]);
        assert.equal(panic.data.errorName, 'Panic');
        assert.deepEqual(panic.data.args, [18n]);
    });

    test('a failed transaction has the status reverted', async () => {
        const hash = await writer.writeContract({ address, abi: Probe.abi, functionName: 'failText', gas: 500000n, ...free });
        assert.equal((await mined(hash)).status, 'reverted');
    });

    test('all types of transaction', async () => {
        const accessList = [{ address, storageKeys: [`0x${'00'.repeat(32)}`] }];
        for (const [type, fields] of [['legacy', { gasPrice: 0n }], ['eip2930', { gasPrice: 0n, accessList }], ['eip1559', { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n, accessList }]]) {
            const hash = await writer.writeContract({ address, abi: Probe.abi, functionName: 'set', args: [1n, type], type, ...fields });
            const receipt = await mined(hash);
            assert.equal(receipt.type, type);
            const found = await reader.getTransaction({ hash });
            assert.equal(found.type, type);
            assert.equal(found.from.toLowerCase(), account.address.toLowerCase());
            assert.equal(found.blockHash, receipt.blockHash);
        }
    });

    test('blocks, transactions, storage, code, proof of the past', async () => {
        const first = await mined(await probe.write.set([1000n, 'then'], free));
        const second = await mined(await probe.write.set([2000n, 'now'], free));
        const block = await reader.getBlock({ blockNumber: first.blockNumber, includeTransactions: true });
        assert.equal(block.hash, first.blockHash);
        assert.ok(block.transactions.some((one) => one.hash === first.transactionHash));
        assert.equal((await reader.getBlock({ blockHash: second.blockHash })).number, second.blockNumber);
        assert.equal(await reader.getBlockTransactionCount({ blockNumber: first.blockNumber }), block.transactions.length);
        assert.equal(await reader.readContract({ address, abi: Probe.abi, functionName: 'value', blockNumber: first.blockNumber }), 1000n);
        assert.equal(BigInt(await reader.getStorageAt({ address, slot: '0x0', blockNumber: first.blockNumber })), 1000n);
        assert.equal(await reader.getCode({ address }), Probe.deployed);
        assert.equal(await reader.getTransactionConfirmations({ hash: second.transactionHash }) >= 1n, true);
    });

    test('fees and nonces', async () => {
        assert.equal(await reader.getGasPrice(), 0n);
        const fees = await reader.estimateFeesPerGas();
        assert.ok(fees.maxFeePerGas >= 0n);
        const history = await reader.getFeeHistory({ blockCount: 2, rewardPercentiles: [50] });
        assert.equal(history.baseFeePerGas.length, 3);
        const latest = await reader.getTransactionCount({ address: account.address });
        assert.equal(await reader.getTransactionCount({ address: account.address, blockTag: 'pending' }), latest);
        await assert.rejects(() => probe.write.set([1n, 'again'], { nonce: 0, gas: 500000n, ...free }), /[Nn]once/);
        const list = await reader.createAccessList({ account, to: address, data: '0x3fa4f245' });
        assert.equal(list.accessList.length, 1);
    });

    test('logs, filters and watching', async () => {
        const filter = await reader.createContractEventFilter({ address, abi: Probe.abi, eventName: 'Changed', args: { value: 71n } });
        const heard = [];
        const stop = reader.watchContractEvent({ address, abi: Probe.abi, eventName: 'Changed', onLogs: (logs) => heard.push(...logs), pollingInterval: 50 });
        await new Promise((resolve) => setTimeout(resolve, 300));
        const receipt = await mined(await probe.write.set([71n, 'watched'], free));
        await mined(await probe.write.set([72n, 'other'], free));
        const changes = await reader.getFilterChanges({ filter });
        assert.deepEqual(changes.map((log) => log.args.value), [71n]);
        await eventually('two events', () => heard.length === 2);
        stop();
        const logs = await reader.getContractEvents({ address, abi: Probe.abi, eventName: 'Changed', args: { by: account.address }, fromBlock: receipt.blockNumber });
        assert.deepEqual(logs.map((log) => log.args.value), [71n, 72n]);
        assert.equal(await reader.uninstallFilter({ filter }), true);
    });

    test('subscriptions over a WebSocket', async () => {
        const transport = webSocket(ws, { retryCount: 0, reconnect: false });
        const socket = createPublicClient({ chain, transport });
        const client = await socket.transport.getRpcClient();
        try {
            const [heads, hashes, events] = [[], [], []];
            const stops = [
                socket.watchBlocks({ onBlock: (block) => heads.push(block), onError: assert.ifError }),
                socket.watchPendingTransactions({ onTransactions: (found) => hashes.push(...found), onError: assert.ifError }),
                socket.watchContractEvent({ address, abi: Probe.abi, onLogs: (logs) => events.push(...logs), onError: assert.ifError }),
            ];
            await socket.getBlockNumber();
            await new Promise((resolve) => setTimeout(resolve, 200));
            const receipt = await mined(await probe.write.set([81n, 'socket'], free));
            await eventually('all three', () => heads.some((block) => block.hash === receipt.blockHash) && hashes.includes(receipt.transactionHash) && events.length === 1);
            assert.equal(events[0].args.value, 81n);
            for (const stop of stops) stop();
        } finally {
            client.close();
        }
    });
});
