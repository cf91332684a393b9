package konsort

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// silence: the server says something at least every 15 seconds; a stream that is silent for so long is dead.
const silence = 45 * time.Second

// Event is something that happened.
type Event struct {
	// ID is its place in the stream; EventOptions.After goes on after it.
	ID string
	// Topic is block, transaction, contract_event, operation or node; or gap: events in between are not kept any more.
	Topic string
	// Data is {topic, at, network, channel, …}.
	Data map[string]any
}

// EventOptions say which events.
type EventOptions struct {
	// Topics; default: all but transaction.
	Topics []string
	// Network: only of this one.
	Network string
	// After is the id of an event to go on after; default: what comes next.
	After string
}

// Events reads the stream of events and connects again by itself, going on after the last event that was seen. Close it when done.
type Events struct {
	client *Client
	ctx    context.Context
	cancel context.CancelFunc
	query  string
	last   string
	answer io.ReadCloser
	lines  *bufio.Reader
	watch  *time.Timer
}

// Events gives a connected stream: what happens after that is not missed.
func (client *Client) Events(ctx context.Context, options EventOptions) (*Events, error) {
	query := url.Values{}
	if len(options.Topics) > 0 {
		query.Set("topics", strings.Join(options.Topics, ","))
	}
	if options.Network != "" {
		query.Set("network", options.Network)
	}
	ctx, cancel := context.WithCancel(ctx)
	events := &Events{client: client, ctx: ctx, cancel: cancel, query: query.Encode(), last: options.After}
	if err := events.connect(); err != nil {
		cancel()
		return nil, err
	}
	return events, nil
}

// Close ends the stream.
func (events *Events) Close() {
	events.cancel()
	events.disconnect()
}

// Next waits for the next event.
func (events *Events) Next() (Event, error) {
	for {
		event, err := events.read()
		if err == nil {
			return event, nil
		}
		var malformed *json.SyntaxError
		if errors.As(err, &malformed) {
			return Event{}, err
		}
		if events.ctx.Err() != nil {
			return Event{}, events.ctx.Err()
		}
		if err := events.connect(); err != nil {
			return Event{}, err
		}
	}
}

func (events *Events) disconnect() {
	if events.answer != nil {
		events.watch.Stop()
		events.answer.Close()
		events.answer = nil
	}
}

func (events *Events) connect() error {
	events.disconnect()
	for attempt := 1; ; attempt++ {
		retryAfter, err := events.once()
		if err == nil {
			return nil
		}
		var problem *Problem
		final := events.ctx.Err() != nil || isAboutCertificates(err)
		if errors.As(err, &problem) {
			final = !mayBeSentAgain(problem, false)
		}
		if final || attempt >= events.client.transport.attempts {
			return err
		}
		if err := pause(events.ctx, attempt, retryAfter); err != nil {
			return err
		}
	}
}

func (events *Events) once() (retryAfter string, err error) {
	address := events.client.url + "/v1/events?" + events.query
	request, err := http.NewRequestWithContext(events.ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	for name, value := range events.client.transport.headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Accept", "text/event-stream")
	if events.last != "" {
		request.Header.Set("Last-Event-ID", events.last)
	}
	answer, err := events.client.transport.inner.RoundTrip(request)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		return answer.Header.Get("Retry-After"), readProblem(answer.StatusCode, body)
	}
	events.answer = answer.Body
	events.lines = bufio.NewReader(answer.Body)
	events.watch = time.AfterFunc(silence, func() { answer.Body.Close() })
	return "", nil
}

// read reads one event of the present connection.
func (events *Events) read() (Event, error) {
	if events.answer == nil {
		return Event{}, io.EOF
	}
	event, data := Event{Topic: "message"}, []string{}
	for {
		line, err := events.lines.ReadString('\n')
		if err != nil {
			return Event{}, err
		}
		events.watch.Reset(silence)
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "id":
			event.ID = value
		case name == "event":
			event.Topic = value
		case name == "data":
			data = append(data, value)
		case name == "" && value == "":
			if event.ID != "" {
				events.last = event.ID
			}
			if len(data) == 0 {
				event = Event{Topic: "message"}
				continue
			}
			err := json.Unmarshal([]byte(strings.Join(data, "\n")), &event.Data)
			return event, err
		}
	}
}
