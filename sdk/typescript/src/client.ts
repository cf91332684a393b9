/** The client. */

import * as api from "../generated/index.js";
import { CallFailed, OperationFailed } from "./errors.js";
import { Events } from "./events.js";
import { type Fetch, fetchTrusting, repeating } from "./transport.js";

/** How a client reaches its server. */
export interface Options {
  /** An API key (`kst_…`); or use `Client.logIn` with a name and a password. */
  key?: string;
  /** Certificates (PEM) that the server's is checked against, in Node; default: those of the system. */
  ca?: string;
  /** Language of titles and hints; default `en`. */
  language?: "en" | "zh";
  /** How often a request is sent at most; default 6. */
  attempts?: number;
  /** Milliseconds for the answer to one try; default two minutes. A call that is submitted is answered when it is committed. */
  timeoutMs?: number;
  /** Instead of the built-in `fetch`. */
  fetch?: Fetch;
}

/** Other fields of a call. */
export type CallOptions = Omit<api.CallBody, "arguments"> & { mode?: api.Mode };

/** Which events. */
export interface EventOptions {
  /** Default: all but `transaction`. */
  topics?: ("block" | "transaction" | "contract_event" | "operation" | "node")[];
  /** Only of this network. */
  network?: string;
  /** Go on after this event; default: what comes next. */
  lastEventId?: string;
}

/**
 * A server, as somebody sees it. The generated API is in `networks`, `contracts`, `explorer`, …; a method's `idempotencyKey` is
 * filled in when it is absent.
 */
export class Client {
  readonly access: api.AccessApi;
  readonly audit: api.AuditApi;
  readonly channels: api.ChannelsApi;
  readonly contracts: api.ContractsApi;
  readonly explorer: api.ExplorerApi;
  readonly identities: api.IdentitiesApi;
  readonly members: api.MembersApi;
  readonly networks: api.NetworksApi;
  readonly nodes: api.NodesApi;
  readonly operations: api.OperationsApi;
  readonly organisations: api.OrganisationsApi;
  readonly projects: api.ProjectsApi;
  readonly server: api.ServerApi;
  readonly session: api.SessionApi;
  readonly settings: api.SettingsApi;
  readonly url: string;

  readonly #headers: Record<string, string>;
  readonly #fetch: Fetch;
  readonly #send: Fetch;
  readonly #attempts: number;

  constructor(url: string, options: Options = {}) {
    this.url = url.replace(/\/+$/, "");
    this.#headers = { "accept-language": options.language ?? "en" };
    if (options.key !== undefined) this.#headers["authorization"] = `Bearer ${options.key}`;
    this.#attempts = options.attempts ?? 6;
    const send = options.fetch ?? (options.ca ? fetchTrusting(options.ca) : (to, init) => fetch(to, init));
    // The key is for this server only: nobody is followed to another.
    this.#fetch = (to, init) => send(to, { ...init, redirect: "manual" });
    this.#send = repeating(this.#fetch, this.#attempts, options.timeoutMs ?? 120_000);
    const configuration = new api.Configuration({
      basePath: this.url,
      fetchApi: (input, init) => this.#send(String(input), init ?? {}),
      headers: this.#headers,
      // Errors as they are, not inside of another one.
      middleware: [{ onError: ({ error }) => Promise.reject(error) }],
    });
    this.access = new api.AccessApi(configuration);
    this.audit = new api.AuditApi(configuration);
    this.channels = new api.ChannelsApi(configuration);
    this.contracts = new api.ContractsApi(configuration);
    this.explorer = new api.ExplorerApi(configuration);
    this.identities = new api.IdentitiesApi(configuration);
    this.members = new api.MembersApi(configuration);
    this.networks = new api.NetworksApi(configuration);
    this.nodes = new api.NodesApi(configuration);
    this.operations = new api.OperationsApi(configuration);
    this.organisations = new api.OrganisationsApi(configuration);
    this.projects = new api.ProjectsApi(configuration);
    this.server = new api.ServerApi(configuration);
    this.session = new api.SessionApi(configuration);
    this.settings = new api.SettingsApi(configuration);
  }

  /** A client with a session; it ends with `client.session.logOut()` or by time. */
  static async logIn(url: string, username: string, password: string, options: Options = {}): Promise<Client> {
    const client = new Client(url, options);
    const answer = await client.session.logInRaw({ credentials: { username, password } });
    const cookie = answer.raw.headers.getSetCookie()[0];
    // A browser keeps it by itself.
    if (cookie) client.#headers["cookie"] = cookie.split(";")[0] ?? "";
    client.#headers["x-csrf-token"] = (await answer.value()).csrfToken ?? "";
    return client;
  }

  /** Any request: the JSON of its answer. For what the generated API leaves out, such as `dry_run`. */
  async request(method: string, path: string, body?: unknown, query: Record<string, string | boolean> = {}): Promise<any> {
    const pairs = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    const answer = await this.#send(`${this.url}${path}${pairs.size ? `?${pairs}` : ""}`, {
      method,
      headers: { ...this.#headers, accept: "application/json", "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return text === "" ? undefined : JSON.parse(text);
  }

  /** Waits for the end of a long act and gives it; throws `OperationFailed`, or an error on time-out (the act goes on). */
  async wait(begun: api.OperationView | Promise<api.OperationView>, timeoutMs = 600_000): Promise<api.OperationView> {
    const until = Date.now() + timeoutMs;
    let operation = await begun;
    const ends: string[] = ["done", "failed", "cancelled"];
    for (let pause = 100; !ends.includes(operation.state); pause = Math.min(pause * 1.5, 2000)) {
      if (Date.now() > until) {
        throw new Error(`operation ${operation.id} is not done after ${timeoutMs} ms; it goes on by itself`);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      operation = await this.operations.getOperation({ id: operation.id });
    }
    if (operation.state !== "done") throw new OperationFailed(operation);
    return operation;
  }

  /**
   * Calls a contract's method and gives the outcome; throws `CallFailed` when it had no effect. Read-only methods are evaluated,
   * others submitted: the answer comes when the transaction is committed.
   */
  async call(contract: string, method: string, args: unknown, options: CallOptions = {}): Promise<api.CallView> {
    const { mode, ...others } = options;
    const callBody = { arguments: args, ...others };
    const outcome = await this.contracts.callContract({ id: contract, method, mode, callBody });
    if (!outcome.ok) throw new CallFailed(method, outcome);
    return outcome;
  }

  /** The stream of events, connected. */
  events(options: EventOptions = {}): Promise<Events> {
    const query = new URLSearchParams();
    if (options.topics) query.set("topics", options.topics.join(","));
    if (options.network) query.set("network", options.network);
    return Events.open(this.#fetch, `${this.url}/v1/events?${query}`, this.#headers, this.#attempts, options.lastEventId);
  }
}
