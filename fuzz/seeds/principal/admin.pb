
Org1MSP