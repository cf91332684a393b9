#!/usr/bin/env bash
# A network step by step, with the commands that operators type: from cryptogen to invoke, then a new batch size and a new organisation.
#
# Needs: KONSORT (the program), WORK (an empty folder), PORTS (12 free ports, separated by blanks). Prints what it does; ends with ALL STEPS DONE.
set -euo pipefail

cd "$WORK"
mkdir -p bin
for name in cryptogen configtxgen configtxlator osnadmin orderer peer discover; do ln -sf "$KONSORT" "bin/$name"; done
export PATH="$WORK/bin:$PATH"
read -r ORDERER ORDERER_ADMIN ORDERER_OPS P1 P1CC P1OPS P2 P2CC P2OPS P3 P3CC P3OPS CCAAS <<<"$PORTS"
CHANNEL=stepchannel
PIDS=()
stop() { for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done; for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done; }
trap stop EXIT
step() { echo "== $*"; }
wait_port() { for _ in $(seq 300); do if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi; sleep 0.05; done; echo "port $1 does not open"; tail -n 20 ./*.log; exit 1; }
# Repeats a command until it succeeds (a peer fetches blocks on its own time).
eventually() { for _ in $(seq 100); do if "$@" >last.out 2>&1; then return; fi; sleep 0.1; done; echo "never succeeded: $*"; cat last.out; exit 1; }

step cryptogen
cat >crypto-config.yaml <<YAML
OrdererOrgs:
  - Name: Orderer
    Domain: example.com
    EnableNodeOUs: true
    Specs:
      - Hostname: orderer
        SANS: [localhost, 127.0.0.1]
PeerOrgs:
  - Name: Org1
    Domain: org1.example.com
    EnableNodeOUs: true
    Template: { Count: 1, SANS: [localhost, 127.0.0.1] }
    Users: { Count: 1 }
  - Name: Org2
    Domain: org2.example.com
    EnableNodeOUs: true
    Template: { Count: 1, SANS: [localhost, 127.0.0.1] }
    Users: { Count: 1 }
YAML
cat >crypto-org3.yaml <<YAML
PeerOrgs:
  - Name: Org3
    Domain: org3.example.com
    EnableNodeOUs: true
    Template: { Count: 1, SANS: [localhost, 127.0.0.1] }
    Users: { Count: 1 }
YAML
cryptogen generate --config=crypto-config.yaml --output=crypto
cryptogen generate --config=crypto-org3.yaml --output=crypto

ORD="$WORK/crypto/ordererOrganizations/example.com"
org() { echo "$WORK/crypto/peerOrganizations/org$1.example.com"; }

step configtxgen
organization() { # number, anchor port
    cat <<YAML
  - &Org$1
    Name: Org$1MSP
    ID: Org$1MSP
    MSPDir: $(org "$1")/msp
    Policies:
      Readers: { Type: Signature, Rule: "OR('Org$1MSP.admin', 'Org$1MSP.peer', 'Org$1MSP.client')" }
      Writers: { Type: Signature, Rule: "OR('Org$1MSP.admin', 'Org$1MSP.client')" }
      Admins: { Type: Signature, Rule: "OR('Org$1MSP.admin')" }
      Endorsement: { Type: Signature, Rule: "OR('Org$1MSP.peer')" }
    AnchorPeers:
      - Host: 127.0.0.1
        Port: $2
YAML
}
mkdir -p cfg cfg3
cat >cfg/configtx.yaml <<YAML
Organizations:
  - &OrdererOrg
    Name: OrdererOrg
    ID: OrdererMSP
    MSPDir: $ORD/msp
    Policies:
      Readers: { Type: Signature, Rule: "OR('OrdererMSP.member')" }
      Writers: { Type: Signature, Rule: "OR('OrdererMSP.member')" }
      Admins: { Type: Signature, Rule: "OR('OrdererMSP.admin')" }
    OrdererEndpoints: [127.0.0.1:$ORDERER]
$(organization 1 "$P1")
$(organization 2 "$P2")
Capabilities:
  Channel: &ChannelCapabilities { V2_0: true }
  Orderer: &OrdererCapabilities { V2_0: true }
  Application: &ApplicationCapabilities { V2_5: true }
Application: &ApplicationDefaults
  Organizations:
  Policies: &ApplicationDefaultPolicies
    LifecycleEndorsement: { Type: ImplicitMeta, Rule: "MAJORITY Endorsement" }
    Endorsement: { Type: ImplicitMeta, Rule: "MAJORITY Endorsement" }
    Readers: { Type: ImplicitMeta, Rule: "ANY Readers" }
    Writers: { Type: ImplicitMeta, Rule: "ANY Writers" }
    Admins: { Type: ImplicitMeta, Rule: "MAJORITY Admins" }
  Capabilities:
    <<: *ApplicationCapabilities
Orderer: &OrdererDefaults
  OrdererType: etcdraft
  BatchTimeout: 100ms
  BatchSize: { MaxMessageCount: 10, AbsoluteMaxBytes: 99 MB, PreferredMaxBytes: 512 KB }
  EtcdRaft:
    Consenters:
      - Host: 127.0.0.1
        Port: $ORDERER
        ClientTLSCert: $ORD/orderers/orderer.example.com/tls/server.crt
        ServerTLSCert: $ORD/orderers/orderer.example.com/tls/server.crt
  Organizations:
  Policies:
    Readers: { Type: ImplicitMeta, Rule: "ANY Readers" }
    Writers: { Type: ImplicitMeta, Rule: "ANY Writers" }
    Admins: { Type: ImplicitMeta, Rule: "MAJORITY Admins" }
    BlockValidation: { Type: ImplicitMeta, Rule: "ANY Writers" }
Channel: &ChannelDefaults
  Policies:
    Readers: { Type: ImplicitMeta, Rule: "ANY Readers" }
    Writers: { Type: ImplicitMeta, Rule: "ANY Writers" }
    Admins: { Type: ImplicitMeta, Rule: "MAJORITY Admins" }
  Capabilities:
    <<: *ChannelCapabilities
Profiles:
  StepChannel:
    <<: *ChannelDefaults
    Orderer:
      <<: *OrdererDefaults
      Organizations: [*OrdererOrg]
      Capabilities: *OrdererCapabilities
    Application:
      <<: *ApplicationDefaults
      Organizations: [*Org1, *Org2]
YAML
printf 'Organizations:\n%s\n' "$(organization 3 "$P3")" >cfg3/configtx.yaml
FABRIC_CFG_PATH=$WORK/cfg configtxgen -profile StepChannel -channelID $CHANNEL -outputBlock genesis.block

step "start the nodes"
cat >cfg/orderer.yaml <<YAML
General:
  ListenAddress: 127.0.0.1
  ListenPort: 7050
  BootstrapMethod: none
YAML
cat >cfg/core.yaml <<YAML
peer:
  id: peer
  networkId: step
YAML
TLS=$ORD/orderers/orderer.example.com/tls
env FABRIC_CFG_PATH="$WORK/cfg" ORDERER_GENERAL_LISTENPORT="$ORDERER" ORDERER_GENERAL_LOCALMSPID=OrdererMSP \
    ORDERER_GENERAL_LOCALMSPDIR="$ORD/orderers/orderer.example.com/msp" ORDERER_GENERAL_TLS_ENABLED=true \
    ORDERER_GENERAL_TLS_PRIVATEKEY="$TLS/server.key" ORDERER_GENERAL_TLS_CERTIFICATE="$TLS/server.crt" \
    ORDERER_GENERAL_TLS_ROOTCAS="[$TLS/ca.crt]" ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE="$TLS/server.crt" \
    ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY="$TLS/server.key" ORDERER_GENERAL_CLUSTER_ROOTCAS="[$TLS/ca.crt]" \
    ORDERER_CHANNELPARTICIPATION_ENABLED=true ORDERER_ADMIN_LISTENADDRESS="127.0.0.1:$ORDERER_ADMIN" ORDERER_ADMIN_TLS_ENABLED=true \
    ORDERER_ADMIN_TLS_CERTIFICATE="$TLS/server.crt" ORDERER_ADMIN_TLS_PRIVATEKEY="$TLS/server.key" \
    ORDERER_ADMIN_TLS_ROOTCAS="[$TLS/ca.crt]" ORDERER_ADMIN_TLS_CLIENTROOTCAS="[$TLS/ca.crt]" ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED=true \
    ORDERER_FILELEDGER_LOCATION="$WORK/orderer/ledger" ORDERER_CONSENSUS_WALDIR="$WORK/orderer/wal" ORDERER_CONSENSUS_SNAPDIR="$WORK/orderer/snap" \
    ORDERER_OPERATIONS_LISTENADDRESS="127.0.0.1:$ORDERER_OPS" \
    orderer >orderer.log 2>&1 &
PIDS+=($!)

start_peer() { # number, port, chaincode port, operations port
    local home; home="$(org "$1")/peers/peer0.org$1.example.com"
    env FABRIC_CFG_PATH="$WORK/cfg" CORE_PEER_ID="peer0.org$1.example.com" CORE_PEER_ADDRESS="127.0.0.1:$2" CORE_PEER_LISTENADDRESS="127.0.0.1:$2" \
        CORE_PEER_CHAINCODEADDRESS="127.0.0.1:$3" CORE_PEER_CHAINCODELISTENADDRESS="127.0.0.1:$3" \
        CORE_PEER_GOSSIP_BOOTSTRAP="127.0.0.1:$2" CORE_PEER_GOSSIP_EXTERNALENDPOINT="127.0.0.1:$2" CORE_PEER_LOCALMSPID="Org$1MSP" \
        CORE_PEER_MSPCONFIGPATH="$home/msp" CORE_PEER_FILESYSTEMPATH="$WORK/peer$1" CORE_PEER_TLS_ENABLED=true \
        CORE_PEER_TLS_CERT_FILE="$home/tls/server.crt" CORE_PEER_TLS_KEY_FILE="$home/tls/server.key" CORE_PEER_TLS_ROOTCERT_FILE="$home/tls/ca.crt" \
        CORE_OPERATIONS_LISTENADDRESS="127.0.0.1:$4" \
        peer node start >"peer$1.log" 2>&1 &
    PIDS+=($!)
    wait_port "$2"
}
start_peer 1 "$P1" "$P1CC" "$P1OPS"
start_peer 2 "$P2" "$P2CC" "$P2OPS"
wait_port "$ORDERER"
wait_port "$ORDERER_ADMIN"

# Acts as an administrator of an organisation.
as() { # number
    export FABRIC_CFG_PATH="$WORK/cfg" CORE_PEER_TLS_ENABLED=true CORE_PEER_LOCALMSPID="Org$1MSP"
    export CORE_PEER_MSPCONFIGPATH; CORE_PEER_MSPCONFIGPATH="$(org "$1")/users/Admin@org$1.example.com/msp"
    export CORE_PEER_TLS_ROOTCERT_FILE; CORE_PEER_TLS_ROOTCERT_FILE="$(org "$1")/peers/peer0.org$1.example.com/tls/ca.crt"
    local port="P$1"; export CORE_PEER_ADDRESS="127.0.0.1:${!port}"
}
as_orderer() {
    as 1
    export CORE_PEER_LOCALMSPID=OrdererMSP CORE_PEER_MSPCONFIGPATH="$ORD/users/Admin@example.com/msp"
}
TO_ORDERER=(-o "127.0.0.1:$ORDERER" --tls --cafile "$TLS/ca.crt")

step osnadmin
ADMIN=(-o "127.0.0.1:$ORDERER_ADMIN" --ca-file "$TLS/ca.crt" --client-cert "$TLS/server.crt" --client-key "$TLS/server.key")
osnadmin channel join --channelID $CHANNEL --config-block genesis.block "${ADMIN[@]}" | tee join.out
grep -q 'Status: 201' join.out
osnadmin channel list "${ADMIN[@]}" | grep "\"name\": \"$CHANNEL\""

step "peers join"
for n in 1 2; do
    as $n
    peer channel join -b genesis.block 2>&1 | grep "Successfully submitted proposal to join channel"
    peer channel list 2>/dev/null | grep -x $CHANNEL
done

step "chaincode as a service"
mkdir -p cc
printf '{"address":"127.0.0.1:%s","dial_timeout":"10s","tls_required":false}\n' "$CCAAS" >cc/connection.json
printf '{"type":"ccaas","label":"basic_1.0"}\n' >cc/metadata.json
tar -C cc -czf cc/code.tar.gz connection.json
tar -C cc -czf basic.tgz metadata.json code.tar.gz
as 1
PACKAGE=$(peer lifecycle chaincode calculatepackageid basic.tgz)
CORE_CHAINCODE_ID_NAME=$PACKAGE CHAINCODE_ID=$PACKAGE CHAINCODE_SERVER_ADDRESS="127.0.0.1:$CCAAS" "$KONSORT" chaincode asset-transfer >chaincode.log 2>&1 &
PIDS+=($!)
wait_port "$CCAAS"
for n in 1 2; do
    as $n
    peer lifecycle chaincode install basic.tgz 2>&1 | grep "Chaincode code package identifier: $PACKAGE"
    peer lifecycle chaincode queryinstalled | grep "Package ID: $PACKAGE, Label: basic_1.0"
    peer lifecycle chaincode approveformyorg "${TO_ORDERER[@]}" -C $CHANNEL -n basic -v 1.0 --sequence 1 --package-id "$PACKAGE" 2>&1 | grep "committed with status (VALID)"
done
peer lifecycle chaincode checkcommitreadiness -C $CHANNEL -n basic -v 1.0 --sequence 1 --output json | python3 -c '
import json, sys
assert json.load(sys.stdin)["approvals"] == {"Org1MSP": True, "Org2MSP": True}'
BOTH=(--peerAddresses "127.0.0.1:$P1" --tlsRootCertFiles "$(org 1)/peers/peer0.org1.example.com/tls/ca.crt"
    --peerAddresses "127.0.0.1:$P2" --tlsRootCertFiles "$(org 2)/peers/peer0.org2.example.com/tls/ca.crt")
peer lifecycle chaincode commit "${TO_ORDERER[@]}" -C $CHANNEL -n basic -v 1.0 --sequence 1 "${BOTH[@]}" 2>&1 | grep -c "committed with status (VALID)"
peer lifecycle chaincode querycommitted -C $CHANNEL -n basic | grep "Version: 1.0, Sequence: 1, Endorsement Plugin: escc, Validation Plugin: vscc, Approvals: \[Org1MSP: true, Org2MSP: true\]"

step "invoke and query"
peer chaincode invoke "${TO_ORDERER[@]}" -C $CHANNEL -n basic "${BOTH[@]}" --waitForEvent -c '{"Args":["CreateAsset","a1","blue","5","Tomoko","300"]}' 2>&1 | tee invoke.out
grep -q "Chaincode invoke successful. result: status:200" invoke.out
peer chaincode query -C $CHANNEL -n basic -c '{"Args":["ReadAsset","a1"]}' | grep Tomoko
as 1
eventually peer chaincode query -C $CHANNEL -n basic -c '{"Args":["ReadAsset","a1"]}'

# Changes the channel's configuration by a Python expression over `config`; signers but the last sign, the last one sends.
configure() { # name, expression, signers...
    local name=$1 expression=$2; shift 2
    peer channel fetch config "$name.block" "${TO_ORDERER[@]}" -c $CHANNEL 2>/dev/null
    configtxlator proto_decode --input "$name.block" --type common.Block --output "$name.block.json"
    python3 - "$name" "$expression" <<'PY'
import json, sys
name, expression = sys.argv[1:]
block = json.load(open(f"{name}.block.json"))
config = block["data"]["data"][0]["payload"]["data"]["config"]
json.dump(config, open(f"{name}.before.json", "w"))
exec(expression)
json.dump(config, open(f"{name}.after.json", "w"))
PY
    configtxlator proto_encode --input "$name.before.json" --type common.Config --output "$name.before.pb"
    configtxlator proto_encode --input "$name.after.json" --type common.Config --output "$name.after.pb"
    configtxlator compute_update --channel_id $CHANNEL --original "$name.before.pb" --updated "$name.after.pb" --output "$name.update.pb"
    configtxlator proto_decode --input "$name.update.pb" --type common.ConfigUpdate --output "$name.update.json"
    python3 - "$name" "$CHANNEL" <<'PY'
import json, sys
name, channel = sys.argv[1:]
update = json.load(open(f"{name}.update.json"))
envelope = {"payload": {"header": {"channel_header": {"channel_id": channel, "type": 2}}, "data": {"config_update": update}}}
json.dump(envelope, open(f"{name}.envelope.json", "w"))
PY
    configtxlator proto_encode --input "$name.envelope.json" --type common.Envelope --output "$name.envelope.pb"
    while [ $# -gt 1 ]; do "as$1"; peer channel signconfigtx -f "$name.envelope.pb" 2>/dev/null; shift; done
    "as$1"
    peer channel update "${TO_ORDERER[@]}" -c $CHANNEL -f "$name.envelope.pb" 2>&1 | grep "Successfully submitted channel update"
}
as1() { as 1; }; as2() { as 2; }; asorderer() { as_orderer; }

step "a new batch size"
configure batch 'config["channel_group"]["groups"]["Orderer"]["values"]["BatchSize"]["value"]["max_message_count"] = 3' orderer
as 1
for n in 1 2 3 4 5 6 7; do
    peer chaincode invoke "${TO_ORDERER[@]}" -C $CHANNEL -n basic "${BOTH[@]}" -c "{\"Args\":[\"CreateAsset\",\"b$n\",\"red\",\"1\",\"Max\",\"$n\"]}" >/dev/null 2>&1 &
done
wait $(jobs -p | grep -v -x -F "$(printf '%s\n' "${PIDS[@]}")")
eventually peer chaincode query -C $CHANNEL -n basic -c '{"Args":["ReadAsset","b7"]}'
peer channel fetch config after.block "${TO_ORDERER[@]}" -c $CHANNEL 2>/dev/null
configtxlator proto_decode --input after.block --type common.Block | python3 -c '
import json, sys
config = json.load(sys.stdin)["data"]["data"][0]["payload"]["data"]["config"]
assert config["channel_group"]["groups"]["Orderer"]["values"]["BatchSize"]["value"]["max_message_count"] == 3
assert config["sequence"] == "1", config["sequence"]'
# No block after the change holds more than three transactions.
HEIGHT=$(peer channel getinfo -c $CHANNEL 2>/dev/null | sed 's/.*"height":\([0-9]*\).*/\1/')
for ((number = 6; number < HEIGHT; number++)); do
    peer channel fetch $number one.block "${TO_ORDERER[@]}" -c $CHANNEL 2>/dev/null
    configtxlator proto_decode --input one.block --type common.Block | python3 -c '
import json, sys
assert len(json.load(sys.stdin)["data"]["data"]) <= 3'
done

step "an update that its policy does not allow is refused"
if configure refused 'config["channel_group"]["groups"]["Orderer"]["values"]["BatchSize"]["value"]["max_message_count"] = 4' 1 2>refused.err; then
    echo "an application administrator changed the batch size"; exit 1
fi

step "a third organisation"
FABRIC_CFG_PATH=$WORK/cfg3 configtxgen -printOrg Org3MSP >org3.json
as 1
configure org3 'config["channel_group"]["groups"]["Application"]["groups"]["Org3MSP"] = json.load(open("org3.json"))' 1 2
start_peer 3 "$P3" "$P3CC" "$P3OPS"
as 3
peer channel fetch 0 zero.block "${TO_ORDERER[@]}" -c $CHANNEL 2>/dev/null
peer channel join -b zero.block 2>&1 | grep "Successfully submitted proposal to join channel"
same_height() {
    local third first
    third=$(peer channel getinfo -c $CHANNEL 2>/dev/null); as 1
    first=$(peer channel getinfo -c $CHANNEL 2>/dev/null); as 3
    [ -n "$third" ] && [ "$third" = "$first" ]
}
eventually same_height
peer lifecycle chaincode install basic.tgz 2>&1 | grep "Chaincode code package identifier: $PACKAGE"
peer lifecycle chaincode approveformyorg "${TO_ORDERER[@]}" -C $CHANNEL -n basic -v 1.0 --sequence 1 --package-id "$PACKAGE" 2>&1 | grep "committed with status (VALID)"
eventually peer chaincode query -C $CHANNEL -n basic -c '{"Args":["ReadAsset","a1"]}'
grep -q Tomoko last.out
TWO=(--peerAddresses "127.0.0.1:$P3" --tlsRootCertFiles "$(org 3)/peers/peer0.org3.example.com/tls/ca.crt" "${BOTH[@]}")
peer chaincode invoke "${TO_ORDERER[@]}" -C $CHANNEL -n basic "${TWO[@]}" --waitForEvent -c '{"Args":["TransferAsset","a1","Org3"]}' 2>&1 | grep "Chaincode invoke successful. result: status:200"
as 2
eventually peer chaincode query -C $CHANNEL -n basic -c '{"Args":["ReadAsset","a1"]}'
grep -q '"Owner":"Org3"' last.out

echo "ALL STEPS DONE"
