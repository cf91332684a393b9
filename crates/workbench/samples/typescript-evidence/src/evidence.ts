import { Context, Contract, Info, Returns, Transaction } from 'fabric-contract-api';
import { Deposit } from './record';

/** The time of the transaction, which is the same on every endorser; the clock of the machine is not. */
function now(ctx: Context): string {
    return new Date(Number(ctx.stub.getTxTimestamp().seconds) * 1000).toISOString();
}

function caller(ctx: Context): string {
    return `${ctx.clientIdentity.getMSPID()}:${ctx.clientIdentity.getID()}`;
}

function checked(hash: string): string {
    if (!/^[0-9a-f]{64}$/.test(hash)) {
        throw new Error('the hash must have 64 lower-case hex digits (SHA-256 or SM3)');
    }
    return hash;
}

async function read(ctx: Context, hash: string): Promise<Deposit> {
    const bytes = await ctx.stub.getState(checked(hash));
    if (bytes.length === 0) {
        throw new Error(`nothing is deposited under ${hash}`);
    }
    return JSON.parse(bytes.toString()) as Deposit;
}

async function write(ctx: Context, event: string, record: Deposit): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(record));
    await ctx.stub.putState(record.hash, bytes);
    ctx.stub.setEvent(event, bytes);
}

@Info({ title: 'Evidence', description: 'Records that a document existed at a time, by its hash' })
export class Evidence extends Contract {
    constructor() {
        super('Evidence');
    }

    @Transaction()
    async Deposit(ctx: Context, hash: string, kind: string, note: string): Promise<void> {
        if ((await ctx.stub.getState(checked(hash))).length > 0) {
            throw new Error(`${hash} is deposited already`);
        }
        const [owner, time] = [caller(ctx), now(ctx)];
        await write(ctx, 'Deposited', { hash, kind, note, owner, time, revoked: '', attestations: [] });
    }

    @Transaction()
    async Attest(ctx: Context, hash: string, statement: string): Promise<void> {
        const record = await read(ctx, hash);
        if (record.revoked !== '') {
            throw new Error(`${hash} is revoked: ${record.revoked}`);
        }
        record.attestations.push({ witness: caller(ctx), time: now(ctx), statement });
        await write(ctx, 'Attested', record);
    }

    @Transaction()
    async Revoke(ctx: Context, hash: string, reason: string): Promise<void> {
        const record = await read(ctx, hash);
        if (record.owner !== caller(ctx)) {
            throw new Error('only who deposited it may revoke it');
        }
        record.revoked = reason || 'without a reason';
        await write(ctx, 'Revoked', record);
    }

    @Transaction(false)
    @Returns('Deposit')
    async Verify(ctx: Context, hash: string): Promise<Deposit> {
        return read(ctx, hash);
    }
}
