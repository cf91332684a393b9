// Everything a client program does through the gateway: evaluate, submit, events, offline signing, and each way it can fail.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import fabric from '@hyperledger/fabric-gateway';
import { common, gateway as gatewayProtos, peer as peerProtos } from '@hyperledger/fabric-protos';
import { chaincodeName, channelName, gatewayOf, json, level, newId, peers, sha256 } from './network.mjs';

const { checkpointers, CommitError, EndorseError, GatewayError, signers } = fabric;
const mspId = process.env.KONSORT_MSPID ?? peers[0].mspid;

async function first(stream, accept, limit = 20000) {
    const timer = setTimeout(() => stream.close(), limit);
    try {
        for await (const item of stream) if (accept(item)) return item;
    } finally {
        clearTimeout(timer);
        stream.close();
    }
    throw new Error('the stream ended before the awaited item came');
}

async function create(contract, id, owner = 'Tomoko', value = '300') {
    await contract.submitTransaction('CreateAsset', id, 'blue', '5', owner, value);
    await level();
}

describe(`gateway of ${mspId}, chaincode ${chaincodeName}`, () => {
    let session;
    before(() => { session = gatewayOf(mspId); });
    after(() => session.close());

    test('submit writes and evaluate reads', async () => {
        const id = newId();
        await create(session.contract, id);
        const asset = json(await session.contract.evaluateTransaction('ReadAsset', id));
        assert.equal(asset.ID, id);
        assert.equal(asset.Owner, 'Tomoko');
        assert.equal(Number(asset.AppraisedValue), 300);
        const old = await session.contract.submitTransaction('TransferAsset', id, 'Jin Soo');
        assert.equal(Buffer.from(old).toString(), 'Tomoko');
        assert.equal(json(await session.contract.evaluateTransaction('ReadAsset', id)).Owner, 'Jin Soo');
    });

    test('every peer commits the same state', async () => {
        const id = newId();
        const proposal = session.contract.newProposal('CreateAsset', { arguments: [id, 'red', '1', 'Max', '7'] });
        const commit = await (await proposal.endorse()).submit();
        const status = await commit.getStatus();
        assert.equal(status.successful, true);
        await level();
        for (const peer of peers) {
            const other = gatewayOf(peer.mspid);
            try {
                assert.equal(json(await other.contract.evaluateTransaction('ReadAsset', id)).Owner, 'Max');
            } finally { other.close(); }
        }
    });

    test('submitAsync returns the result before the commit, whose status follows', async () => {
        const id = newId();
        await create(session.contract, id);
        const commit = await session.contract.submitAsync('TransferAsset', { arguments: [id, 'Adriana'] });
        assert.equal(Buffer.from(commit.getResult()).toString(), 'Tomoko');
        const status = await commit.getStatus();
        assert.equal(status.code, peerProtos.TxValidationCode.VALID);
        assert.equal(status.transactionId, commit.getTransactionId());
        assert.ok(status.blockNumber > 0n);
    });

    test('commit status of an earlier transaction can be asked again', async () => {
        const commit = await session.contract.submitAsync('CreateAsset', { arguments: [newId(), 'blue', '5', 'A', '1'] });
        const firstAnswer = await commit.getStatus();
        const again = await session.gateway.newSignedCommit(commit.getBytes(), await signed(session, commit.getDigest())).getStatus();
        assert.equal(again.blockNumber, firstAnswer.blockNumber);
    });

    test('offline signing of proposal, transaction, commit status and evaluation', async () => {
        const offline = gatewayOf(mspId, { offline: true });
        try {
            const id = newId();
            const unsigned = offline.contract.newProposal('CreateAsset', { arguments: [id, 'green', '9', 'Off', '11'] });
            const proposal = offline.gateway.newSignedProposal(unsigned.getBytes(), await signed(session, unsigned.getDigest()));
            const unsignedTransaction = await proposal.endorse();
            const transaction = offline.gateway.newSignedTransaction(
                unsignedTransaction.getBytes(), await signed(session, unsignedTransaction.getDigest()));
            const unsignedCommit = await transaction.submit();
            const commit = offline.gateway.newSignedCommit(unsignedCommit.getBytes(), await signed(session, unsignedCommit.getDigest()));
            assert.equal((await commit.getStatus()).successful, true);
            const query = offline.contract.newProposal('ReadAsset', { arguments: [id] });
            const signedQuery = offline.gateway.newSignedProposal(query.getBytes(), await signed(session, query.getDigest()));
            assert.equal(json(await signedQuery.evaluate()).Owner, 'Off');
        } finally { offline.close(); }
    });

    test('endorsing organisations named by the client', async () => {
        const all = peers.map((peer) => peer.mspid);
        const id = newId();
        const proposal = session.contract.newProposal('CreateAsset', {
            arguments: [id, 'blue', '5', 'Named', '1'], endorsingOrganizations: all });
        const transaction = await proposal.endorse();
        const prepared = gatewayProtos.PreparedTransaction.deserializeBinary(transaction.getBytes());
        const envelope = common.Payload.deserializeBinary(prepared.getEnvelope().getPayload_asU8());
        const action = peerProtos.ChaincodeActionPayload.deserializeBinary(
            peerProtos.Transaction.deserializeBinary(envelope.getData_asU8()).getActionsList()[0].getPayload_asU8());
        assert.equal(action.getAction().getEndorsementsList().length, all.length);
        assert.equal((await (await transaction.submit()).getStatus()).successful, true);
    });

    test('transient data reaches the chaincode call and stays out of the transaction', async () => {
        const id = newId();
        const secret = 'a secret that must not be on the ledger';
        const proposal = session.contract.newProposal('CreateAsset', {
            arguments: [id, 'blue', '5', 'Transient', '1'],
            transientData: { secret },
            endorsingOrganizations: peers.map((peer) => peer.mspid),
        });
        const transaction = await proposal.endorse();
        assert.equal(Buffer.from(transaction.getBytes()).includes(secret), false);
        assert.equal((await (await transaction.submit()).getStatus()).successful, true);
    });

    describe('events', () => {
        test('chaincode events from a block on', async () => {
            const commit = await session.contract.submitAsync('CreateAsset', { arguments: [newId(), 'blue', '5', 'E', '1'] });
            const { blockNumber, transactionId } = await commit.getStatus();
            const stream = await session.network.getChaincodeEvents(chaincodeName, { startBlock: blockNumber });
            const event = await first(stream, (candidate) => candidate.transactionId === transactionId);
            assert.equal(event.eventName, 'CreateAsset');
            assert.equal(event.blockNumber, blockNumber);
            assert.equal(event.chaincodeName, chaincodeName);
            assert.equal(json(event.payload).Owner, 'E');
        });

        test('new chaincode events without a start position', async () => {
            const stream = await session.network.getChaincodeEvents(chaincodeName);
            const id = newId();
            const awaited = first(stream, (candidate) => json(candidate.payload).ID === id);
            // The stream starts at the next block, so it must be open before the transaction is sent.
            await new Promise((resolve) => setTimeout(resolve, 500));
            await create(session.contract, id);
            assert.equal((await awaited).eventName, 'CreateAsset');
        });

        test('a checkpoint resumes after the given transaction', async () => {
            const ids = [newId(), newId(), newId()];
            const commits = [];
            for (const id of ids) {
                const commit = await session.contract.submitAsync('CreateAsset', { arguments: [id, 'blue', '5', 'C', '1'] });
                commits.push(await commit.getStatus());
            }
            const checkpoint = checkpointers.inMemory();
            await checkpoint.checkpointTransaction(commits[0].blockNumber, commits[0].transactionId);
            const stream = await session.network.getChaincodeEvents(chaincodeName, { checkpoint });
            const seen = [];
            await first(stream, (event) => {
                const { ID } = json(event.payload);
                if (ids.includes(ID)) seen.push(ID);
                return seen.length === 2;
            });
            assert.deepEqual(seen, ids.slice(1));
        });

        test('a file checkpointer survives between sessions', async () => {
            const folder = mkdtempSync(join(tmpdir(), 'konsort-checkpoint-'));
            try {
                const file = join(folder, 'checkpoint.json');
                const commits = [];
                for (let i = 0; i < 2; i += 1) {
                    const commit = await session.contract.submitAsync('CreateAsset', { arguments: [newId(), 'blue', '5', 'F', '1'] });
                    commits.push(await commit.getStatus());
                }
                const writer = await checkpointers.file(file);
                const one = await session.network.getChaincodeEvents(chaincodeName, { startBlock: commits[0].blockNumber });
                const event = await first(one, (candidate) => candidate.transactionId === commits[0].transactionId);
                await writer.checkpointChaincodeEvent(event);
                const reader = await checkpointers.file(file);
                const two = await session.network.getChaincodeEvents(chaincodeName, { checkpoint: reader });
                assert.equal((await first(two, () => true)).transactionId, commits[1].transactionId);
            } finally { rmSync(folder, { recursive: true }); }
        });

        test('block events carry whole blocks in order', async () => {
            const stream = await session.network.getBlockEvents({ startBlock: 0n });
            const numbers = [];
            let previous;
            for await (const block of stream) {
                const header = block.getHeader();
                if (previous) assert.deepEqual(Buffer.from(header.getPreviousHash_asU8()), headerHash(previous));
                assert.deepEqual(Buffer.from(header.getDataHash_asU8()), sha256(Buffer.concat(block.getData().getDataList_asU8())));
                previous = header;
                numbers.push(header.getNumber());
                if (numbers.length === 3) break;
            }
            stream.close();
            assert.deepEqual(numbers.map(Number), [0, 1, 2]);
        });

        test('filtered block events tell the validation code', async () => {
            const commit = await session.contract.submitAsync('CreateAsset', { arguments: [newId(), 'blue', '5', 'B', '1'] });
            const { blockNumber, transactionId } = await commit.getStatus();
            const stream = await session.network.getFilteredBlockEvents({ startBlock: blockNumber });
            const block = await first(stream, () => true);
            assert.equal(block.getChannelId(), channelName);
            assert.equal(BigInt(block.getNumber()), blockNumber);
            const transaction = block.getFilteredTransactionsList().find((candidate) => candidate.getTxid() === transactionId);
            assert.equal(transaction.getTxValidationCode(), peerProtos.TxValidationCode.VALID);
            const [action] = transaction.getTransactionActions().getChaincodeActionsList();
            assert.equal(action.getChaincodeEvent().getEventName(), 'CreateAsset');
            assert.equal(action.getChaincodeEvent().getPayload_asU8().length, 0);
        });

        test('block and private data events are delivered to an authorised client', async () => {
            const stream = await session.network.getBlockAndPrivateDataEvents({ startBlock: 0n });
            const block = await first(stream, () => true);
            assert.equal(Number(block.getBlock().getHeader().getNumber()), 0);
        });
    });

    describe('failures', () => {
        test('a chaincode error on evaluate is UNKNOWN with the message of the chaincode in its details', async () => {
            const error = await session.contract.evaluateTransaction('ReadAsset', newId('missing')).catch((e) => e);
            assert.ok(error instanceof GatewayError, String(error));
            assert.equal(error.code, grpc.status.UNKNOWN);
            assert.equal(error.details.length, 1);
            assert.equal(error.details[0].mspId, mspId);
            assert.match(error.details[0].message, /chaincode response 500, .*does not exist/);
        });

        test('a chaincode error on endorse is ABORTED', async () => {
            const error = await session.contract.submitTransaction('UpdateAsset', newId('missing'), 'blue', '5', 'X', '1').catch((e) => e);
            assert.ok(error instanceof EndorseError, String(error));
            assert.equal(error.code, grpc.status.ABORTED);
            assert.match(error.message, /failed to endorse transaction/);
            assert.match(error.details[0].message, /chaincode response 500, .*does not exist/);
            assert.match(error.details[0].address, /^[^:]+:\d+$/);
            assert.match(error.transactionId, /^[0-9a-f]{64}$/);
        });

        test('an unknown chaincode', async () => {
            const error = await session.network.getContract('nosuch').submitTransaction('Anything').catch((e) => e);
            assert.ok(error instanceof EndorseError, String(error));
            assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
            assert.match(error.message, /no combination of peers can be derived which satisfy the endorsement policy: No metadata was found for chaincode nosuch in channel/);
        });

        test('an unknown channel', async () => {
            const other = session.gateway.getNetwork('nosuchchannel').getContract(chaincodeName);
            const error = await other.evaluateTransaction('GetAllAssets').catch((e) => e);
            assert.ok(error instanceof GatewayError, String(error));
            assert.equal(error.code, grpc.status.UNAVAILABLE);
            assert.match(error.message, /nosuchchannel/);
        });

        test('an organisation that is not on the channel cannot be asked to endorse', async () => {
            const error = await session.contract.submit('CreateAsset', {
                arguments: [newId(), 'blue', '5', 'N', '1'], endorsingOrganizations: ['NoSuchMSP'] }).catch((e) => e);
            assert.ok(error instanceof EndorseError, String(error));
            assert.equal(error.code, grpc.status.UNAVAILABLE);
            assert.match(error.message, /NoSuchMSP/);
        });

        test('a signature by another key is refused', async () => {
            const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
            const forged = gatewayOf(mspId, { key: privateKey });
            try {
                const error = await forged.contract.submitTransaction('GetAllAssets').catch((e) => e);
                assert.ok(error instanceof EndorseError, String(error));
                assert.equal(error.code, grpc.status.ABORTED);
                assert.match(error.details[0].message, /error validating proposal: access denied: channel/);
                const query = await forged.contract.evaluateTransaction('GetAllAssets').catch((e) => e);
                assert.ok(query instanceof GatewayError, String(query));
            } finally { forged.close(); }
        });

        test('a wrong MSP id is refused', async () => {
            const wrong = gatewayOf(mspId, { claimedMspId: 'WrongMSP' });
            try {
                const error = await wrong.contract.submitTransaction('GetAllAssets').catch((e) => e);
                assert.ok(error instanceof EndorseError, String(error));
                assert.equal(error.code, grpc.status.ABORTED);
                assert.match(error.details[0].message, /error validating proposal: access denied: channel/);
            } finally { wrong.close(); }
        });

        test('two transactions on one key in flight: the later one fails with MVCC_READ_CONFLICT', async () => {
            const id = newId();
            await create(session.contract, id);
            const proposals = ['P', 'Q'].map((owner) => session.contract.newProposal('TransferAsset', { arguments: [id, owner] }));
            const transactions = await Promise.all(proposals.map((proposal) => proposal.endorse()));
            const commits = await Promise.all(transactions.map((transaction) => transaction.submit()));
            const codes = (await Promise.all(commits.map((commit) => commit.getStatus()))).map((status) => status.code).sort((a, b) => a - b);
            assert.deepEqual(codes, [peerProtos.TxValidationCode.VALID, peerProtos.TxValidationCode.MVCC_READ_CONFLICT]);
        });

        test('submitTransaction reports a failed commit as CommitError', async () => {
            const id = newId();
            await create(session.contract, id);
            const outcomes = await Promise.allSettled(['R', 'S', 'T', 'U'].map((owner) => session.contract.submitTransaction('TransferAsset', id, owner)));
            const failures = outcomes.filter((outcome) => outcome.status === 'rejected').map((outcome) => outcome.reason);
            for (const error of failures) {
                assert.ok(error instanceof CommitError, String(error));
                assert.equal(error.code, peerProtos.TxValidationCode.MVCC_READ_CONFLICT);
            }
            assert.ok(outcomes.some((outcome) => outcome.status === 'fulfilled'));
        });

        test('a replayed transaction is committed once', async () => {
            const proposal = session.contract.newProposal('CreateAsset', { arguments: [newId(), 'blue', '5', 'D', '1'] });
            const transaction = await proposal.endorse();
            const firstCommit = await transaction.submit();
            assert.equal((await firstCommit.getStatus()).successful, true);
            const replay = await transaction.submit().catch((e) => e);
            if (replay instanceof Error) assert.ok(replay instanceof GatewayError, String(replay));
            const { blockNumber } = await firstCommit.getStatus();
            const again = await proposal.endorse().catch((e) => e);
            assert.ok(again instanceof EndorseError, 'endorsing a committed transaction id again must fail');
            assert.match(JSON.stringify([again.message, again.details]), /duplicate transaction found/);
            assert.equal((await firstCommit.getStatus()).blockNumber, blockNumber);
        });

        test('a deadline that is too short', async () => {
            const error = await session.contract.newProposal('GetAllAssets').evaluate({ deadline: Date.now() - 1 }).catch((e) => e);
            assert.ok(error instanceof GatewayError, String(error));
            assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
        });
    });
});

// Signs a digest apart from the gateway object, as a key in a wallet or a device would.
const signed = (session, digest) => signers.newPrivateKeySigner(session.identity.key)(digest);

function headerHash(header) {
    const integer = (value) => {
        let hex = BigInt(value).toString(16);
        if (hex.length % 2) hex = `0${hex}`;
        let bytes = Buffer.from(hex, 'hex');
        if (bytes[0] & 0x80) bytes = Buffer.concat([Buffer.from([0]), bytes]);
        return Buffer.concat([Buffer.from([2, bytes.length]), bytes]);
    };
    const octets = (bytes) => Buffer.concat([Buffer.from([4, bytes.length]), Buffer.from(bytes)]);
    const body = Buffer.concat([integer(header.getNumber()), octets(header.getPreviousHash_asU8()), octets(header.getDataHash_asU8())]);
    return sha256(Buffer.concat([Buffer.from([0x30, body.length]), body]));
}
