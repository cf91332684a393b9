/** What can go wrong. Every error has a stable `code` for programs; texts are in the client's language. */

import type { CallView, OperationView } from "../generated/index.js";

/** Anything that the server or a network said no to. */
export class KonsortError extends Error {
  constructor(
    /** Stable word. */
    readonly code: string,
    text: string,
  ) {
    super(text);
    this.name = new.target.name;
  }
}

/** An answer that reports a problem (RFC 9457). */
export class Problem extends KonsortError {
  /** What happened. */
  readonly title: string;
  /** What exactly happened here. */
  readonly detail?: string;
  /** What to do about it. */
  readonly hint: string;
  /** Values that belong to it. */
  readonly params: Record<string, unknown>;
  /** Id of the request in the server's log. */
  readonly traceId?: string;

  constructor(
    /** HTTP status. */
    readonly status: number,
    body: string,
  ) {
    const found = read(body);
    const title = found.title ?? `status ${status}`;
    // An answer that did not come from Konsort has no code of its own.
    const code = found.code ?? `http_${status}`;
    super(code, [`${status} ${code}: ${found.detail ?? title}`, found.hint].filter(Boolean).join("; "));
    this.title = title;
    this.detail = found.detail ?? undefined;
    this.hint = found.hint ?? "";
    this.params = found.params ?? {};
    this.traceId = found.trace_id;
  }
}

interface Body {
  code?: string;
  title?: string;
  detail?: string | null;
  hint?: string;
  params?: Record<string, unknown>;
  trace_id?: string;
}

function read(body: string): Body {
  try {
    const found: unknown = JSON.parse(body);
    return typeof found === "object" && found !== null ? found : {};
  } catch {
    return {};
  }
}

/** A long act that failed or was cancelled; `operation` is all of it. */
export class OperationFailed extends KonsortError {
  /** What went wrong. */
  readonly cause: string;
  /** What to do. */
  readonly remedy: string;

  constructor(readonly operation: OperationView) {
    const failed = operation.steps.find((step) => step.error);
    const code = failed?.error?.code ?? operation.state;
    const cause = failed?.error?.cause ?? `the operation was ${operation.state}`;
    const where = failed ? ` at “${failed.title}”` : "";
    const remedy = failed?.error?.remedy ?? "";
    super(code, `${operation.kind} ${operation.subject} ended${where}: ${code}: ${cause}; ${remedy}`);
    this.cause = cause;
    this.remedy = remedy;
  }
}

/** A call that had no effect; `call` is all of it. `code` is the engine's. */
export class CallFailed extends KonsortError {
  constructor(
    method: string,
    readonly call: CallView,
  ) {
    super(call.code ?? "", `${method} had no effect: ${call.explanation ?? call.code ?? "no reason was given"}`);
  }
}
