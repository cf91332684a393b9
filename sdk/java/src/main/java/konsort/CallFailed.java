package konsort;

import konsort.api.model.CallView;

/** A call that had no effect; its code is the engine's. */
public final class CallFailed extends KonsortException {
  private static final long serialVersionUID = 1L;
  private final transient CallView call;

  CallFailed(String method, CallView call) {
    super(orElse(call.getCode(), ""), method + " had no effect: " + orElse(call.getExplanation(), call.getCode()));
    this.call = call;
  }

  /** All of it. */
  public CallView call() {
    return call;
  }
}
