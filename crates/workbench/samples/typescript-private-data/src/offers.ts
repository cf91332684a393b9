import { createHash } from 'node:crypto';
import { Context, Contract, Info, Object, Property, Returns, Transaction } from 'fabric-contract-api';

/** Members of this collection see the prices; everybody sees the offers and the hashes of prices. See collections.json. */
const COLLECTION = 'prices';

/** What everybody may see of an offer. */
@Object()
export class Offer {
    @Property('id', 'string')
    id = '';

    @Property('item', 'string')
    item = '';

    @Property('seller', 'string')
    seller = '';
}

function price(ctx: Context): Buffer {
    const bytes = ctx.stub.getTransient().get('price');
    if (bytes === undefined || bytes.length === 0) {
        throw new Error('the price must be in the transient data under "price", so that it is not recorded');
    }
    return Buffer.from(bytes);
}

async function read(ctx: Context, id: string): Promise<Offer> {
    const bytes = await ctx.stub.getState(id);
    if (bytes.length === 0) {
        throw new Error(`the offer ${id} does not exist`);
    }
    return JSON.parse(bytes.toString()) as Offer;
}

@Info({ title: 'Offers', description: 'Public offers with prices that only members of a collection see' })
export class Offers extends Contract {
    constructor() {
        super('Offers');
    }

    /** Transient: price, with a salt in it ("100;some random text"), or its hash could be guessed. */
    @Transaction()
    async CreateOffer(ctx: Context, id: string, item: string): Promise<void> {
        if ((await ctx.stub.getState(id)).length > 0) {
            throw new Error(`the offer ${id} already exists`);
        }
        const secret = price(ctx);
        const offer: Offer = { id, item, seller: ctx.clientIdentity.getMSPID() };
        await ctx.stub.putState(id, Buffer.from(JSON.stringify(offer)));
        await ctx.stub.putPrivateData(COLLECTION, id, secret);
    }

    @Transaction(false)
    @Returns('Offer')
    async ReadOffer(ctx: Context, id: string): Promise<Offer> {
        return read(ctx, id);
    }

    @Transaction(false)
    @Returns('string')
    async ReadPrice(ctx: Context, id: string): Promise<string> {
        const bytes = await ctx.stub.getPrivateData(COLLECTION, id);
        if (bytes.length === 0) {
            throw new Error(`there is no price of ${id} here: either it does not exist or this peer is not in the collection`);
        }
        return Buffer.from(bytes).toString();
    }

    /** Whether the price in the transient data is the recorded one; works on peers that do not have it. */
    @Transaction(false)
    @Returns('boolean')
    async VerifyPrice(ctx: Context, id: string): Promise<boolean> {
        const recorded = await ctx.stub.getPrivateDataHash(COLLECTION, id);
        return createHash('sha256').update(price(ctx)).digest().equals(Buffer.from(recorded));
    }

    @Transaction()
    async DeleteOffer(ctx: Context, id: string): Promise<void> {
        const offer = await read(ctx, id);
        if (offer.seller !== ctx.clientIdentity.getMSPID()) {
            throw new Error('only the seller may withdraw an offer');
        }
        await ctx.stub.deleteState(id);
        await ctx.stub.deletePrivateData(COLLECTION, id);
    }
}
