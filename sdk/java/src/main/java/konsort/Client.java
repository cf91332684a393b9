package konsort;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import konsort.api.AccessApi;
import konsort.api.ApiClient;
import konsort.api.ApiException;
import konsort.api.AuditApi;
import konsort.api.ChannelsApi;
import konsort.api.ContractsApi;
import konsort.api.ExplorerApi;
import konsort.api.IdentitiesApi;
import konsort.api.MembersApi;
import konsort.api.NetworksApi;
import konsort.api.NodesApi;
import konsort.api.OperationsApi;
import konsort.api.OrganisationsApi;
import konsort.api.ProjectsApi;
import konsort.api.ServerApi;
import konsort.api.SessionApi;
import konsort.api.SettingsApi;
import konsort.api.model.CallBody;
import konsort.api.model.CallView;
import konsort.api.model.Credentials;
import konsort.api.model.Mode;
import konsort.api.model.OperationState;
import konsort.api.model.OperationView;

/**
 * A server, as somebody sees it. The generated API is in {@code networks}, {@code contracts}, {@code explorer}, …; an idempotency
 * key is filled in where null is given.
 */
public final class Client {
  public final AccessApi access;
  public final AuditApi audit;
  public final ChannelsApi channels;
  public final ContractsApi contracts;
  public final ExplorerApi explorer;
  public final IdentitiesApi identities;
  public final MembersApi members;
  public final NetworksApi networks;
  public final NodesApi nodes;
  public final OperationsApi operations;
  public final OrganisationsApi organisations;
  public final ProjectsApi projects;
  public final ServerApi server;
  public final SessionApi session;
  public final SettingsApi settings;

  private final String url;
  private final HttpClient http;
  private final Transport transport;
  private final int attempts;
  private final Map<String, String> headers = new LinkedHashMap<>();
  private final ObjectMapper mapper = ApiClient.createDefaultObjectMapper();

