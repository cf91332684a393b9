// Package konsort speaks to a Konsort server: consortium networks of two engines through one API.
//
//	client, err := konsort.New("http://127.0.0.1:8080", konsort.Options{Key: "kst_…"})
//	networks, _, err := client.NetworksAPI.ListNetworks(ctx).Execute()
//
// [Client] adds to the generated API (package api in generated) what a program needs around it: proof of who calls, repetitions
// that never double a write, the stream of events, and waiting for long acts.
package konsort

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/konsort/sdk/generated"
)

// Options say how a client reaches its server.
type Options struct {
	// Key is an API key (kst_…); or use [LogIn] with a name and a password.
	Key string
	// CA holds certificates (PEM) that the server's is checked against; default: those of the system.
	CA []byte
	// Language of titles and hints: "en" (default) or "zh".
	Language string
	// Attempts is how often a request is sent at most; default 6.
	Attempts int
	// Timeout of the answer to one try; default two minutes. A call that is submitted is answered when it is committed.
	Timeout time.Duration
}

// Client is a server, as somebody sees it. The generated API is embedded: NetworksAPI, ContractsAPI, ExplorerAPI, …; an idempotency
// key is filled in where none is given.
type Client struct {
	*api.APIClient
	url       string
	transport *transport
}

// New makes a client.
func New(address string, options Options) (*Client, error) {
	address = strings.TrimRight(address, "/")
	if _, err := url.Parse(address); err != nil {
		return nil, fmt.Errorf("the server's address: %w", err)
	}
	inner := http.DefaultTransport.(*http.Transport).Clone()
	if options.CA != nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(options.CA) {
			return nil, errors.New("there is no certificate in CA")
		}
		inner.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	patience := orElse(options.Timeout, 2*time.Minute)
	inner.ResponseHeaderTimeout = patience
	headers := map[string]string{"Accept-Language": orElse(options.Language, "en")}
	if options.Key != "" {
		headers["Authorization"] = "Bearer " + options.Key
	}
	sender := &transport{inner: inner, attempts: orElse(options.Attempts, 6), patience: patience, headers: headers}
	configuration := api.NewConfiguration()
	configuration.UserAgent = "konsort-go"
	configuration.Servers = api.ServerConfigurations{{URL: address}}
	configuration.HTTPClient = &http.Client{
		Transport: sender,
		// The key is for this server only.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{APIClient: api.NewAPIClient(configuration), url: address, transport: sender}, nil
}

// LogIn makes a client with a session; it ends with SessionAPI.LogOut or by time.
func LogIn(ctx context.Context, address, username, password string, options Options) (*Client, error) {
	client, err := New(address, options)
	if err != nil {
		return nil, err
	}
	session, answer, err := client.SessionAPI.LogIn(ctx).Credentials(*api.NewCredentials(password, username)).Execute()
	if err != nil {
		return nil, err
	}
	for _, cookie := range answer.Cookies() {
		client.transport.headers["Cookie"] = cookie.Name + "=" + cookie.Value
	}
	client.transport.headers["X-Csrf-Token"] = session.GetCsrfToken()
	return client, nil
}

// Request sends any request and reads the JSON of its answer into answer (unless that is nil). It is for what the generated API
// leaves out, such as dry_run.
func (client *Client) Request(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, client.url+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := client.GetConfig().HTTPClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if answer == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// Wait waits for the end of a long act and gives it; the error is an [OperationFailed] when it did not succeed. When ctx ends, the
// act goes on.
func (client *Client) Wait(ctx context.Context, operation *api.OperationView) (*api.OperationView, error) {
	pause := 100 * time.Millisecond
	ends := []api.OperationState{api.OPERATIONSTATE_DONE, api.OPERATIONSTATE_FAILED, api.OPERATIONSTATE_CANCELLED}
	for !slices.Contains(ends, operation.State) {
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("operation %s goes on: %w", operation.Id, err)
		}
		pause = min(pause*3/2, 2*time.Second)
		next, _, err := client.OperationsAPI.GetOperation(ctx, operation.Id).Execute()
		if err != nil {
			return nil, err
		}
		operation = next
	}
	if operation.State != api.OPERATIONSTATE_DONE {
		return nil, operationFailed(operation)
	}
	return operation, nil
}

// Call calls a contract's method and gives the outcome; the error is a [CallFailed] when it had no effect. Read-only methods are
// evaluated, others submitted: the answer comes when the transaction is committed. arguments is a slice, or a map by name.
func (client *Client) Call(ctx context.Context, contract, method string, arguments any) (*api.CallView, error) {
	return client.CallWith(ctx, contract, method, "", api.CallBody{Arguments: arguments})
}

// CallWith is [Client.Call] with a mode ("evaluate", "submit" or "") and the other fields of the body.
func (client *Client) CallWith(ctx context.Context, contract, method, mode string, body api.CallBody) (*api.CallView, error) {
	request := client.ContractsAPI.CallContract(ctx, contract, method).CallBody(body)
	if mode != "" {
		request = request.Mode(api.Mode(mode))
	}
	outcome, _, err := request.Execute()
	if err != nil {
		return nil, err
	}
	if !outcome.Ok {
		return nil, &CallFailed{Method: method, Call: outcome}
	}
	return outcome, nil
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
