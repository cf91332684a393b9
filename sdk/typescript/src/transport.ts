/**
 * Sends requests, and sends them again where that is safe.
 *
 * A write carries an idempotency key, the same one in every repetition: the server carries it out once and answers repetitions as it
 * answered the first. Repeated are requests whose connection failed or that got 429, 502, 503 or 504, and writes whose first try is
 * still running. One answer is final for writes: a 502 of Konsort itself, which says that a node did not answer in time. The
 * transaction may still be committed, so the caller must look before trying again.
 */

import { Problem } from "./errors.js";

/** A function like `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

const AGAIN = [429, 502, 503, 504];

/** `fetch` that trusts these certificates (PEM) instead of the system's; Node only. */
export function fetchTrusting(ca: string): Fetch {
  let made: Promise<Fetch> | undefined;
  const make = async (): Promise<Fetch> => {
    const undici = await import("undici");
    const dispatcher = new undici.Agent({ connect: { ca } });
    const send = undici.fetch as unknown as (url: string, init: object) => Promise<Response>;
    return (url, init) => send(url, { ...init, dispatcher });
  };
  return async (url, init) => (await (made ??= make()))(url, init);
}

/** Sends with repetitions: gives an answer of success with its body read, or throws. */
export function repeating(send: Fetch, attempts: number, timeoutMs: number): Fetch {
  return async (url, init) => {
    const headers = new Headers(init.headers);
    const writes = !["GET", "HEAD"].includes(init.method ?? "GET");
    if (writes && !headers.has("idempotency-key")) headers.set("idempotency-key", crypto.randomUUID());
    const until = Date.now() + timeoutMs;
    for (let attempt = 1; ; ) {
      let answer: Response;
      let body: ArrayBuffer;
      try {
        const limit = AbortSignal.timeout(timeoutMs);
        const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
        answer = await send(url, { ...init, headers, signal });
        body = await answer.arrayBuffer();
      } catch (error) {
        if (attempt >= attempts || init.signal?.aborted || isAboutCertificates(error)) throw error;
        await pause(attempt, null);
        attempt += 1;
        continue;
      }
      if (answer.ok) {
        return new Response(body.byteLength ? body : null, { status: answer.status, headers: [...answer.headers] });
      }
      const problem = new Problem(answer.status, new TextDecoder().decode(body));
      if (problem.code === "idempotency_in_progress") {
        // Only waits for what an earlier try began.
        if (Date.now() > until) throw problem;
      } else {
        if (attempt >= attempts || !mayBeSentAgain(problem, writes)) throw problem;
        attempt += 1;
      }
      await pause(attempt, answer.headers.get("retry-after"));
    }
  };
}

/** Whether a repetition makes sense and cannot double anything. */
export function mayBeSentAgain(problem: Problem, writes: boolean): boolean {
  if (writes && problem.code === "node_unreachable") return false;
  return AGAIN.includes(problem.status);
}

/** A certificate does not become better by waiting. */
export function isAboutCertificates(error: unknown): boolean {
  const code = (error as { cause?: { code?: unknown } })?.cause?.code;
  return typeof code === "string" && /CERT|ALTNAME|SELF_SIGNED|UNABLE_TO_/.test(code);
}

/** Waits until the next try: as long as the server asks for, or twice as long every time, with some chance in it. */
export function pause(attempt: number, retryAfter: string | null): Promise<void> {
  const asked = retryAfter === null ? NaN : Number(retryAfter);
  const own = Math.min(200 * 2 ** (attempt - 1), 10_000) * (0.5 + Math.random() / 2);
  return new Promise((resolve) => setTimeout(resolve, Number.isFinite(asked) ? Math.min(asked, 60) * 1000 : own));
}
