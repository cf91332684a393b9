package konsort;

/** Anything that the server or a network said no to. */
public abstract class KonsortException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private final String code;

  KonsortException(String code, String text) {
    super(text);
    this.code = code;
  }

  /** Stable word for programs; texts are in the client's language. */
  public String code() {
    return code;
  }

  static String orElse(String value, String otherwise) {
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
