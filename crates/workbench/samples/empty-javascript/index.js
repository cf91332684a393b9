'use strict';

const { Contract } = require('fabric-contract-api');

class MyContract extends Contract {
    constructor() {
        super('MyContract');
    }

    async Write(ctx, key, text) {
        await ctx.stub.putState(key, Buffer.from(text));
    }

    async Read(ctx, key) {
        return (await ctx.stub.getState(key)).toString();
    }
}

module.exports.contracts = [MyContract];
