/**
 * Quick start: deploys a contract, then on each engine writes, reads, looks at the transaction and hears of it.
 *
 * KONSORT_URL and KONSORT_KEY say where and who; KONSORT_CA names the certificates for https.
 */

import { readFileSync } from "node:fs";
import { Client } from "../src/index.js";

const { KONSORT_URL = "http://127.0.0.1:8080", KONSORT_KEY, KONSORT_CA } = process.env;
const client = new Client(KONSORT_URL, { key: KONSORT_KEY, ca: KONSORT_CA && readFileSync(KONSORT_CA, "utf8") });
const networks = new Map((await client.networks.listNetworks()).items.map((network) => [network.engine as string, network.id]));

// A long act: begin it and wait for its end.
const deployRequest = {
  name: `assets_${crypto.randomUUID().slice(0, 8)}`,
  artifact: { kind: "builtin", name: "asset-transfer" } as const,
};
const deployed = await client.wait(client.contracts.deployContract({ id: networks.get("fabric")!, deployRequest }));
console.log(`deployed ${deployRequest.name} in ${deployed.steps.length} steps`);

/** The same for both engines. */
async function writeAndRead(engine: string, contract: string, create: string, args: unknown[], read: string, field: string) {
  const network = networks.get(engine)!;
  const events = await client.events({ topics: ["transaction", "contract_event"], network });
  const written = await client.call(contract, create, args);
  const value = (await client.call(contract, read, [args[0]])).output[field];
  const transaction = await client.explorer.getTransaction({ id: network, tx: written.transaction! });
  for await (const event of events) {
    if (event.data.transaction !== written.transaction) continue;
    if (String(value) !== String(args.at(-1)) || transaction.height !== written.height || event.data.height !== written.height) {
      throw new Error(`${engine}: what was written is not what is there`);
    }
    console.log(`${engine}: wrote ${args.at(-1)}, read ${value}, block ${transaction.height}, heard of it as event ${event.id}`);
    return;
  }
}

const name = crypto.randomUUID();
const basic = (deployed.request as { contract: string }).contract;
await writeAndRead("fabric", basic, "CreateAsset", [name, "blue", 5, "Tom", 300], "ReadAsset", "AppraisedValue");
const { items } = await client.contracts.listContracts({ network: networks.get("bcos")! });
const asset = items.find((contract) => contract.name === "Asset")!;
await writeAndRead("bcos", asset.id, "create", [name, "made with the SDK", "300"], "read", "value");
console.log("done");
