

Org1MSP

Org1MSP