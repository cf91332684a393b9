package konsort;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Optional;
import java.util.Timer;
import java.util.TimerTask;
import java.util.function.Supplier;
import javax.net.ssl.SSLHandshakeException;

/**
 * Reads the stream of events and connects again by itself, going on after the last event that was seen. It is connected when it is
 * made: what happens after that is not missed. Close it when done.
 */
public final class Events implements Iterator<Event>, Iterable<Event>, AutoCloseable {
  /** The server says something at least every 15 seconds; a stream that is silent for so long is dead. */
  private static final long SILENCE_MS = 45_000;
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private final HttpClient http;
  private final Supplier<HttpRequest.Builder> request;
  private final int attempts;
  private final Timer watch = new Timer("konsort-events", true);
  private volatile InputStream stream;
  private volatile long heard;
  private volatile boolean closed;
  private BufferedReader lines;
  private String last;

  Events(HttpClient http, Supplier<HttpRequest.Builder> request, int attempts, String last)
      throws IOException, InterruptedException {
    this.http = http;
    this.request = request;
    this.attempts = attempts;
    this.last = last;
    connect();
    watch.schedule(new TimerTask() {
      @Override
      public void run() {
        if (System.currentTimeMillis() - heard > SILENCE_MS) {
          disconnect();
        }
      }
    }, SILENCE_MS / 9, SILENCE_MS / 9);
  }

  @Override
  public Iterator<Event> iterator() {
    return this;
  }

  /** Whether the stream is open; it has no end of its own. */
  @Override
  public boolean hasNext() {
    return !closed;
  }

  /** Waits for the next event. */
  @Override
  public Event next() {
    try {
      while (true) {
        try {
          Event event = read();
          if (event != null) {
            return event;
          }
        } catch (IOException broken) {
          // As if it had ended: below it is connected again.
        }
        if (closed) {
          throw new IllegalStateException("the stream of events is closed");
        }
        connect();
      }
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while waiting for events", stopped);
    }
  }

  /** Ends the stream. */
  @Override
  public void close() {
    closed = true;
    watch.cancel();
    disconnect();
  }

  private void disconnect() {
    try {
      if (stream != null) {
        stream.close();
      }
    } catch (IOException gone) {
      // That is what was wanted.
    }
  }

  private void connect() throws IOException, InterruptedException {
    disconnect();
    for (int attempt = 1; ; attempt++) {
      Optional<String> retryAfter = Optional.empty();
      try {
        HttpRequest.Builder asked = request.get().header("Accept", "text/event-stream");
        if (last != null) {
          asked.header("Last-Event-ID", last);
        }
        HttpResponse<InputStream> answer = http.send(asked.build(), BodyHandlers.ofInputStream());
        if (answer.statusCode() == 200) {
          heard = System.currentTimeMillis();
          stream = answer.body();
          lines = new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8));
          return;
        }
        retryAfter = answer.headers().firstValue("Retry-After");
        throw Problem.read(answer.statusCode(), new String(answer.body().readAllBytes(), StandardCharsets.UTF_8));
      } catch (SSLHandshakeException certificate) {
        throw certificate;
      } catch (IOException broken) {
        if (attempt >= attempts || closed) {
          throw broken;
        }
      } catch (Problem problem) {
        if (attempt >= attempts || !Transport.mayBeSentAgain(problem, false)) {
          throw problem;
        }
      }
      Transport.pause(attempt, retryAfter);
    }
  }

  /** An event of the present connection; null at its end. */
  private Event read() throws IOException {
    String id = null;
    String topic = "message";
    StringBuilder data = null;
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      heard = System.currentTimeMillis();
      if (line.isEmpty()) {
        if (id != null) {
          last = id;
        }
        if (data != null) {
          return new Event(last, topic, MAPPER.readTree(data.toString()));
        }
        topic = "message";
        continue;
      }
      int at = line.indexOf(':');
      String name = at < 0 ? line : line.substring(0, at);
      String value = at < 0 ? "" : line.substring(line.startsWith(" ", at + 1) ? at + 2 : at + 1);
      switch (name) {
        case "id" -> id = value;
        case "event" -> topic = value;
        case "data" -> data = data == null ? new StringBuilder(value) : data.append('\n').append(value);
        default -> { }
      }
    }
    return null;
  }
}
