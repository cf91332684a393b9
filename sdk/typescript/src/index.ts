/**
 * Konsort from TypeScript: consortium networks of two engines through one API.
 *
 * ```ts
 * import { Client } from "konsort";
 *
 * const client = new Client("http://127.0.0.1:8080", { key: "kst_…" });
 * for (const network of (await client.networks.listNetworks()).items) console.log(network.name, network.height);
 * ```
 *
 * `Client` adds to the generated API (`api`) what a program needs around it: proof of who calls, repetitions that never double a
 * write, the stream of events, and waiting for long acts.
 */

export { Client, type CallOptions, type EventOptions, type Options } from "./client.js";
export { CallFailed, KonsortError, OperationFailed, Problem } from "./errors.js";
export { Events, type Event } from "./events.js";
export * as api from "../generated/index.js";
