// web3.js 4 with an account in its wallet.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Web3, WebSocketProvider } from 'web3';
import { chainId, contracts, eventually, freshKey, http, ws } from './support.mjs';

const { Probe } = contracts();

describe('web3.js', () => {
    let web3;
    let from;
    let probe;
    const gas = '500000';

    before(async () => {
        web3 = new Web3(http);
        web3.eth.transactionPollingInterval = 50;
        const account = web3.eth.accounts.privateKeyToAccount(await freshKey((key) => web3.eth.accounts.privateKeyToAccount(key).address));
        web3.eth.accounts.wallet.add(account);
        from = account.address;
        probe = await new web3.eth.Contract(Probe.abi).deploy({ data: Probe.bytecode, arguments: [7] }).send({ from });
    });

    test('deploy, call, send', async () => {
        assert.equal(await web3.eth.getChainId(), BigInt(chainId));
        assert.equal(await probe.methods.value().call(), 7n);
        assert.equal(await web3.eth.getCode(probe.options.address), Probe.deployed);
        const receipt = await probe.methods.set(8, 'web3').send({ from });
        assert.equal(receipt.status, 1n);
        assert.equal(receipt.events.Changed.returnValues.value, 8n);
        assert.equal(await probe.methods.value().call(), 8n);
        assert.ok(await probe.methods.set(9, '').estimateGas({ from }) > 0n);
    });

    test('reasons: text, own error, panic', async () => {
        probe.handleRevert = true;
        await assert.rejects(() => probe.methods.failText().call({ from }), (error) => /told you so/.test(JSON.stringify([error.message, error.reason, error.cause?.message, error.innerError?.message])));
        await assert.rejects(() => probe.methods.failText().send({ from, gas }), (error) => /told you so/.test(JSON.stringify([error.message, error.reason, error.cause?.message, error.innerError?.message])));
        await assert.rejects(() => probe.methods.failCustom(11).call({ from }), (error) => {
            const inner = error.cause ?? error.innerError;
            assert.equal(inner.errorName, 'TooLarge');
            assert.equal(inner.errorArgs.given, 11n);
            return true;
        });
        await assert.rejects(() => probe.methods.failDivide(0).call({ from }), (error) => /4e487b71/.test(JSON.stringify([error.cause?.data, error.innerError?.data])));
    });

    test('a failed transaction has a receipt with status 0', async () => {
        web3.eth.handleRevert = false;
        const signed = await web3.eth.accounts.signTransaction({ from, to: probe.options.address, data: probe.methods.failText().encodeABI(), gas, gasPrice: 0, nonce: await web3.eth.getTransactionCount(from), chainId }, web3.eth.accounts.wallet[0].privateKey);
        await assert.rejects(() => web3.eth.sendSignedTransaction(signed.rawTransaction, undefined, { checkRevertBeforeSending: false }));
        const receipt = await eventually('receipt', () => web3.eth.getTransactionReceipt(signed.transactionHash).catch(() => null));
        assert.equal(receipt.status, 0n);
    });

    test('all types of transaction', async () => {
        const accessList = [{ address: probe.options.address, storageKeys: [`0x${'00'.repeat(32)}`] }];
        const fees = { maxFeePerGas: 0, maxPriorityFeePerGas: 0 };
        for (const [type, fields] of [[0n, { gasPrice: 0 }], [1n, { gasPrice: 0, accessList }], [2n, { ...fees, accessList }]]) {
            const receipt = await web3.eth.sendTransaction({ from, to: probe.options.address, data: probe.methods.set(1, 'types').encodeABI(), gas, type, ...fields });
            assert.equal(receipt.status, 1n);
            assert.equal((await web3.eth.getTransaction(receipt.transactionHash)).type, type);
        }
    });

    test('blocks, past logs, reads of the past, fees', async () => {
        const first = await probe.methods.set(1000, 'then').send({ from });
        await probe.methods.set(2000, 'now').send({ from });
        const block = await web3.eth.getBlock(first.blockNumber, true);
        assert.equal(block.hash, first.blockHash);
        assert.ok(block.transactions.some((one) => one.hash === first.transactionHash));
        assert.equal(await probe.methods.value().call({}, first.blockNumber), 1000n);
        assert.equal(BigInt(await web3.eth.getStorageAt(probe.options.address, 0, first.blockNumber)), 1000n);
        const past = await probe.getPastEvents('Changed', { fromBlock: first.blockNumber, toBlock: 'latest' });
        assert.deepEqual(past.map((event) => event.returnValues.value), [1000n, 2000n]);
        assert.equal(await web3.eth.getGasPrice(), 0n);
        const history = await web3.eth.getFeeHistory(2, 'latest', [50]);
        assert.equal(history.baseFeePerGas.length, 3);
        const count = await web3.eth.getTransactionCount(from);
        assert.equal(await web3.eth.getTransactionCount(from, 'pending'), count);
        assert.equal(await web3.eth.getBlockTransactionCount(first.blockNumber), BigInt(block.transactions.length));
    });

    test('subscriptions over a WebSocket', async () => {
        const socket = new Web3(new WebSocketProvider(ws, {}, { autoReconnect: false }));
        try {
            const [heads, hashes, logs] = [[], [], []];
            const [head, pending, log] = [
                await socket.eth.subscribe('newBlockHeaders'),
                await socket.eth.subscribe('pendingTransactions'),
                await socket.eth.subscribe('logs', { address: probe.options.address }),
            ];
            head.on('data', (one) => heads.push(one));
            pending.on('data', (one) => hashes.push(one));
            log.on('data', (one) => logs.push(one));
            const receipt = await probe.methods.set(91, 'socket').send({ from });
            await eventually('all three', () => heads.some((one) => one.number === receipt.blockNumber) && hashes.includes(receipt.transactionHash) && logs.length === 1);
            assert.equal(logs[0].transactionHash, receipt.transactionHash);
            await head.unsubscribe();
        } finally {
            socket.provider.disconnect();
        }
    });
});
