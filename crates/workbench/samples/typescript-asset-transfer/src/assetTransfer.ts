import { Context, Contract, Info, Param, Returns, Transaction } from 'fabric-contract-api';
import { Asset } from './asset';

/** Every endorser must write the same bytes, so the fields are written in one fixed order. */
function encode({ AppraisedValue, Color, ID, Owner, Size }: Asset): Buffer {
    return Buffer.from(JSON.stringify({ AppraisedValue, Color, ID, Owner, Size }));
}

async function write(ctx: Context, event: string, asset: Asset): Promise<void> {
    await ctx.stub.putState(asset.ID, encode(asset));
    ctx.stub.setEvent(event, encode(asset));
}

async function read(ctx: Context, id: string): Promise<Asset> {
    const bytes = await ctx.stub.getState(id);
    if (bytes.length === 0) {
        throw new Error(`the asset ${id} does not exist`);
    }
    return JSON.parse(bytes.toString()) as Asset;
}

@Info({ title: 'AssetTransfer', description: 'Things that have an owner' })
export class AssetTransfer extends Contract {
    constructor() {
        super('AssetTransfer');
    }

    @Transaction()
    async InitLedger(ctx: Context): Promise<void> {
        await this.CreateAsset(ctx, 'asset1', 'blue', 5, 'Tomoko', 300);
        await this.CreateAsset(ctx, 'asset2', 'red', 10, 'Brad', 400);
    }

    @Transaction()
    async CreateAsset(
        ctx: Context,
        id: string,
        color: string,
        size: number,
        owner: string,
        appraisedValue: number,
    ): Promise<void> {
        if (await this.AssetExists(ctx, id)) {
            throw new Error(`the asset ${id} already exists`);
        }
        await write(ctx, 'CreateAsset', { ID: id, Color: color, Size: size, Owner: owner, AppraisedValue: appraisedValue });
    }

    @Transaction(false)
    @Returns('Asset')
    async ReadAsset(ctx: Context, id: string): Promise<Asset> {
        return read(ctx, id);
    }

    @Transaction()
    @Param('asset', 'Asset', 'the asset as it should be')
    async UpdateAsset(ctx: Context, asset: Asset): Promise<void> {
        await read(ctx, asset.ID);
        await write(ctx, 'UpdateAsset', asset);
    }

    /** Gives the owner before. */
    @Transaction()
    @Returns('string')
    async TransferAsset(ctx: Context, id: string, newOwner: string): Promise<string> {
        const asset = await read(ctx, id);
        const before = asset.Owner;
        await write(ctx, 'TransferAsset', { ...asset, Owner: newOwner });
        return before;
    }

    @Transaction()
    async DeleteAsset(ctx: Context, id: string): Promise<void> {
        const asset = await read(ctx, id);
        await ctx.stub.deleteState(id);
        ctx.stub.setEvent('DeleteAsset', encode(asset));
    }

    @Transaction(false)
    @Returns('boolean')
    async AssetExists(ctx: Context, id: string): Promise<boolean> {
        return (await ctx.stub.getState(id)).length > 0;
    }

    @Transaction(false)
    @Returns('Asset[]')
    async GetAllAssets(ctx: Context): Promise<Asset[]> {
        const assets: Asset[] = [];
        for await (const { value } of ctx.stub.getStateByRange('', '')) {
            assets.push(JSON.parse(Buffer.from(value).toString()) as Asset);
        }
        return assets;
    }
}
