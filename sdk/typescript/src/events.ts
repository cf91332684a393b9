/** The stream of events (`GET /v1/events`). */

import { Problem } from "./errors.js";
import { type Fetch, isAboutCertificates, mayBeSentAgain, pause } from "./transport.js";

/** The server says something at least every 15 seconds; a stream that is silent for so long is dead. */
const SILENCE_MS = 45_000;

/** Something that happened. */
export interface Event {
  /** Its place in the stream; `lastEventId` goes on after it. */
  id: string;
  /** `block`, `transaction`, `contract_event`, `operation`, `node`; `gap`: events in between are not kept any more. */
  topic: string;
  /** `{topic, at, network, channel, …}`. */
  data: Record<string, any>;
}

/** So many events wait for their reader before no more are read. */
const MOST_WAITING = 10_000;

/**
 * Iterates over events and connects again by itself, going on after the last event that came. `Client.events` gives it connected:
 * what happens after that is not missed. Leaving the loop ends the stream; so does `close`.
 */
export class Events implements AsyncIterable<Event> {
  #cut = new AbortController();
  #closed = false;
  #failure?: { error: unknown };
  #waiting: Event[] = [];
  #wake = () => {};

  private constructor(
    private readonly send: Fetch,
    private readonly url: string,
    private readonly headers: Record<string, string>,
    private readonly attempts: number,
    private lastEventId?: string,
  ) {}

  /** A connected stream. */
  static async open(
    send: Fetch,
    url: string,
    headers: Record<string, string>,
    attempts: number,
    lastEventId?: string,
  ): Promise<Events> {
    const events = new Events(send, url, headers, attempts, lastEventId);
    const answer = await events.#connect();
    // In the background: a body that breaks drops what was not read from it.
    void events.#receive(answer);
    return events;
  }

  /** Ends the stream. */
  close(): void {
    this.#closed = true;
    this.#cut.abort();
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Event> {
    try {
      for (;;) {
        const event = this.#waiting.shift();
        this.#wake();
        if (event) yield event;
        else if (this.#failure) throw this.#failure.error;
        else if (this.#closed) return;
        else await this.#change();
      }
    } finally {
      this.close();
    }
  }

  /** Waits until there is more, or less, or an end. */
  #change(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  async #receive(first: Response): Promise<void> {
    try {
      for (let answer = first; ; answer = await this.#connect()) {
        for await (const event of this.#read(answer)) {
          this.#waiting.push(event);
          this.#wake();
          while (this.#waiting.length >= MOST_WAITING && !this.#closed) await this.#change();
        }
        if (this.#closed) return;
      }
    } catch (error) {
      this.#failure = { error };
      this.#wake();
    }
  }

  async #connect(): Promise<Response> {
    const headers: Record<string, string> = { ...this.headers, accept: "text/event-stream" };
    if (this.lastEventId !== undefined) headers["last-event-id"] = this.lastEventId;
    for (let attempt = 1; ; attempt += 1) {
      this.#cut = new AbortController();
      const silence = setTimeout(() => this.#cut.abort(), SILENCE_MS);
      let retryAfter: string | null = null;
      try {
        const answer = await this.send(this.url, { headers, signal: this.#cut.signal });
        if (answer.ok) return answer;
        retryAfter = answer.headers.get("retry-after");
        throw new Problem(answer.status, await answer.text());
      } catch (error) {
        const final = error instanceof Problem ? !mayBeSentAgain(error, false) : isAboutCertificates(error);
        if (final || this.#closed || attempt >= this.attempts) throw error;
      } finally {
        clearTimeout(silence);
      }
      await pause(attempt, retryAfter);
    }
  }

  /** Events of one connection, until it ends. */
  async *#read(answer: Response): AsyncGenerator<Event> {
    let fields = new Map<string, string>();
    for await (const line of this.#lines(answer)) {
      if (line !== "") {
        const [name, value] = cut(line);
        const before = name === "data" ? fields.get("data") : undefined;
        fields.set(name, before === undefined ? value : `${before}\n${value}`);
        continue;
      }
      const data = fields.get("data");
      this.lastEventId = fields.get("id") ?? this.lastEventId;
      const topic = fields.get("event") ?? "message";
      fields = new Map();
      if (data !== undefined) yield { id: this.lastEventId ?? "", topic, data: JSON.parse(data) };
    }
  }

  async *#lines(answer: Response): AsyncGenerator<string> {
    const reader = answer.body?.getReader();
    if (!reader) return;
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const silence = setTimeout(() => this.#cut.abort(), SILENCE_MS);
      let part: ReadableStreamReadResult<Uint8Array>;
      try {
        part = await reader.read();
      } catch {
        return;
      } finally {
        clearTimeout(silence);
      }
      if (part.done) return;
      const lines = (rest + decoder.decode(part.value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
  }
}

function cut(line: string): [string, string] {
  const at = line.indexOf(":");
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
}
