'use strict';

const { Contract } = require('fabric-contract-api');

// The time of the transaction, which is the same on every endorser; the clock of the machine is not.
const now = (ctx) => {
    const { seconds } = ctx.stub.getTxTimestamp();
    return new Date(Number(seconds) * 1000).toISOString();
};

const caller = (ctx) => `${ctx.clientIdentity.getMSPID()}:${ctx.clientIdentity.getID()}`;

const checked = (hash) => {
    if (!/^[0-9a-f]{64}$/.test(hash)) {
        throw new Error('the hash must have 64 lower-case hex digits (SHA-256 or SM3)');
    }
    return hash;
};

const read = async (ctx, hash) => {
    const bytes = await ctx.stub.getState(checked(hash));
    if (bytes.length === 0) {
        throw new Error(`nothing is deposited under ${hash}`);
    }
    return JSON.parse(bytes.toString());
};

const write = async (ctx, event, record) => {
    const bytes = Buffer.from(JSON.stringify(record));
    await ctx.stub.putState(record.hash, bytes);
    ctx.stub.setEvent(event, bytes);
    return bytes.toString();
};

// Records that a document existed at a time, by its hash; the document itself stays outside.
class Evidence extends Contract {
    constructor() {
        super('Evidence');
    }

    async Deposit(ctx, hash, kind, note) {
        if ((await ctx.stub.getState(checked(hash))).length > 0) {
            throw new Error(`${hash} is deposited already`);
        }
        const record = { hash, kind, note, owner: caller(ctx), time: now(ctx), revoked: '', attestations: [] };
        return write(ctx, 'Deposited', record);
    }

    async Attest(ctx, hash, statement) {
        const record = await read(ctx, hash);
        if (record.revoked) {
            throw new Error(`${hash} is revoked: ${record.revoked}`);
        }
        record.attestations.push({ witness: caller(ctx), time: now(ctx), statement });
        return write(ctx, 'Attested', record);
    }

    async Revoke(ctx, hash, reason) {
        const record = await read(ctx, hash);
        if (record.owner !== caller(ctx)) {
            throw new Error('only who deposited it may revoke it');
        }
        record.revoked = reason || 'without a reason';
        return write(ctx, 'Revoked', record);
    }

    async Verify(ctx, hash) {
        return JSON.stringify(await read(ctx, hash));
    }

    async History(ctx, hash) {
        const changes = [];
        for await (const { txId, value } of ctx.stub.getHistoryForKey(checked(hash))) {
            changes.push({ txId, record: JSON.parse(Buffer.from(value).toString()) });
        }
        return JSON.stringify(changes);
    }
}

module.exports.Evidence = Evidence;
