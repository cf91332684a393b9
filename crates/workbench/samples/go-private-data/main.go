// The chaincode's program.
package main

import (
	"log"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

func main() {
	chaincode, err := contractapi.NewChaincode(&Offers{})
	if err != nil {
		log.Fatalf("cannot make the chaincode: %v", err)
	}
	if err := chaincode.Start(); err != nil {
		log.Fatalf("cannot start the chaincode: %v", err)
	}
}
