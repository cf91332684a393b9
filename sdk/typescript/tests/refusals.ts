/** What is refused arrives as an error with its code; a session works as a key does. Prints one line for each. */

import { api, CallFailed, Client, OperationFailed, Problem } from "../src/index.js";

const url = process.env.KONSORT_URL!;
const client = new Client(url, { key: process.env.KONSORT_KEY!, language: "zh" });
const asset = (await client.contracts.listContracts({ name: "Asset" })).items[0]!;

async function refused<T extends Error>(kind: new (...args: any[]) => T, act: () => Promise<unknown>): Promise<T> {
  try {
    await act();
  } catch (error) {
    if (error instanceof kind && error.message !== "") return error;
    throw error;
  }
  throw new Error(`nothing was refused; ${kind.name} was expected`);
}

const problem = await refused(Problem, () => client.call(asset.id, "nothing", []));
console.log(problem.status, problem.code, problem.params.what, problem.title);
const call = await refused(CallFailed, () => client.call(asset.id, "read", ["nothing"]));
console.log("no effect:", call.call.explanation?.includes("does not exist") ? "True" : "False");
const deployRequest = { name: "Broken", artifact: { kind: "evm", bytecode: "fe", abi: [] } as const };
const deploy = { id: asset.network, deployRequest: deployRequest as unknown as api.DeployRequest };
const failed = await refused(OperationFailed, () => client.wait(client.contracts.deployContract(deploy)));
console.log(failed.code, failed.operation.state);
const plan = await client.request("POST", `/v1/networks/${asset.network}/stop`, undefined, { dry_run: true });
console.log("plan:", plan.steps.length > 0 ? "True" : "False");

const name = `sdk-${crypto.randomUUID()}`;
const user = await client.access.createUser({ newUserRequest: { username: name, role: "platform_admin" } });
const person = await Client.logIn(url, name, user.initialPassword!);
const made = await person.organisations.createOrganisation({ newOrganisation: { name } });
console.log((await person.session.getSession()).proof, made.name === name ? "True" : "False");
await person.session.logOut();
console.log((await refused(Problem, () => person.session.getSession())).code);
