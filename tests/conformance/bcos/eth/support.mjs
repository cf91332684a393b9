// Where the node is, and small tools for every client.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { compiled } from './compile.mjs';

const required = (name) => process.env[name] ?? assert.fail(`set ${name}`);

export const http = required('KONSORT_ETH_HTTP');
export const ws = required('KONSORT_ETH_WS');
export const chainId = Number(required('KONSORT_ETH_CHAIN_ID'));
/** A reference node wants balances, and a few tests are about what only this chain says. */
export const reference = process.env.KONSORT_ETH_REFERENCE ?? '';
export const onlyHere = reference ? { skip: `a rule of this chain, not of ${reference}` } : {};

let id = 0;

/** Sends any JSON and gives the parsed answer. */
export async function post(body) {
    const answer = await fetch(http, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return JSON.parse(await answer.text());
}

/** One call; the whole answer. */
export const ask = (method, ...params) => post({ jsonrpc: '2.0', id: ++id, method, params });

/** One call that must succeed; its result. */
export async function rpc(method, ...params) {
    const answer = await ask(method, ...params);
    assert.equal(answer.error, undefined, `${method} ${JSON.stringify(params)}: ${JSON.stringify(answer.error)}`);
    assert.equal(answer.id, id);
    return answer.result;
}

/** One call that must fail; its error. */
export async function refusal(method, ...params) {
    const answer = await ask(method, ...params);
    assert.ok(answer.error, `${method} ${JSON.stringify(params)} was answered with ${JSON.stringify(answer.result)}`);
    assert.equal(typeof answer.error.code, 'number');
    assert.equal(typeof answer.error.message, 'string');
    return answer.error;
}

/** A fresh private key; on a reference node its account is given a balance. */
export async function freshKey(addressOf) {
    const key = `0x${randomBytes(32).toString('hex')}`;
    if (reference) await rpc('anvil_setBalance', addressOf(key), '0x56bc75e2d63100000');
    return key;
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for something to become true. */
export async function eventually(what, check, limit = 20000) {
    const until = Date.now() + limit;
    for (;;) {
        const found = await check();
        if (found) return found;
        assert.ok(Date.now() < until, `${what}: not within ${limit} ms`);
        await sleep(25);
    }
}

export const receiptOf = (hash) => eventually(`receipt of ${hash}`, () => rpc('eth_getTransactionReceipt', hash));

/** ABI and code of every contract by its name. */
export const contracts = () => JSON.parse(readFileSync(compiled(), 'utf8'));
