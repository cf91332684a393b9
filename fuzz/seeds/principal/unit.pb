3
Org1MSPclient xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx