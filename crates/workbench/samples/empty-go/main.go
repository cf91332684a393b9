package main

import (
	"log"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// MyContract is what this contract is for.
type MyContract struct {
	contractapi.Contract
}

// Write writes a text.
func (c *MyContract) Write(ctx contractapi.TransactionContextInterface, key string, text string) error {
	return ctx.GetStub().PutState(key, []byte(text))
}

// Read gives a text.
func (c *MyContract) Read(ctx contractapi.TransactionContextInterface, key string) (string, error) {
	value, err := ctx.GetStub().GetState(key)
	return string(value), err
}

func main() {
	chaincode, err := contractapi.NewChaincode(&MyContract{})
	if err != nil {
		log.Fatalf("cannot make the chaincode: %v", err)
	}
	if err := chaincode.Start(); err != nil {
		log.Fatalf("cannot start the chaincode: %v", err)
	}
}
