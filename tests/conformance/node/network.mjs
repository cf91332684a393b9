// Reads the description of a running network (what `konsort up --output json` prints) and connects the stock client to it.
import { readFileSync, readdirSync } from 'node:fs';
import { createHash, createPrivateKey, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { connect, hash, signers } from '@hyperledger/fabric-gateway';
import { common } from '@hyperledger/fabric-protos';

export const network = JSON.parse(readFileSync(process.env.KONSORT_NETWORK, 'utf8'));
export const channelName = network.channel;
export const chaincodeName = process.env.KONSORT_CHAINCODE ?? network.chaincode;
export const peers = network.nodes.filter((node) => node.role === 'peer');

export function identityOf(mspId, user = 'User1') {
    const entry = network.identities.find((candidate) => candidate.mspid === mspId && candidate.name.startsWith(`${user}@`));
    const only = (folder) => readFileSync(join(entry.msp, folder, readdirSync(join(entry.msp, folder))[0]));
    return { mspId, credentials: only('signcerts'), key: createPrivateKey(only('keystore')) };
}

export function dial(peer) {
    const credentials = grpc.credentials.createSsl(readFileSync(peer.tls_ca));
    return new grpc.Client(peer.endpoint, credentials, { 'grpc.ssl_target_name_override': peer.name });
}

// A gateway through the peer of the given organisation (the first one unless told).
export function gatewayOf(mspId = peers[0].mspid, options = {}) {
    const peer = peers.find((candidate) => candidate.mspid === mspId);
    const identity = identityOf(mspId, options.user);
    const client = dial(peer);
    const gateway = connect({
        client,
        hash: hash.sha256,
        identity: { mspId: options.claimedMspId ?? mspId, credentials: options.credentials ?? identity.credentials },
        signer: options.offline ? undefined : signers.newPrivateKeySigner(options.key ?? identity.key),
        evaluateOptions: () => ({ deadline: Date.now() + 15000 }),
        endorseOptions: () => ({ deadline: Date.now() + 30000 }),
        submitOptions: () => ({ deadline: Date.now() + 15000 }),
        commitStatusOptions: () => ({ deadline: Date.now() + 60000 }),
    });
    const close = () => { gateway.close(); client.close(); };
    const net = gateway.getNetwork(channelName);
    return { gateway, client, network: net, contract: net.getContract(options.chaincode ?? chaincodeName), identity, close };
}

export const newId = (prefix = 'asset') => `${prefix}-${randomUUID()}`;
export const json = (bytes) => JSON.parse(Buffer.from(bytes).toString('utf8'));
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

async function height(peer) {
    const session = gatewayOf(peer.mspid, { chaincode: 'qscc' });
    try {
        return common.BlockchainInfo.deserializeBinary(await session.contract.evaluateTransaction('GetChainInfo', channelName)).getHeight();
    } finally { session.close(); }
}

/**
 * Waits until every peer has the blocks of the furthest one. A gateway waits for its own peer only, so without this a transaction that
 * builds on the last one may meet a peer that has not got there, as "does not exist" or as results that do not match.
 */
export async function level() {
    const furthest = Math.max(...await Promise.all(peers.map(height)));
    for (const peer of peers) {
        for (const deadline = Date.now() + 10000; await height(peer) < furthest;) {
            if (Date.now() > deadline) throw new Error(`${peer.name} has not reached block ${furthest} after 10 s`);
            await new Promise((resolve) => { setTimeout(resolve, 50); });
        }
    }
}
