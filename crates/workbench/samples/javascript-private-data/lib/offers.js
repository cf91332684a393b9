'use strict';

const { createHash } = require('node:crypto');
const { Contract } = require('fabric-contract-api');

// Members of this collection see the prices; everybody sees the offers and the hashes of prices. See collections.json.
const COLLECTION = 'prices';

const price = (ctx) => {
    const bytes = ctx.stub.getTransient().get('price');
    if (!bytes || bytes.length === 0) {
        throw new Error('the price must be in the transient data under "price", so that it is not recorded');
    }
    return Buffer.from(bytes);
};

class Offers extends Contract {
    constructor() {
        super('Offers');
    }

    // Transient: price, with a salt in it ("100;some random text"), or its hash could be guessed.
    async CreateOffer(ctx, id, item) {
        if ((await ctx.stub.getState(id)).length > 0) {
            throw new Error(`the offer ${id} already exists`);
        }
        const secret = price(ctx);
        const offer = JSON.stringify({ id, item, seller: ctx.clientIdentity.getMSPID() });
        await ctx.stub.putState(id, Buffer.from(offer));
        await ctx.stub.putPrivateData(COLLECTION, id, secret);
        return offer;
    }

    async ReadOffer(ctx, id) {
        const bytes = await ctx.stub.getState(id);
        if (bytes.length === 0) {
            throw new Error(`the offer ${id} does not exist`);
        }
        return bytes.toString();
    }

    async ReadPrice(ctx, id) {
        const bytes = await ctx.stub.getPrivateData(COLLECTION, id);
        if (bytes.length === 0) {
            throw new Error(`there is no price of ${id} here: either it does not exist or this peer is not in the collection`);
        }
        return Buffer.from(bytes).toString();
    }

    // Whether the price in the transient data is the recorded one; works on peers that do not have it.
    async VerifyPrice(ctx, id) {
        const recorded = await ctx.stub.getPrivateDataHash(COLLECTION, id);
        const given = createHash('sha256').update(price(ctx)).digest();
        return given.equals(Buffer.from(recorded));
    }

    async DeleteOffer(ctx, id) {
        const offer = JSON.parse(await this.ReadOffer(ctx, id));
        if (offer.seller !== ctx.clientIdentity.getMSPID()) {
            throw new Error('only the seller may withdraw an offer');
        }
        await ctx.stub.deleteState(id);
        await ctx.stub.deletePrivateData(COLLECTION, id);
    }
}

module.exports.Offers = Offers;
