'use strict';

const { Contract } = require('fabric-contract-api');

// Things that have an owner. Every endorser must write the same bytes, so the fields are written in one fixed order.
const encode = ({ AppraisedValue, Color, ID, Owner, Size }) =>
    Buffer.from(JSON.stringify({ AppraisedValue, Color, ID, Owner, Size }));

const number = (name, text) => {
    const value = Number(text);
    if (text === '' || !Number.isSafeInteger(value)) {
        throw new Error(`${name} must be a whole number, not ${text}`);
    }
    return value;
};

// A function outside the class: every method of the class could be called by anybody.
const write = async (ctx, event, asset) => {
    const bytes = encode(asset);
    await ctx.stub.putState(asset.ID, bytes);
    ctx.stub.setEvent(event, bytes);
    return bytes.toString();
};

class AssetTransfer extends Contract {
    constructor() {
        super('AssetTransfer');
    }

    async InitLedger(ctx) {
        await this.CreateAsset(ctx, 'asset1', 'blue', '5', 'Tomoko', '300');
        await this.CreateAsset(ctx, 'asset2', 'red', '10', 'Brad', '400');
    }

    async CreateAsset(ctx, id, color, size, owner, appraisedValue) {
        if (await this.AssetExists(ctx, id)) {
            throw new Error(`the asset ${id} already exists`);
        }
        return write(ctx, 'CreateAsset', {
            AppraisedValue: number('appraisedValue', appraisedValue),
            Color: color,
            ID: id,
            Owner: owner,
            Size: number('size', size),
        });
    }

    async ReadAsset(ctx, id) {
        const bytes = await ctx.stub.getState(id);
        if (bytes.length === 0) {
            throw new Error(`the asset ${id} does not exist`);
        }
        return bytes.toString();
    }

    async UpdateAsset(ctx, id, color, size, owner, appraisedValue) {
        await this.ReadAsset(ctx, id);
        return write(ctx, 'UpdateAsset', {
            AppraisedValue: number('appraisedValue', appraisedValue),
            Color: color,
            ID: id,
            Owner: owner,
            Size: number('size', size),
        });
    }

    // Gives the owner before.
    async TransferAsset(ctx, id, newOwner) {
        const asset = JSON.parse(await this.ReadAsset(ctx, id));
        const before = asset.Owner;
        asset.Owner = newOwner;
        await write(ctx, 'TransferAsset', asset);
        return before;
    }

    async DeleteAsset(ctx, id) {
        const asset = await this.ReadAsset(ctx, id);
        await ctx.stub.deleteState(id);
        ctx.stub.setEvent('DeleteAsset', Buffer.from(asset));
    }

    async AssetExists(ctx, id) {
        return (await ctx.stub.getState(id)).length > 0;
    }

    async GetAllAssets(ctx) {
        const assets = [];
        for await (const { value } of ctx.stub.getStateByRange('', '')) {
            assets.push(JSON.parse(Buffer.from(value).toString()));
        }
        return JSON.stringify(assets);
    }

    async GetAssetHistory(ctx, id) {
        const changes = [];
        for await (const change of ctx.stub.getHistoryForKey(id)) {
            const text = Buffer.from(change.value).toString();
            changes.push({ txId: change.txId, isDelete: change.isDelete, record: text ? JSON.parse(text) : null });
        }
        return JSON.stringify(changes);
    }
}

module.exports.AssetTransfer = AssetTransfer;
