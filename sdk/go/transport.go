package konsort

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	randoms "math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// transport sends requests, and sends them again where that is safe.
//
// A write carries an idempotency key, the same one in every repetition: the server carries it out once and answers repetitions as
// it answered the first. Repeated are requests whose connection failed or that got 429, 502, 503 or 504, and writes whose first try
// is still running. One answer is final for writes: a 502 of Konsort itself, which says that a node did not answer in time. The
// transaction may still be committed, so the caller must look before trying again.
//
// Answers of failure become errors here (a [Problem]), so that errors.As finds them whatever was called.
type transport struct {
	inner    http.RoundTripper
	attempts int
	patience time.Duration
	headers  map[string]string
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	var content []byte
	if request.Body != nil {
		read, err := io.ReadAll(request.Body)
		request.Body.Close()
		if err != nil {
			return nil, err
		}
		content = read
	}
	writes := request.Method != http.MethodGet && request.Method != http.MethodHead
	key := request.Header.Get("Idempotency-Key")
	if key == "" {
		key = rand.Text()
	}
	until := time.Now().Add(t.patience)
	for attempt := 1; ; {
		try := request.Clone(request.Context())
		if request.Body != nil {
			try.Body = io.NopCloser(bytes.NewReader(content))
		}
		for name, value := range t.headers {
			try.Header.Set(name, value)
		}
		if writes {
			try.Header.Set("Idempotency-Key", key)
		}
		answer, err := t.once(try)
		if err == nil {
			return answer, nil
		}
		var problem *Problem
		again := request.Context().Err() == nil && !isAboutCertificates(err)
		if errors.As(err, &problem) {
			again = mayBeSentAgain(problem, writes)
		}
		switch {
		case problem != nil && problem.Code == "idempotency_in_progress" && time.Now().Before(until):
			// Only waits for what an earlier try began.
		case !again || attempt >= t.attempts:
			return nil, err
		default:
			attempt++
		}
		retryAfter := ""
		if answer != nil {
			retryAfter = answer.Header.Get("Retry-After")
		}
		if err := pause(request.Context(), attempt, retryAfter); err != nil {
			return nil, err
		}
	}
}

// once gives an answer of success with its body read; of a Problem, its headers.
func (t *transport) once(request *http.Request) (*http.Response, error) {
	answer, err := t.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("the answer was cut off: %w", err)
	}
	if answer.StatusCode >= 400 {
		return answer, readProblem(answer.StatusCode, body)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// mayBeSentAgain says whether a repetition makes sense and cannot double anything.
func mayBeSentAgain(problem *Problem, writes bool) bool {
	if writes && problem.Code == "node_unreachable" {
		return false
	}
	switch problem.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isAboutCertificates: a certificate does not become better by waiting.
func isAboutCertificates(err error) bool {
	var wrong *tls.CertificateVerificationError
	return errors.As(err, &wrong)
}

// pause waits until the next try: as long as the server asks for, or twice as long every time, with some chance in it.
func pause(ctx context.Context, attempt int, retryAfter string) error {
	wait := min(200*time.Millisecond<<min(attempt-1, 10), 10*time.Second)
	wait = wait/2 + randoms.N(wait/2)
	if seconds, err := strconv.ParseFloat(retryAfter, 64); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, 60) * float64(time.Second))
	}
	return sleep(ctx, wait)
}

func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
