// A stock Go chaincode for the conformance tests: a process that dials its peer, or a service that its peer dials.
package main

import (
	"log"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

func main() {
	chaincode, err := contractapi.NewChaincode(&AssetTransfer{})
	if err != nil {
		log.Fatalf("creating the chaincode: %v", err)
	}
	address := os.Getenv("CHAINCODE_SERVER_ADDRESS")
	if address == "" {
		if err := chaincode.Start(); err != nil {
			log.Fatalf("starting the chaincode: %v", err)
		}
		return
	}
	server := &shim.ChaincodeServer{
		CCID:     os.Getenv("CHAINCODE_ID"),
		Address:  address,
		CC:       chaincode,
		TLSProps: shim.TLSProperties{Disabled: true},
	}
	if err := server.Start(); err != nil {
		log.Fatalf("serving the chaincode: %v", err)
	}
}
