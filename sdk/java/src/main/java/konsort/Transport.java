package konsort;

import java.io.IOException;
import java.net.Authenticator;
import java.net.CookieHandler;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpResponse.PushPromiseHandler;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.ThreadLocalRandom;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSession;

/**
 * Sends requests, and sends them again where that is safe.
 *
 * <p>A write carries an idempotency key, the same one in every repetition: the server carries it out once and answers repetitions as
 * it answered the first. Repeated are requests whose connection failed or that got 429, 502, 503 or 504, and writes whose first try
 * is still running. One answer is final for writes: a 502 of Konsort itself, which says that a node did not answer in time. The
 * transaction may still be committed, so the caller must look before trying again.
 *
 * <p>Answers of failure become a {@link Problem}.
 */
final class Transport extends HttpClient {
  private static final Set<Integer> AGAIN = Set.of(429, 502, 503, 504);
  private final HttpClient inner;
  private final int attempts;
  private final Duration patience;

  Transport(HttpClient inner, int attempts, Duration patience) {
    this.inner = inner;
    this.attempts = attempts;
    this.patience = patience;
  }

  @Override
  public <T> HttpResponse<T> send(HttpRequest asked, BodyHandler<T> handler) throws IOException, InterruptedException {
    boolean writes = !Set.of("GET", "HEAD").contains(asked.method());
    HttpRequest request = asked;
    if (writes && asked.headers().firstValue("Idempotency-Key").isEmpty()) {
      request = HttpRequest.newBuilder(asked, (name, value) -> true)
          .header("Idempotency-Key", UUID.randomUUID().toString()).build();
    }
    long until = System.nanoTime() + patience.toNanos();
    for (int attempt = 1; ; ) {
      HttpResponse<byte[]> answer;
      try {
        answer = inner.send(request, BodyHandlers.ofByteArray());
      } catch (SSLHandshakeException certificate) {
        // A certificate does not become better by waiting.
        throw certificate;
      } catch (IOException broken) {
        if (attempt >= attempts) {
          throw broken;
        }
        pause(attempt++, Optional.empty());
        continue;
      }
      if (answer.statusCode() < 400) {
        return new Answer<>(answer, read(answer, handler));
      }
      Problem problem = Problem.read(answer.statusCode(), new String(answer.body(), StandardCharsets.UTF_8));
      if (problem.code().equals("idempotency_in_progress")) {
        // Only waits for what an earlier try began.
        if (System.nanoTime() > until) {
          throw problem;
        }
      } else if (attempt >= attempts || !mayBeSentAgain(problem, writes)) {
        throw problem;
      } else {
        attempt++;
      }
      pause(attempt, answer.headers().firstValue("Retry-After"));
    }
  }

  /** Whether a repetition makes sense and cannot double anything. */
  static boolean mayBeSentAgain(Problem problem, boolean writes) {
    if (writes && problem.code().equals("node_unreachable")) {
      return false;
    }
    return AGAIN.contains(problem.status());
  }

  /** Waits until the next try: as long as the server asks for, or twice as long every time, with some chance in it. */
  static void pause(int attempt, Optional<String> retryAfter) throws InterruptedException {
    double seconds = Math.min(0.2 * Math.pow(2, attempt - 1), 10) * ThreadLocalRandom.current().nextDouble(0.5, 1);
    try {
      seconds = retryAfter.map(Double::parseDouble).map(asked -> Math.min(Math.max(asked, 0), 60)).orElse(seconds);
    } catch (NumberFormatException date) {
      // A date: our own time is good enough.
    }
    Thread.sleep((long) (seconds * 1000));
  }

  /** An answer's bytes as the caller wants them. */
  private static <T> T read(HttpResponse<byte[]> answer, BodyHandler<T> handler) {
    HttpResponse.BodySubscriber<T> subscriber = handler.apply(new HttpResponse.ResponseInfo() {
      @Override
      public int statusCode() {
        return answer.statusCode();
      }

      @Override
      public HttpHeaders headers() {
        return answer.headers();
      }

      @Override
      public Version version() {
        return answer.version();
      }
    });
    subscriber.onSubscribe(new Flow.Subscription() {
      @Override
      public void request(long count) {}

      @Override
      public void cancel() {}
    });
    subscriber.onNext(List.of(ByteBuffer.wrap(answer.body())));
    subscriber.onComplete();
    return subscriber.getBody().toCompletableFuture().join();
  }

  private record Answer<T>(HttpResponse<byte[]> from, T body) implements HttpResponse<T> {
    @Override
    public int statusCode() {
      return from.statusCode();
    }

    @Override
    public HttpRequest request() {
      return from.request();
    }

    @Override
    public Optional<HttpResponse<T>> previousResponse() {
      return Optional.empty();
    }

    @Override
    public HttpHeaders headers() {
      return from.headers();
    }

    @Override
    public Optional<SSLSession> sslSession() {
      return from.sslSession();
    }

    @Override
    public URI uri() {
      return from.uri();
    }

    @Override
    public Version version() {
      return from.version();
    }
  }

  @Override
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, BodyHandler<T> handler) {
    return CompletableFuture.supplyAsync(() -> {
      try {
        return send(request, handler);
      } catch (IOException failed) {
        throw new CompletionException(failed);
      } catch (InterruptedException stopped) {
        Thread.currentThread().interrupt();
        throw new CompletionException(stopped);
      }
    });
  }

  @Override
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(
      HttpRequest request, BodyHandler<T> handler, PushPromiseHandler<T> pushed) {
    return sendAsync(request, handler);
  }

  @Override
  public Optional<CookieHandler> cookieHandler() {
    return inner.cookieHandler();
  }

  @Override
  public Optional<Duration> connectTimeout() {
    return inner.connectTimeout();
  }

  @Override
  public Redirect followRedirects() {
    return inner.followRedirects();
  }

  @Override
  public Optional<ProxySelector> proxy() {
    return inner.proxy();
  }

  @Override
  public SSLContext sslContext() {
    return inner.sslContext();
  }

  @Override
  public SSLParameters sslParameters() {
    return inner.sslParameters();
  }

  @Override
  public Optional<Authenticator> authenticator() {
    return inner.authenticator();
  }

  @Override
  public Version version() {
    return inner.version();
  }

  @Override
  public Optional<Executor> executor() {
    return inner.executor();
  }
}
