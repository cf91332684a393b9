// What contracts do with the ledger, seen by a client: ranges and pages, history, calls between contracts, conflicts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { chaincodeName, channelName, gatewayOf, json, level, newId, peers } from './network.mjs';

describe(`chaincode ${chaincodeName}`, () => {
    let session;
    before(() => { session = gatewayOf(); });
    after(() => session.close());

    const prefix = newId('range');
    const id = (number) => `${prefix}-${String(number).padStart(3, '0')}`;

    test('a range comes in key order, and pages join without gaps', async () => {
        for (let start = 0; start < 24; start += 8) {
            await Promise.all(Array.from({ length: 8 }, (_, offset) => (
                session.contract.submitTransaction('CreateAsset', id(start + offset), 'blue', '1', 'Range', '1'))));
        }
        const all = json(await session.contract.evaluateTransaction('GetAssetsByRange', id(0), `${prefix}.`));
        assert.deepEqual(all.map((asset) => asset.ID), Array.from({ length: 24 }, (_, number) => id(number)));
        const half = json(await session.contract.evaluateTransaction('GetAssetsByRange', id(6), id(12)));
        assert.deepEqual(half.map((asset) => asset.ID), [6, 7, 8, 9, 10, 11].map(id));

        const pages = [];
        let bookmark = '';
        do {
            const page = json(await session.contract.evaluateTransaction('GetAssetsByRangeWithPagination', id(0), `${prefix}.`, '10', bookmark));
            assert.equal(page.fetchedRecordsCount, page.records.length);
            pages.push(page.records.map((asset) => asset.ID));
            bookmark = page.bookmark;
        } while (bookmark !== '');
        assert.deepEqual(pages.map((page) => page.length), [10, 10, 4]);
        assert.deepEqual(pages.flat(), all.map((asset) => asset.ID));
    });

    test('history tells every change, the newest first', async () => {
        const asset = newId('history');
        await session.contract.submitTransaction('CreateAsset', asset, 'red', '1', 'One', '1');
        await level();
        await session.contract.submitTransaction('TransferAsset', asset, 'Two');
        await level();
        await session.contract.submitTransaction('DeleteAsset', asset);
        const history = json(await session.contract.evaluateTransaction('GetAssetHistory', asset));
        assert.equal(history.length, 3);
        assert.deepEqual(history.map((change) => change.isDelete), [true, false, false]);
        assert.equal(history[1].record.Owner, 'Two');
        assert.equal(history[2].record.Owner, 'One');
        assert.equal(new Set(history.map((change) => change.txId)).size, 3);
        await assert.rejects(session.contract.evaluateTransaction('ReadAsset', asset));
    });

    test('an existing asset cannot be created again', async () => {
        const asset = newId('twice');
        await session.contract.submitTransaction('CreateAsset', asset, 'red', '1', 'One', '1');
        await level();
        const error = await session.contract.submitTransaction('CreateAsset', asset, 'red', '1', 'One', '1').catch((e) => e);
        assert.match(JSON.stringify(error.details), /already exists/);
    });

    const other = process.env.KONSORT_OTHER;
    test('a contract calls another on the same channel', { skip: !other && 'no other contract is deployed' }, async () => {
        const asset = newId('called');
        await session.network.getContract(other).submitTransaction('CreateAsset', asset, 'green', '2', 'Other', '3');
        const read = await session.contract.evaluateTransaction('CallChaincode', other, '', 'ReadAsset', asset);
        assert.equal(json(read).Owner, 'Other');
        const sameChannel = await session.contract.evaluateTransaction('CallChaincode', other, channelName, 'ReadAsset', asset);
        assert.equal(json(sameChannel).Owner, 'Other');
        // What the called contract writes is part of the calling transaction.
        // The calling contract touches nothing of its own, so its policy is not in the plan: all organisations are named.
        await level();
        await session.contract.submit('CallChaincode', {
            arguments: [other, '', 'DeleteAsset', asset], endorsingOrganizations: peers.map((peer) => peer.mspid) });
        await assert.rejects(session.network.getContract(other).evaluateTransaction('ReadAsset', asset));
    });

    test('of two deletions in flight one commits', async () => {
        const asset = newId('conflict');
        await session.contract.submitTransaction('CreateAsset', asset, 'red', '1', 'One', '1');
        await level();
        const proposals = [0, 1].map(() => session.contract.newProposal('DeleteAsset', { arguments: [asset] }));
        const transactions = await Promise.all(proposals.map((proposal) => proposal.endorse()));
        const commits = await Promise.all(transactions.map((transaction) => transaction.submit()));
        const statuses = await Promise.all(commits.map((commit) => commit.getStatus()));
        assert.deepEqual(statuses.map((status) => status.successful).sort(), [false, true]);
    });
});
