// OpenZeppelin's contracts as published: ERC-20, permit and votes, ERC-721, AccessControl, Governor.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Contract, ContractFactory, JsonRpcProvider, Wallet, ZeroAddress, id as hashOf } from 'ethers';
import { chainId, contracts, freshKey, http } from './support.mjs';

const all = contracts();

describe('OpenZeppelin', () => {
    let provider;
    let owner;
    let other;
    const deploy = async (name, ...args) => (await new ContractFactory(all[name].abi, all[name].bytecode, owner).deploy(...args)).waitForDeployment();
    const done = async (sending) => (await sending).wait();
    const fails = (attempt, contract, name) => assert.rejects(attempt, (error) => {
        const parsed = error.revert ?? contract.interface.parseError(error.data);
        assert.equal(parsed?.name, name, error.message);
        return true;
    });

    before(async () => {
        provider = new JsonRpcProvider(http, undefined, { pollingInterval: 50, cacheTimeout: -1 });
        const fresh = async () => new Wallet(await freshKey((key) => new Wallet(key).address), provider);
        owner = await fresh();
        other = await fresh();
    });
    after(() => provider.destroy());

    test('ERC-20', async () => {
        const coin = await deploy('Coin', 1000);
        assert.equal(await coin.totalSupply(), 1000n);
        assert.deepEqual([await coin.name(), await coin.symbol(), await coin.decimals()], ['Coin', 'CN', 18n]);
        await done(coin.transfer(other.address, 300));
        assert.equal(await coin.balanceOf(other.address), 300n);
        await done(coin.connect(other).approve(owner.address, 50));
        assert.equal(await coin.allowance(other.address, owner.address), 50n);
        await done(coin.transferFrom(other.address, owner.address, 20));
        assert.equal(await coin.balanceOf(owner.address), 720n);
        await fails(() => coin.transfer(other.address, 721), coin, 'ERC20InsufficientBalance');
        await fails(() => coin.transferFrom(other.address, owner.address, 31), coin, 'ERC20InsufficientAllowance');
        await fails(() => coin.transfer(ZeroAddress, 1), coin, 'ERC20InvalidReceiver');
        const events = await coin.queryFilter(coin.filters.Transfer(owner.address), 0);
        assert.deepEqual(events.map((event) => event.args.value), [300n]);
    });

    test('permits signed off the chain', async () => {
        const votes = await deploy('Votes', 1000);
        const domain = { name: 'Votes', version: '1', chainId, verifyingContract: await votes.getAddress() };
        const types = { Permit: ['owner', 'spender', 'value', 'nonce', 'deadline'].map((name) => ({ name, type: /owner|spender/.test(name) ? 'address' : 'uint256' })) };
        const message = { owner: owner.address, spender: other.address, value: 5n, nonce: 0n, deadline: 2n ** 200n };
        const { v, r, s } = (await import('ethers')).Signature.from(await owner.signTypedData(domain, types, message));
        await done(votes.connect(other).permit(message.owner, message.spender, message.value, message.deadline, v, r, s));
        assert.equal(await votes.allowance(owner.address, other.address), 5n);
        assert.equal(await votes.nonces(owner.address), 1n);
    });

    test('ERC-721', async () => {
        const deeds = await deploy('Deeds');
        const holder = await deploy('Holder');
        const coin = await deploy('Coin', 1);
        await done(deeds.mint(owner.address, 'ipfs://one'));
        await done(deeds.mint(await holder.getAddress(), 'ipfs://two'));
        assert.equal(await deeds.ownerOf(1), owner.address);
        assert.equal(await deeds.tokenURI(2), 'ipfs://two');
        await fails(async () => deeds.mint(await coin.getAddress(), 'x'), deeds, 'ERC721InvalidReceiver');
        await done(deeds.approve(other.address, 1));
        await done(deeds.connect(other).transferFrom(owner.address, other.address, 1));
        assert.equal(await deeds.ownerOf(1), other.address);
        await fails(() => deeds.transferFrom(other.address, owner.address, 1), deeds, 'ERC721InsufficientApproval');
        await fails(() => deeds.ownerOf(99), deeds, 'ERC721NonexistentToken');
        await fails(() => deeds.connect(other).mint(other.address, 'x'), deeds, 'OwnableUnauthorizedAccount');
        assert.equal(await deeds.supportsInterface('0x80ac58cd'), true);
    });

    test('AccessControl', async () => {
        const vault = await deploy('Vault');
        const keeper = await vault.KEEPER();
        assert.equal(keeper, hashOf('KEEPER'));
        await fails(() => vault.raise(1), vault, 'AccessControlUnauthorizedAccount');
        await done(vault.grantRole(keeper, other.address));
        await done(vault.connect(other).raise(5));
        assert.equal(await vault.level(), 5n);
        await fails(() => vault.connect(other).grantRole(keeper, owner.address), vault, 'AccessControlUnauthorizedAccount');
        await done(vault.revokeRole(keeper, other.address));
        await fails(() => vault.connect(other).raise(1), vault, 'AccessControlUnauthorizedAccount');
        assert.equal((await vault.queryFilter(vault.filters.RoleGranted(keeper), 0)).length, 1);
    });

    test('Governor: propose, vote, execute by blocks', async () => {
        const votes = await deploy('Votes', 1000);
        await done(votes.delegate(owner.address));
        await done(votes.transfer(other.address, 400));
        await done(votes.connect(other).delegate(other.address));
        const council = await deploy('Council', await votes.getAddress());
        const parameter = await deploy('Parameter', await council.getAddress());
        const calls = [[await parameter.getAddress()], [0], [parameter.interface.encodeFunctionData('set', [42])]];
        const nextBlock = () => done(owner.sendTransaction({ to: other.address, value: 0 }));
        const proposal = await council.propose.staticCall(...calls, 'set it to 42');
        await done(council.propose(...calls, 'set it to 42'));
        assert.equal(await council.state(proposal), 0n, 'pending');
        await fails(() => council.castVote(proposal, 1), council, 'GovernorUnexpectedProposalState');
        const opens = await council.proposalSnapshot(proposal);
        const closes = await council.proposalDeadline(proposal);
        while (BigInt(await provider.getBlockNumber()) <= opens) await nextBlock();
        assert.equal(await council.state(proposal), 1n, 'active');
        assert.equal(await council.getVotes(owner.address, opens), 600n);
        await done(council.castVote(proposal, 1));
        await done(council.connect(other).castVoteWithReason(proposal, 0, 'no'));
        assert.deepEqual([...(await council.proposalVotes(proposal))], [400n, 600n, 0n]);
        await fails(() => council.execute(...calls, hashOf('set it to 42')), council, 'GovernorUnexpectedProposalState');
        while (BigInt(await provider.getBlockNumber()) <= closes) await nextBlock();
        assert.equal(await council.state(proposal), 4n, 'succeeded');
        await done(council.execute(...calls, hashOf('set it to 42')));
        assert.equal(await council.state(proposal), 7n, 'executed');
        assert.equal(await parameter.setting(), 42n);
        await fails(() => parameter.set(1), parameter, 'OwnableUnauthorizedAccount');
    });
});
