import { Context, Contract, Info, Returns, Transaction } from 'fabric-contract-api';

@Info({ title: 'MyContract', description: 'What this contract is for' })
export class MyContract extends Contract {
    constructor() {
        super('MyContract');
    }

    @Transaction()
    async Write(ctx: Context, key: string, text: string): Promise<void> {
        await ctx.stub.putState(key, Buffer.from(text));
    }

    @Transaction(false)
    @Returns('string')
    async Read(ctx: Context, key: string): Promise<string> {
        return Buffer.from(await ctx.stub.getState(key)).toString();
    }
}

export const contracts: (typeof Contract)[] = [MyContract];