  private Client(Builder builder) {
    url = builder.url.replaceAll("/+$", "");
    attempts = builder.attempts;
    headers.put("Accept-Language", builder.language);
    if (builder.key != null) {
      headers.put("Authorization", "Bearer " + builder.key);
    }
    // Version 1.1: an upgrade in the middle of a repetition is one thing less to go wrong.
    HttpClient.Builder maker = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10));
    if (builder.trust != null) {
      maker.sslContext(builder.trust);
    }
    http = maker.build();
    transport = new Transport(http, attempts, builder.timeout);
    ApiClient api = new ApiClient() {
      @Override
      public HttpClient getHttpClient() {
        return transport;
      }
    };
    api.updateBaseUri(url);
    api.setReadTimeout(builder.timeout);
    api.setRequestInterceptor(request -> headers.forEach(request::setHeader));
    access = new AccessApi(api);
    audit = new AuditApi(api);
    channels = new ChannelsApi(api);
    contracts = new ContractsApi(api);
    explorer = new ExplorerApi(api);
    identities = new IdentitiesApi(api);
    members = new MembersApi(api);
    networks = new NetworksApi(api);
    nodes = new NodesApi(api);
    operations = new OperationsApi(api);
    organisations = new OrganisationsApi(api);
    projects = new ProjectsApi(api);
    server = new ServerApi(api);
    session = new SessionApi(api);
    settings = new SettingsApi(api);
  }

  /** Begins to describe a client. */
  public static Builder to(String url) {
    return new Builder(url);
  }

  /** How a client reaches its server. */
  public static final class Builder {
    private final String url;
    private String key;
    private SSLContext trust;
    private String language = "en";
    private int attempts = 6;
    private Duration timeout = Duration.ofMinutes(2);

    private Builder(String url) {
      this.url = url;
    }

    /** An API key ({@code kst_…}); or use {@link #logIn}. */
    public Builder key(String value) {
      key = value;
      return this;
    }

    /** Certificates (PEM) that the server's is checked against; default: those of the system. */
    public Builder ca(byte[] pem) throws GeneralSecurityException, IOException {
      KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
      store.load(null, null);
      var found = CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem));
      if (found.isEmpty()) {
        throw new GeneralSecurityException("there is no certificate in the trust root");
      }
      int number = 0;
      for (Certificate certificate : found) {
        store.setCertificateEntry("ca" + number++, certificate);
      }
      TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      managers.init(store);
      trust = SSLContext.getInstance("TLS");
      trust.init(null, managers.getTrustManagers(), null);
      return this;
    }

    /** Language of titles and hints: {@code en} (default) or {@code zh}. */
    public Builder language(String value) {
      language = value;
      return this;
    }

    /** How often a request is sent at most; default 6. */
    public Builder attempts(int value) {
      attempts = value;
      return this;
    }

    /** For the answer to one try; default two minutes. A call that is submitted is answered when it is committed. */
    public Builder timeout(Duration value) {
      timeout = value;
      return this;
    }

    /** The client. */
    public Client build() {
      return new Client(this);
    }

    /** A client with a session; it ends with {@code session.logOut} or by time. */
    public Client logIn(String username, String password) throws ApiException {
      Client client = new Client(this);
      var answer = client.session.logInWithHttpInfo(new Credentials().username(username).password(password), null);
      List<String> cookies = answer.getHeaders().getOrDefault("set-cookie", List.of());
      cookies.forEach(cookie -> client.headers.put("Cookie", cookie.split(";")[0]));
      client.headers.put("x-csrf-token", answer.getData().getCsrfToken());
      return client;
    }
  }

  /** Any request: the JSON of its answer. For what the generated API leaves out, such as {@code dry_run}. */
  public JsonNode request(String method, String path, Object body) throws IOException, InterruptedException {
    var content = body == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(mapper.writeValueAsBytes(body));
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + path)).method(method, content);
    headers.forEach(request::setHeader);
    request.setHeader("Content-Type", "application/json").setHeader("Accept", "application/json");
    return mapper.readTree(transport.send(request.build(), BodyHandlers.ofByteArray()).body());
  }

  /** Waits ten minutes for the end of a long act. */
  public OperationView await(OperationView operation) throws ApiException, InterruptedException, TimeoutException {
    return await(operation, Duration.ofMinutes(10));
  }

  /**
   * Waits for the end of a long act and gives it.
   *
   * @throws OperationFailed when it did not succeed
   * @throws TimeoutException when it is not done; it goes on by itself
   */
  public OperationView await(OperationView begun, Duration timeout)
      throws ApiException, InterruptedException, TimeoutException {
    OperationView operation = begun;
    long until = System.nanoTime() + timeout.toNanos();
    long pause = 100;
    var ends = EnumSet.of(OperationState.DONE, OperationState.FAILED, OperationState.CANCELLED);
    while (!ends.contains(operation.getState())) {
      if (System.nanoTime() > until) {
        throw new TimeoutException("operation " + operation.getId() + " is not done after " + timeout + "; it goes on by itself");
      }
      Thread.sleep(pause);
      pause = Math.min(pause * 3 / 2, 2000);
      operation = operations.getOperation(operation.getId());
    }
    if (operation.getState() != OperationState.DONE) {
      throw OperationFailed.of(operation);
    }
    return operation;
  }

  /** Calls a contract's method; {@code arguments} is a list, or a map by name. */
  public CallView call(String contract, String method, Object arguments) throws ApiException {
    return call(contract, method, null, new CallBody().arguments(arguments));
  }

  /**
   * Calls a contract's method and gives the outcome. Read-only methods are evaluated, others submitted: the answer comes when the
   * transaction is committed.
   *
   * @throws CallFailed when it had no effect
   */
  public CallView call(String contract, String method, Mode mode, CallBody body) throws ApiException {
    CallView outcome = contracts.callContract(contract, method, body, mode, null);
    if (!outcome.getOk()) {
      throw new CallFailed(method, outcome);
    }
    return outcome;
  }

  /**
   * Which events.
   *
   * @param topics of {@code block}, {@code transaction}, {@code contract_event}, {@code operation}, {@code node}; none: all but
   *     {@code transaction}
   * @param network only of this one; may be null
   * @param after id of an event to go on after; null: what comes next
   */
  public record EventQuery(List<String> topics, String network, String after) {}

  /** The stream of events, connected. */
  public Events events(EventQuery asked) throws IOException, InterruptedException {
    StringBuilder query = new StringBuilder("?");
    if (!asked.topics().isEmpty()) {
      query.append("topics=").append(String.join(",", asked.topics())).append('&');
    }
    if (asked.network() != null) {
      query.append("network=").append(URLEncoder.encode(asked.network(), StandardCharsets.UTF_8));
    }
    URI address = URI.create(url + "/v1/events" + query);
    return new Events(http, () -> {
      HttpRequest.Builder request = HttpRequest.newBuilder(address);
      headers.forEach(request::setHeader);
      return request;
    }, attempts, asked.after());
  }
}
