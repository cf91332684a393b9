package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// collection is the collection whose members see the prices; everybody sees the offers and the hashes of prices. See
// collections.json.
const collection = "prices"

// Offers keeps public offers with prices that only members of a collection see.
type Offers struct {
	contractapi.Contract
}

// Offer is what everybody may see.
type Offer struct {
	ID     string `json:"id"`
	Item   string `json:"item"`
	Seller string `json:"seller"`
}

// GetEvaluateTransactions names what only reads.
func (c *Offers) GetEvaluateTransactions() []string {
	return []string{"ReadOffer", "ReadPrice", "VerifyPrice"}
}

// CreateOffer makes an offer. Transient: price, with a salt in it ("100;some random text"), or its hash could be guessed.
func (c *Offers) CreateOffer(ctx contractapi.TransactionContextInterface, id string, item string) error {
	value, err := ctx.GetStub().GetState(id)
	if err != nil {
		return err
	}
	if value != nil {
		return fmt.Errorf("the offer %s already exists", id)
	}
	secret, err := price(ctx)
	if err != nil {
		return err
	}
	seller, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return err
	}
	offer, err := json.Marshal(Offer{id, item, seller})
	if err != nil {
		return err
	}
	if err := ctx.GetStub().PutState(id, offer); err != nil {
		return err
	}
	return ctx.GetStub().PutPrivateData(collection, id, secret)
}

// ReadOffer gives what everybody may see of an offer.
func (c *Offers) ReadOffer(ctx contractapi.TransactionContextInterface, id string) (*Offer, error) {
	value, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, fmt.Errorf("the offer %s does not exist", id)
	}
	var offer Offer
	if err := json.Unmarshal(value, &offer); err != nil {
		return nil, err
	}
	return &offer, nil
}

// ReadPrice gives the price, on peers of members.
func (c *Offers) ReadPrice(ctx contractapi.TransactionContextInterface, id string) (string, error) {
	secret, err := ctx.GetStub().GetPrivateData(collection, id)
	if err != nil {
		return "", err
	}
	if secret == nil {
		return "", fmt.Errorf("there is no price of %s here: either it does not exist or this peer is not in the collection", id)
	}
	return string(secret), nil
}

// VerifyPrice tells whether the price in the transient data is the recorded one; works on peers that do not have it.
func (c *Offers) VerifyPrice(ctx contractapi.TransactionContextInterface, id string) (bool, error) {
	recorded, err := ctx.GetStub().GetPrivateDataHash(collection, id)
	if err != nil {
		return false, err
	}
	given, err := price(ctx)
	if err != nil {
		return false, err
	}
	hash := sha256.Sum256(given)
	return bytes.Equal(hash[:], recorded), nil
}

// DeleteOffer withdraws an offer.
func (c *Offers) DeleteOffer(ctx contractapi.TransactionContextInterface, id string) error {
	offer, err := c.ReadOffer(ctx, id)
	if err != nil {
		return err
	}
	caller, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return err
	}
	if offer.Seller != caller {
		return errors.New("only the seller may withdraw an offer")
	}
	if err := ctx.GetStub().DelState(id); err != nil {
		return err
	}
	return ctx.GetStub().DelPrivateData(collection, id)
}

func price(ctx contractapi.TransactionContextInterface) ([]byte, error) {
	transient, err := ctx.GetStub().GetTransient()
	if err != nil {
		return nil, err
	}
	secret := transient["price"]
	if len(secret) == 0 {
		return nil, errors.New("the price must be in the transient data under \"price\", so that it is not recorded")
	}
	return secret, nil
}
