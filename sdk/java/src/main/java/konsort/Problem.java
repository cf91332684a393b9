package konsort;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;

/** An answer that reports a problem (RFC 9457). */
public final class Problem extends KonsortException {
  private static final long serialVersionUID = 1L;
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private final int status;
  private final transient JsonNode body;

  private Problem(int status, String code, String text, JsonNode body) {
    super(code, text);
    this.status = status;
    this.body = body;
  }

  static Problem read(int status, String text) {
    JsonNode body;
    try {
      body = MAPPER.readTree(text);
    } catch (JsonProcessingException notOurs) {
      body = MissingNode.getInstance();
    }
    // An answer that did not come from Konsort has no code of its own.
    String code = orElse(body.path("code").asText(""), "http_" + status);
    String what = orElse(body.path("detail").asText(""), orElse(body.path("title").asText(""), "no Konsort answered"));
    String hint = body.path("hint").asText("");
    return new Problem(status, code, status + " " + code + ": " + what + (hint.isEmpty() ? "" : "; " + hint), body);
  }

  /** HTTP status. */
  public int status() {
    return status;
  }

  /** What happened. */
  public String title() {
    return body.path("title").asText("");
  }

  /** What exactly happened here; may be empty. */
  public String detail() {
    return body.path("detail").asText("");
  }

  /** What to do about it. */
  public String hint() {
    return body.path("hint").asText("");
  }

  /** Values that belong to it. */
  public JsonNode params() {
    return body.path("params");
  }

  /** Id of the request in the server's log. */
  public String traceId() {
    return body.path("trace_id").asText("");
  }
}
