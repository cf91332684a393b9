// ethers 6 as its users write it: no gas, fee or nonce is given where the library can find it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Contract, ContractFactory, JsonRpcProvider, NonceManager, Wallet, WebSocketProvider, getCreateAddress, toBeHex, zeroPadValue } from 'ethers';
import { chainId, contracts, eventually, freshKey, http, sleep, ws } from './support.mjs';

const { Probe } = contracts();

describe('ethers', () => {
    let provider;
    let wallet;
    let probe;

    before(async () => {
        provider = new JsonRpcProvider(http, undefined, { pollingInterval: 50, cacheTimeout: -1 });
        wallet = new Wallet(await freshKey((key) => new Wallet(key).address), provider);
        probe = await new ContractFactory(Probe.abi, Probe.bytecode, wallet).deploy(7);
        await probe.waitForDeployment();
    });
    after(() => provider.destroy());

    test('the network is found', async () => {
        const network = await provider.getNetwork();
        assert.equal(network.chainId, BigInt(chainId));
        assert.ok(await provider.getBlockNumber() >= 1);
    });

    test('deploy, call, send', async () => {
        assert.equal(await probe.getAddress(), getCreateAddress({ from: wallet.address, nonce: 0 }));
        assert.equal(await probe.value(), 7n);
        assert.equal(await provider.getCode(probe), Probe.deployed);
        const sent = await probe.set(8, 'ethers');
        const receipt = await sent.wait();
        assert.equal(receipt.status, 1);
        assert.equal(receipt.hash, sent.hash);
        assert.equal(await probe.value(), 8n);
        assert.equal(await probe.note(), 'ethers');
        const event = receipt.logs.map((log) => probe.interface.parseLog(log))[0];
        assert.deepEqual([...event.args], [wallet.address, 8n, 'ethers']);
        assert.equal(await probe.set.staticCall(9, ''), 8n);
        assert.ok(await probe.set.estimateGas(9, '') > 0n);
        const found = await provider.getTransaction(sent.hash);
        assert.equal(found.type, sent.type);
        assert.equal(found.from, wallet.address);
        assert.equal(found.blockNumber, receipt.blockNumber);
        assert.equal((await found.getBlock()).hash, receipt.blockHash);
    });

    test('reasons: text, own error, panic', async () => {
        const own = (method, ...args) => [() => probe[method].staticCall(...args), () => probe[method].estimateGas(...args), () => probe[method](...args)];
        for (const attempt of own('failText')) {
            await assert.rejects(attempt, (error) => error.code === 'CALL_EXCEPTION' && error.reason === 'told you so' && error.revert.name === 'Error');
        }
        for (const attempt of own('failCustom', 11)) {
            await assert.rejects(attempt, (error) => {
                assert.equal(error.code, 'CALL_EXCEPTION');
                const parsed = error.revert ?? probe.interface.parseError(error.data);
                return parsed.name === 'TooLarge' && parsed.args[0] === 11n && parsed.args[1] === 10n;
            });
        }
        for (const [method, args, code] of [['failAssert', [], 1n], ['failDivide', [0], 0x12n], ['failArray', [5], 0x32n]]) {
            for (const attempt of own(method, ...args)) {
                await assert.rejects(attempt, (error) => error.code === 'CALL_EXCEPTION' && error.revert.name === 'Panic' && BigInt(error.revert.args[0]) === code);
            }
        }
        await assert.rejects(() => new ContractFactory(Probe.abi, Probe.bytecode, wallet).deploy(13), (error) => error.reason === 'not thirteen');
    });

    test('a transaction that fails on the chain rejects the wait with its receipt', async () => {
        const sent = await probe.failText({ gasLimit: 500000 });
        await assert.rejects(() => sent.wait(), (error) => {
            assert.equal(error.code, 'CALL_EXCEPTION');
            assert.equal(error.receipt.status, 0);
            return true;
        });
        const at = (await provider.getTransactionReceipt(sent.hash)).blockNumber;
        await assert.rejects(() => provider.call({ to: probe, from: wallet.address, data: sent.data, blockTag: at - 1 }), (error) => error.reason === 'told you so');
    });

    test('all types of transaction', async () => {
        const list = [{ address: await probe.getAddress(), storageKeys: [zeroPadValue(toBeHex(0), 32)] }];
        const free = { maxFeePerGas: 0, maxPriorityFeePerGas: 0 };
        for (const overrides of [{ type: 0, gasPrice: 0 }, { type: 1, gasPrice: 0, accessList: list }, { type: 2, accessList: list, ...free }, { type: 2, ...free }]) {
            const sent = await probe.set(overrides.type, 'type', overrides);
            const receipt = await sent.wait();
            assert.equal(receipt.type, overrides.type);
            const found = await provider.getTransaction(sent.hash);
            assert.equal(found.type, overrides.type);
            assert.equal(found.hash, sent.hash);
            assert.equal(found.signature.r, sent.signature.r);
            if (overrides.type > 0) assert.deepEqual(found.accessList, overrides.accessList ?? []);
        }
    });

    test('blocks come with their transactions', async () => {
        const receipt = await (await probe.set(1, 'block')).wait();
        const block = await provider.getBlock(receipt.blockNumber, true);
        assert.equal(block.hash, receipt.blockHash);
        assert.equal(block.baseFeePerGas, 0n);
        assert.equal(block.getPrefetchedTransaction(receipt.hash).hash, receipt.hash);
        assert.equal((await provider.getBlock(block.hash)).number, block.number);
        assert.equal((await provider.getBlock(block.parentHash)).number, block.number - 1);
    });

    test('fees are found and are nothing', async () => {
        const fees = await provider.getFeeData();
        assert.equal(fees.gasPrice, 0n);
        const receipt = await (await probe.set(3, 'fees')).wait();
        assert.equal(receipt.fee, 0n);
        assert.equal(receipt.gasPrice, 0n);
    });

    test('twenty at once from one account', async () => {
        const managed = new NonceManager(wallet);
        const start = await provider.getTransactionCount(wallet.address);
        const sent = await Promise.all(Array.from({ length: 20 }, (_, at) => probe.connect(managed).set(at, 'row', { gasLimit: 500000 })));
        assert.deepEqual(sent.map((one) => one.nonce).sort((a, b) => a - b), Array.from({ length: 20 }, (_, at) => start + at));
        const receipts = await Promise.all(sent.map((one) => one.wait()));
        assert.ok(receipts.every((receipt) => receipt.status === 1));
        assert.equal(await provider.getTransactionCount(wallet.address, 'pending'), start + 20);
        assert.equal(await probe.value(), BigInt(sent.find((one) => one.nonce === start + 19).data.slice(10, 74).replace(/^0*/, '0x')));
    });

    test('a used nonce is refused by its name', async () => {
        await assert.rejects(() => probe.set(1, 'again', { nonce: 1, gasLimit: 500000 }), (error) => error.code === 'NONCE_EXPIRED');
    });

    test('reads of the past', async () => {
        const first = await (await probe.set(1000, 'then')).wait();
        await (await probe.set(2000, 'now')).wait();
        assert.equal(await probe.value({ blockTag: first.blockNumber }), 1000n);
        assert.equal(await probe.value(), 2000n);
        assert.equal(BigInt(await provider.getStorage(probe, 0, first.blockNumber)), 1000n);
    });

    test('events are queried and listened to', async () => {
        const heard = [];
        await probe.on(probe.filters.Changed(wallet.address), (event) => heard.push([...event.args]));
        const receipt = await (await probe.set(31, 'heard')).wait();
        await eventually('the event', () => heard.length === 1);
        assert.deepEqual(heard[0], [wallet.address, 31n, 'heard']);
        await probe.removeAllListeners();
        const found = await probe.queryFilter(probe.filters.Changed(null, 31), receipt.blockNumber, 'latest');
        assert.equal(found.length, 1);
        assert.equal(found[0].args.note, 'heard');
    });

    test('subscriptions over a WebSocket', async () => {
        const socket = new WebSocketProvider(ws, undefined, { cacheTimeout: -1 });
        try {
            const [heads, hashes, logs] = [[], [], []];
            await socket.on('block', (number) => heads.push(number));
            await socket.on('pending', (hash) => hashes.push(hash));
            await socket.on({ address: await probe.getAddress() }, (log) => logs.push(log));
            await socket.send('eth_chainId', []);
            const own = new Wallet(wallet.privateKey, socket);
            const receipt = await (await probe.connect(own).set(55, 'socket')).wait();
            await eventually('heads, hashes and logs', () => heads.includes(receipt.blockNumber) && hashes.includes(receipt.hash) && logs.length === 1);
            assert.equal(logs[0].transactionHash, receipt.hash);
            await socket.off('block');
            const seen = heads.length;
            await (await probe.connect(own).set(56, 'socket')).wait();
            assert.ok(heads.length <= seen + 1);
        } finally {
            // The library removes the listeners of its waits later, and fails when the provider is gone by then.
            await sleep(200);
            await socket.destroy();
        }
    });
});
