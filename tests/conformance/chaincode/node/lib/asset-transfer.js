'use strict';

// The asset-transfer functions on the stock contract library, with what else the conformance tests need: ranges with pages, history,
// events, composite keys, private data, key-level metadata, and calls to other chaincode.

const { Contract } = require('fabric-contract-api');

const FIRST_ASSETS = [
    { ID: 'asset1', Color: 'blue', Size: 5, Owner: 'Tomoko', AppraisedValue: 300 },
    { ID: 'asset2', Color: 'red', Size: 5, Owner: 'Brad', AppraisedValue: 400 },
    { ID: 'asset3', Color: 'green', Size: 10, Owner: 'Jin Soo', AppraisedValue: 500 },
    { ID: 'asset4', Color: 'yellow', Size: 10, Owner: 'Max', AppraisedValue: 600 },
    { ID: 'asset5', Color: 'black', Size: 15, Owner: 'Adriana', AppraisedValue: 700 },
    { ID: 'asset6', Color: 'white', Size: 15, Owner: 'Michel', AppraisedValue: 800 },
];

// Every endorser must write the same bytes, so the fields have one order.
function bytesOf(asset) {
    const sorted = Object.fromEntries(Object.keys(asset).sort().map((name) => [name, asset[name]]));
    return Buffer.from(JSON.stringify(sorted));
}

async function collect(iterator) {
    const results = [];
    for (let result = await iterator.next(); !result.done; result = await iterator.next()) {
        results.push(result.value);
    }
    await iterator.close();
    return results;
}

function records(rows) {
    return rows.map((row) => JSON.parse(Buffer.from(row.value).toString('utf8')));
}

class AssetTransfer extends Contract {
    async InitLedger(ctx) {
        for (const asset of FIRST_ASSETS) {
            await ctx.stub.putState(asset.ID, bytesOf(asset));
        }
    }

    async CreateAsset(ctx, id, color, size, owner, appraisedValue) {
        if (await this.AssetExists(ctx, id)) {
            throw new Error(`the asset ${id} already exists`);
        }
        const asset = { ID: id, Color: color, Size: Number(size), Owner: owner, AppraisedValue: Number(appraisedValue) };
        ctx.stub.setEvent('CreateAsset', bytesOf(asset));
        await ctx.stub.putState(id, bytesOf(asset));
    }

    async ReadAsset(ctx, id) {
        const value = await ctx.stub.getState(id);
        if (!value || value.length === 0) {
            throw new Error(`the asset ${id} does not exist`);
        }
        return value.toString();
    }

    async UpdateAsset(ctx, id, color, size, owner, appraisedValue) {
        await this.ReadAsset(ctx, id);
        const asset = { ID: id, Color: color, Size: Number(size), Owner: owner, AppraisedValue: Number(appraisedValue) };
        ctx.stub.setEvent('UpdateAsset', bytesOf(asset));
        await ctx.stub.putState(id, bytesOf(asset));
    }

    async DeleteAsset(ctx, id) {
        const asset = await this.ReadAsset(ctx, id);
        ctx.stub.setEvent('DeleteAsset', Buffer.from(asset));
        await ctx.stub.deleteState(id);
    }

    async AssetExists(ctx, id) {
        const value = await ctx.stub.getState(id);
        return Boolean(value && value.length > 0);
    }

    async TransferAsset(ctx, id, newOwner) {
        const asset = JSON.parse(await this.ReadAsset(ctx, id));
        const oldOwner = asset.Owner;
        asset.Owner = newOwner;
        ctx.stub.setEvent('TransferAsset', bytesOf(asset));
        await ctx.stub.putState(id, bytesOf(asset));
        return oldOwner;
    }

    async GetAllAssets(ctx) {
        return JSON.stringify(records(await collect(await ctx.stub.getStateByRange('', ''))));
    }

    async GetAssetsByRange(ctx, start, end) {
        return JSON.stringify(records(await collect(await ctx.stub.getStateByRange(start, end))));
    }

    async GetAssetsByRangeWithPagination(ctx, start, end, pageSize, bookmark) {
        const { iterator, metadata } = await ctx.stub.getStateByRangeWithPagination(start, end, Number(pageSize), bookmark);
        const rows = await collect(iterator);
        return JSON.stringify({
            records: records(rows),
            fetchedRecordsCount: metadata.fetchedRecordsCount,
            bookmark: metadata.bookmark,
        });
    }

    async GetAssetHistory(ctx, id) {
        const changes = await collect(await ctx.stub.getHistoryForKey(id));
        return JSON.stringify(
            changes.map((change) => ({
                record: change.isDelete ? null : JSON.parse(Buffer.from(change.value).toString('utf8')),
                txId: change.txId,
                timestamp: new Date(Number(change.timestamp.seconds) * 1000 + change.timestamp.nanos / 1e6).toISOString(),
                isDelete: change.isDelete,
            })),
        );
    }

    async CallChaincode(ctx, name, channel, fn, argument) {
        const response = await ctx.stub.invokeChaincode(name, [fn, argument], channel);
        if (response.status >= 400) {
            throw new Error(response.message);
        }
        return Buffer.from(response.payload).toString('utf8');
    }

    async put(ctx, key, value) {
        await ctx.stub.putState(key, Buffer.from(value));
    }

    async get(ctx, key) {
        return (await ctx.stub.getState(key)).toString();
    }

    async PutComposite(ctx, type, first, second, value) {
        await ctx.stub.putState(ctx.stub.createCompositeKey(type, [first, second]), Buffer.from(value));
    }

    async GetByPartialComposite(ctx, type, first) {
        const rows = await collect(await ctx.stub.getStateByPartialCompositeKey(type, [first]));
        return JSON.stringify(
            rows.map((row) => ({
                attributes: ctx.stub.splitCompositeKey(row.key).attributes,
                value: Buffer.from(row.value).toString('utf8'),
            })),
        );
    }

    async PutPrivate(ctx, collection, key) {
        const value = ctx.stub.getTransient().get('value');
        if (!value) {
            throw new Error('the transient field value is missing');
        }
        await ctx.stub.putPrivateData(collection, key, value);
    }

    async GetPrivateHash(ctx, collection, key) {
        return Buffer.from(await ctx.stub.getPrivateDataHash(collection, key)).toString('hex');
    }

    async SetPolicy(ctx, key, policyBase64) {
        await ctx.stub.setStateValidationParameter(key, Buffer.from(policyBase64, 'base64'));
    }

    async GetPolicy(ctx, key) {
        return Buffer.from((await ctx.stub.getStateValidationParameter(key)) ?? []).toString('base64');
    }

    async WhoAmI(ctx) {
        return JSON.stringify({ mspid: ctx.clientIdentity.getMSPID(), id: ctx.clientIdentity.getID() });
    }
}

module.exports.AssetTransfer = AssetTransfer;
