package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// Evidence records that a document existed at a time, by its hash; the document itself stays outside.
type Evidence struct {
	contractapi.Contract
}

// Attestation is what a witness says of a deposit.
type Attestation struct {
	Witness   string `json:"witness"`
	Time      string `json:"time"`
	Statement string `json:"statement"`
}

// Deposit is a deposited hash. Revoked says why it is revoked and is empty while it is valid.
type Deposit struct {
	Hash         string        `json:"hash"`
	Kind         string        `json:"kind"`
	Note         string        `json:"note"`
	Owner        string        `json:"owner"`
	Time         string        `json:"time"`
	Revoked      string        `json:"revoked"`
	Attestations []Attestation `json:"attestations"`
}

var digest = regexp.MustCompile("^[0-9a-f]{64}$")

// GetEvaluateTransactions names what only reads.
func (c *Evidence) GetEvaluateTransactions() []string {
	return []string{"Verify"}
}

// Deposit records a hash.
func (c *Evidence) Deposit(ctx contractapi.TransactionContextInterface, hash string, kind string, note string) error {
	if !digest.MatchString(hash) {
		return errors.New("the hash must have 64 lower-case hex digits (SHA-256 or SM3)")
	}
	value, err := ctx.GetStub().GetState(hash)
	if err != nil {
		return err
	}
	if value != nil {
		return fmt.Errorf("%s is deposited already", hash)
	}
	owner, err := caller(ctx)
	if err != nil {
		return err
	}
	now, err := now(ctx)
	if err != nil {
		return err
	}
	return write(ctx, "Deposited", &Deposit{hash, kind, note, owner, now, "", []Attestation{}})
}

// Attest confirms a deposit.
func (c *Evidence) Attest(ctx contractapi.TransactionContextInterface, hash string, statement string) error {
	deposit, err := c.Verify(ctx, hash)
	if err != nil {
		return err
	}
	if deposit.Revoked != "" {
		return fmt.Errorf("%s is revoked: %s", hash, deposit.Revoked)
	}
	witness, err := caller(ctx)
	if err != nil {
		return err
	}
	now, err := now(ctx)
	if err != nil {
		return err
	}
	deposit.Attestations = append(deposit.Attestations, Attestation{witness, now, statement})
	return write(ctx, "Attested", deposit)
}

// Revoke marks a deposit as revoked; it stays on record.
func (c *Evidence) Revoke(ctx contractapi.TransactionContextInterface, hash string, reason string) error {
	deposit, err := c.Verify(ctx, hash)
	if err != nil {
		return err
	}
	owner, err := caller(ctx)
	if err != nil {
		return err
	}
	if deposit.Owner != owner {
		return errors.New("only who deposited it may revoke it")
	}
	if reason == "" {
		reason = "without a reason"
	}
	deposit.Revoked = reason
	return write(ctx, "Revoked", deposit)
}

// Verify gives what is known of a hash.
func (c *Evidence) Verify(ctx contractapi.TransactionContextInterface, hash string) (*Deposit, error) {
	value, err := ctx.GetStub().GetState(hash)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, fmt.Errorf("nothing is deposited under %s", hash)
	}
	var deposit Deposit
	if err := json.Unmarshal(value, &deposit); err != nil {
		return nil, err
	}
	return &deposit, nil
}

func caller(ctx contractapi.TransactionContextInterface) (string, error) {
	mspid, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return "", err
	}
	id, err := ctx.GetClientIdentity().GetID()
	return mspid + ":" + id, err
}

// now is the time of the transaction, which is the same on every endorser; the clock of the machine is not.
func now(ctx contractapi.TransactionContextInterface) (string, error) {
	timestamp, err := ctx.GetStub().GetTxTimestamp()
	if err != nil {
		return "", err
	}
	return timestamp.AsTime().Format(time.RFC3339), nil
}

func write(ctx contractapi.TransactionContextInterface, event string, deposit *Deposit) error {
	value, err := json.Marshal(deposit)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().SetEvent(event, value); err != nil {
		return err
	}
	return ctx.GetStub().PutState(deposit.Hash, value)
}
