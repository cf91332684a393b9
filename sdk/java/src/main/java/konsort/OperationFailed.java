package konsort;

import konsort.api.model.OperationView;
import konsort.api.model.StepError;

/** A long act that failed or was cancelled; its code is that of the failed step, or {@code cancelled}. */
public final class OperationFailed extends KonsortException {
  private static final long serialVersionUID = 1L;
  private final transient OperationView operation;

  private OperationFailed(OperationView operation, String code, String text) {
    super(code, text);
    this.operation = operation;
  }

  static OperationFailed of(OperationView operation) {
    String state = operation.getState().getValue();
    StepError none = new StepError().code(state).cause("the operation was " + state).remedy("");
    StepError error = operation.getSteps().stream()
        .map(step -> step.getError()).filter(found -> found != null).findFirst().orElse(none);
    String text = operation.getKind() + " " + operation.getSubject() + ": " + error.getCode() + ": " + error.getCause()
        + "; " + error.getRemedy();
    return new OperationFailed(operation, error.getCode(), text);
  }

  /** All of it. */
  public OperationView operation() {
    return operation;
  }
}
