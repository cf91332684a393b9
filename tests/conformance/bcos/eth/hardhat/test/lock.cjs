const assert = require('node:assert/strict');
const { ethers, network } = require('hardhat');

describe('Lock', () => {
    let owner;
    let other;
    let lock;
    before(async () => {
        [owner, other] = await ethers.getSigners();
        lock = await ethers.deployContract('Lock');
        await lock.waitForDeployment();
    });

    it('belongs to its deployer', async () => {
        assert.equal(await lock.owner(), owner.address);
        assert.equal((await ethers.provider.getNetwork()).chainId, BigInt(network.config.chainId));
        assert.equal(await ethers.provider.getTransactionCount(owner.address), 1);
    });

    it('opens for its owner', async () => {
        const receipt = await (await lock.open()).wait();
        assert.equal(receipt.status, 1);
        const [event] = await lock.queryFilter(lock.filters.Opened(owner.address), receipt.blockNumber);
        assert.equal(event.args.count, 1n);
        assert.equal(await lock.opened(), 1n);
    });

    it('does not open for others', async () => {
        await assert.rejects(() => lock.connect(other).open(), (error) => {
            const parsed = lock.interface.parseError(error.data ?? error.info?.error?.data ?? error.error?.data);
            assert.equal(parsed.name, 'NotOwner');
            assert.equal(parsed.args[0], other.address);
            return true;
        });
    });

    it('wears out', async () => {
        await (await lock.open()).wait();
        await assert.rejects(() => lock.open(), /worn out/);
        await assert.rejects(() => lock.open.staticCall(), /worn out/);
        const sent = await lock.open({ gasLimit: 200000 });
        await assert.rejects(() => sent.wait());
        assert.equal((await ethers.provider.getTransactionReceipt(sent.hash)).status, 0);
    });

    it('sends plain transactions of every type', async () => {
        for (const fields of [{ type: 0, gasPrice: 0 }, { type: 1, gasPrice: 0, accessList: [] }, { type: 2, maxFeePerGas: 0, maxPriorityFeePerGas: 0 }]) {
            const receipt = await (await owner.sendTransaction({ to: other.address, value: 0, ...fields })).wait();
            assert.equal(receipt.type, fields.type);
        }
    });
});
