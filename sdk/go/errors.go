package konsort

import (
	"encoding/json"
	"fmt"

	"example.com/konsort/sdk/generated"
)

// Problem is an answer that reports a problem (RFC 9457). Find it with errors.As.
type Problem struct {
	// Status is the HTTP status.
	Status int `json:"status"`
	// Code is a stable word for programs; of an answer that did not come from Konsort, http_ and the status.
	Code string `json:"code"`
	// Title says what happened, Detail what exactly happened here, Hint what to do about it.
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
	// Params are values that belong to it.
	Params map[string]any `json:"params"`
	// TraceID is the id of the request in the server's log.
	TraceID string `json:"trace_id"`
}

func readProblem(status int, body []byte) *Problem {
	problem := &Problem{}
	if json.Unmarshal(body, problem) != nil || problem.Code == "" {
		*problem = Problem{Code: fmt.Sprintf("http_%d", status), Title: "the answer did not come from Konsort"}
	}
	problem.Status = status
	return problem
}

func (problem *Problem) Error() string {
	text := fmt.Sprintf("%d %s: %s", problem.Status, problem.Code, orElse(problem.Detail, problem.Title))
	if problem.Hint != "" {
		text += "; " + problem.Hint
	}
	return text
}

// OperationFailed is a long act that failed or was cancelled.
type OperationFailed struct {
	// Code is a stable word: of the failed step, or cancelled.
	Code string
	// Cause says what went wrong, Remedy what to do.
	Cause, Remedy string
	// Operation is all of it.
	Operation *api.OperationView
}

func operationFailed(operation *api.OperationView) *OperationFailed {
	state := string(operation.State)
	failed := &OperationFailed{Code: state, Cause: "the operation was " + state, Operation: operation}
	for _, step := range operation.Steps {
		if step.Error != nil {
			failed.Code, failed.Cause, failed.Remedy = step.Error.Code, step.Error.Cause, step.Error.Remedy
			break
		}
	}
	return failed
}

func (failed *OperationFailed) Error() string {
	return fmt.Sprintf("%s %s: %s: %s; %s",
		failed.Operation.Kind, failed.Operation.Subject, failed.Code, failed.Cause, failed.Remedy)
}

// CallFailed is a call that had no effect.
type CallFailed struct {
	// Method is what was called.
	Method string
	// Call is all of it; its code is the engine's.
	Call *api.CallView
}

func (failed *CallFailed) Error() string {
	return fmt.Sprintf("%s had no effect: %s", failed.Method, orElse(failed.Call.GetExplanation(), failed.Call.GetCode()))
}
