#!/usr/bin/env bash
# Three orderers, each on a host of its own (a network namespace with its own address). Under load the leader is cut off from the other
# two, which go on; the cut is healed. Nothing acknowledged is lost or doubled, and all three hold the same chain.
#
# Needs: KONSORT (the program), WORK (an empty folder), root. Ends with PARTITION SURVIVED.
set -euo pipefail

HOSTS=$(cd "$(dirname "$0")" && pwd)/hosts.sh
cd "$WORK"
TAG=k$$
CLIENT=${TAG}c
NET=10.77.0
CHANNEL=cut
PIDS=()
finish() {
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done
    bash "$HOSTS" down "$TAG" 3
}
trap finish EXIT
step() { echo "== $*"; }
now() { date +%s%3N; }

step "hosts"
bash "$HOSTS" up "$TAG" "$NET" 3
on() { local space=$1; shift; ip netns exec "$space" "$@"; }

mkdir -p bin cfg cc
for name in cryptogen configtxgen configtxlator osnadmin orderer peer; do ln -sf "$KONSORT" "bin/$name"; done
export PATH="$WORK/bin:$PATH"

step "certificates and the genesis block"
{
    printf 'OrdererOrgs:\n  - Name: Orderer\n    Domain: example.com\n    EnableNodeOUs: true\n    Specs:\n'
    for n in 1 2 3; do printf '      - Hostname: orderer%s\n        SANS: [%s.%s]\n' $n $NET $n; done
    printf 'PeerOrgs:\n  - Name: Org1\n    Domain: org1.example.com\n    EnableNodeOUs: true\n    Template: { Count: 1, SANS: [%s.10] }\n' $NET
} >crypto.yaml
cryptogen generate --config=crypto.yaml --output=crypto
ORD="$WORK/crypto/ordererOrganizations/example.com"
ORG="$WORK/crypto/peerOrganizations/org1.example.com"
orderer_home() { echo "$ORD/orderers/orderer$1.example.com"; }
{
    cat <<YAML
Organizations:
  - &Orderer
    Name: OrdererOrg
    ID: OrdererMSP
    MSPDir: $ORD/msp
    Policies:
      Readers: { Type: Signature, Rule: "OR('OrdererMSP.member')" }
      Writers: { Type: Signature, Rule: "OR('OrdererMSP.member')" }
      Admins: { Type: Signature, Rule: "OR('OrdererMSP.admin')" }
    OrdererEndpoints: [$NET.1:7050, $NET.2:7050, $NET.3:7050]
  - &Org1
    Name: Org1MSP
    ID: Org1MSP
    MSPDir: $ORG/msp
    Policies:
      Readers: { Type: Signature, Rule: "OR('Org1MSP.member')" }
      Writers: { Type: Signature, Rule: "OR('Org1MSP.member')" }
      Admins: { Type: Signature, Rule: "OR('Org1MSP.admin')" }
      Endorsement: { Type: Signature, Rule: "OR('Org1MSP.peer')" }
Profiles:
  Cut:
    Policies: &Meta
      Readers: { Type: ImplicitMeta, Rule: "ANY Readers" }
      Writers: { Type: ImplicitMeta, Rule: "ANY Writers" }
      Admins: { Type: ImplicitMeta, Rule: "MAJORITY Admins" }
    Capabilities: { V2_0: true }
    Orderer:
      OrdererType: etcdraft
      BatchTimeout: 50ms
      BatchSize: { MaxMessageCount: 10, AbsoluteMaxBytes: 10 MB, PreferredMaxBytes: 1 MB }
      Organizations: [*Orderer]
      Policies:
        <<: *Meta
        BlockValidation: { Type: ImplicitMeta, Rule: "ANY Writers" }
      Capabilities: { V2_0: true }
      EtcdRaft:
        Options: { TickInterval: 100ms, ElectionTick: 10, HeartbeatTick: 1, MaxInflightBlocks: 5, SnapshotIntervalSize: 16 MB }
        Consenters:
YAML
    for n in 1 2 3; do
        printf '          - { Host: %s.%s, Port: 7050, ClientTLSCert: "%s", ServerTLSCert: "%s" }\n' $NET $n \
            "$(orderer_home $n)/tls/server.crt" "$(orderer_home $n)/tls/server.crt"
    done
    cat <<YAML
    Application:
      Organizations: [*Org1]
      Policies:
        <<: *Meta
        LifecycleEndorsement: { Type: ImplicitMeta, Rule: "MAJORITY Endorsement" }
        Endorsement: { Type: ImplicitMeta, Rule: "MAJORITY Endorsement" }
      Capabilities: { V2_5: true }
YAML
} >cfg/configtx.yaml
FABRIC_CFG_PATH=$WORK/cfg configtxgen -profile Cut -channelID $CHANNEL -outputBlock genesis.block 2>configtxgen.log
printf 'General:\n  BootstrapMethod: none\n' >cfg/orderer.yaml
printf 'peer:\n  keepalive:\n    deliveryClient: { interval: 2s, timeout: 2s }\n' >cfg/core.yaml

step "orderers"
for n in 1 2 3; do
    tls="$(orderer_home $n)/tls"
    ip netns exec "$TAG$n" env FABRIC_CFG_PATH="$WORK/cfg" ORDERER_GENERAL_LISTENADDRESS="$NET.$n" ORDERER_GENERAL_LISTENPORT=7050 \
        ORDERER_GENERAL_LOCALMSPID=OrdererMSP ORDERER_GENERAL_LOCALMSPDIR="$(orderer_home $n)/msp" ORDERER_GENERAL_TLS_ENABLED=true \
        ORDERER_GENERAL_TLS_PRIVATEKEY="$tls/server.key" ORDERER_GENERAL_TLS_CERTIFICATE="$tls/server.crt" ORDERER_GENERAL_TLS_ROOTCAS="[$tls/ca.crt]" \
        ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE="$tls/server.crt" ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY="$tls/server.key" \
        ORDERER_GENERAL_CLUSTER_ROOTCAS="[$tls/ca.crt]" ORDERER_CHANNELPARTICIPATION_ENABLED=true \
        ORDERER_ADMIN_LISTENADDRESS="$NET.$n:9443" ORDERER_ADMIN_TLS_ENABLED=true ORDERER_ADMIN_TLS_CERTIFICATE="$tls/server.crt" \
        ORDERER_ADMIN_TLS_PRIVATEKEY="$tls/server.key" ORDERER_ADMIN_TLS_CLIENTROOTCAS="[$tls/ca.crt]" ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED=true \
        ORDERER_FILELEDGER_LOCATION="$WORK/o$n/ledger" ORDERER_CONSENSUS_WALDIR="$WORK/o$n/wal" ORDERER_CONSENSUS_SNAPDIR="$WORK/o$n/snap" \
        ORDERER_OPERATIONS_LISTENADDRESS="$NET.$n:9444" ORDERER_METRICS_PROVIDER=prometheus orderer >"orderer$n.log" 2>&1 &
    PIDS+=($!)
done
open() { # namespace, host, port
    for _ in $(seq 300); do if on "$1" bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null; then return; fi; sleep 0.05; done
    echo "$2:$3 does not open"; tail -n 20 ./*.log; exit 1
}
CA=$(orderer_home 1)/tls/ca.crt
admin() { # number of the orderer, from that host itself
    local n=$1; shift
    on "$TAG$n" osnadmin channel "$@" -o "$NET.$n:9443" --ca-file "$CA" --client-cert "$(orderer_home 1)/tls/server.crt" --client-key "$(orderer_home 1)/tls/server.key"
}
for n in 1 2 3; do
    open "$CLIENT" $NET.$n 9443
    admin $n join --channelID $CHANNEL --config-block genesis.block | grep 'Status: 201'
done

step "peer and chaincode"
PEER="$ORG/peers/peer0.org1.example.com"
ip netns exec "$CLIENT" env FABRIC_CFG_PATH="$WORK/cfg" CORE_PEER_ID=peer0 CORE_PEER_ADDRESS=$NET.10:7051 CORE_PEER_LISTENADDRESS=$NET.10:7051 \
    CORE_PEER_CHAINCODELISTENADDRESS=$NET.10:7052 CORE_PEER_CHAINCODEADDRESS=$NET.10:7052 CORE_PEER_LOCALMSPID=Org1MSP \
    CORE_PEER_GOSSIP_BOOTSTRAP=$NET.10:7051 CORE_PEER_MSPCONFIGPATH="$PEER/msp" CORE_PEER_FILESYSTEMPATH="$WORK/peer" CORE_PEER_TLS_ENABLED=true \
    CORE_PEER_TLS_CERT_FILE="$PEER/tls/server.crt" CORE_PEER_TLS_KEY_FILE="$PEER/tls/server.key" CORE_PEER_TLS_ROOTCERT_FILE="$PEER/tls/ca.crt" \
    CORE_OPERATIONS_LISTENADDRESS=$NET.10:9444 peer node start >peer.log 2>&1 &
PIDS+=($!)
export FABRIC_CFG_PATH="$WORK/cfg" CORE_PEER_TLS_ENABLED=true CORE_PEER_LOCALMSPID=Org1MSP CORE_PEER_ADDRESS=$NET.10:7051
export CORE_PEER_MSPCONFIGPATH="$ORG/users/Admin@org1.example.com/msp" CORE_PEER_TLS_ROOTCERT_FILE="$PEER/tls/ca.crt"
open "$CLIENT" $NET.10 7051
call() { on "$CLIENT" peer "$@"; }
to() { echo "-o $NET.$1:7050 --tls --cafile $CA"; }
call channel join -b genesis.block 2>&1 | grep "Successfully submitted proposal"
printf '{"address":"127.0.0.1:9999","dial_timeout":"10s","tls_required":false}\n' >cc/connection.json
printf '{"type":"ccaas","label":"basic_1"}\n' >cc/metadata.json
tar -C cc -czf cc/code.tar.gz connection.json
tar -C cc -czf basic.tgz metadata.json code.tar.gz
PACKAGE=$(peer lifecycle chaincode calculatepackageid basic.tgz)
ip netns exec "$CLIENT" env CHAINCODE_ID="$PACKAGE" CORE_CHAINCODE_ID_NAME="$PACKAGE" CHAINCODE_SERVER_ADDRESS=127.0.0.1:9999 "$KONSORT" chaincode asset-transfer >chaincode.log 2>&1 &
PIDS+=($!)
open "$CLIENT" 127.0.0.1 9999
call lifecycle chaincode install basic.tgz 2>install.log
for _ in $(seq 50); do
    # The first leader may still be being elected.
    if call lifecycle chaincode approveformyorg $(to 1) -C $CHANNEL -n basic -v 1 --sequence 1 --package-id "$PACKAGE" >approve.log 2>&1; then break; fi
    sleep 0.2
done
grep -q "committed with status (VALID)" approve.log || { cat approve.log; exit 1; }
call lifecycle chaincode commit $(to 1) -C $CHANNEL -n basic -v 1 --sequence 1 2>&1 | grep "committed with status (VALID)"

step "load"
# A writer goes from orderer to orderer; only what was reported as committed is noted.
writer() {
    local number=0 n
    while [ ! -e stop ]; do
        number=$((number + 1)); n=$((number % 3 + 1))
        if timeout 6 ip netns exec "$CLIENT" peer chaincode invoke $(to $n) -C $CHANNEL -n basic --waitForEvent --waitForEventTimeout 5s \
            -c "{\"Args\":[\"CreateAsset\",\"w$1-$number\",\"blue\",\"1\",\"Max\",\"1\"]}" >"writer$1.log" 2>&1; then
            echo "w$1-$number $(now)" >>"committed$1"
        fi
    done
}
for w in 1 2 3; do writer $w & PIDS+=($!); done
sleep 3
leader() {
    for n in 1 2 3; do
        if on "$CLIENT" curl --noproxy "*" -s -m 2 "http://$NET.$n:9444/metrics" | grep '^consensus_etcdraft_is_leader.* 1$' >/dev/null; then echo $n; return; fi
    done
}
height() { admin "$1" list --channelID $CHANNEL | sed -n 's/.*"height": \([0-9]*\).*/\1/p'; }
OLD=$(leader)
[ -n "$OLD" ] || { echo "no orderer leads"; tail -n 3 orderer?.log; exit 1; }

step "orderer$OLD, the leader, is cut off"
bash "$HOSTS" cut "$TAG" "$OLD"
CUT=$(now)
sleep 12
CUT_HEIGHT=$(height "$OLD")
sleep 1
[ "$(height "$OLD")" = "$CUT_HEIGHT" ] || { echo "the orderer that is cut off still writes blocks"; exit 1; }
NEW=$(leader)
[ -n "$NEW" ] && [ "$NEW" != "$OLD" ] || { echo "the majority has no leader"; exit 1; }
[ "$(height "$NEW")" -gt "$CUT_HEIGHT" ] || { echo "the majority does not go on"; exit 1; }
# The first commit that began after the cut tells how long progress stood still.
RESUMED=$(cat committed? | awk -v cut="$CUT" '$2 > cut + 300 { print $2 - cut }' | sort -n | head -1)
echo "progress resumed after ${RESUMED:-never} ms"
[ -n "$RESUMED" ] && [ "$RESUMED" -lt 10000 ]

step "the cut is healed"
bash "$HOSTS" heal "$TAG" "$OLD"
sleep 4
touch stop
sleep 7
for _ in $(seq 100); do
    if [ "$(height 1)" = "$(height 2)" ] && [ "$(height 2)" = "$(height 3)" ]; then break; fi
    sleep 0.2
done
LAST=$(($(height 1) - 1))
[ "$(height 2)" = $((LAST + 1)) ] && [ "$(height 3)" = $((LAST + 1)) ] || { echo "the orderers do not reach the same height"; exit 1; }

step "the same chain everywhere, nothing lost, nothing twice"
for number in $(seq 0 $LAST); do
    for n in 1 2 3; do
        # All blocks of the orderer that was cut off, and the ends of the others' chains, whose hashes cover the rest.
        if [ "$n" = "$OLD" ] || [ "$number" -ge $((LAST - 1)) ]; then call channel fetch "$number" "block$n.$number" $(to $n) -c $CHANNEL 2>fetch.log; fi
    done
    call channel fetch "$number" "peer.$number" -c $CHANNEL 2>fetch.log
    configtxlator proto_decode --input "peer.$number" --type common.Block --output "peer.$number.json"
    configtxlator proto_decode --input "block$OLD.$number" --type common.Block --output "old.$number.json"
done
for n in 1 2 3; do configtxlator proto_decode --input "block$n.$LAST" --type common.Block --output "last$n.json"; done
call chaincode query -C $CHANNEL -n basic -c '{"Args":["GetAllAssets"]}' >assets.json
python3 - "$LAST" <<'PY'
import base64, json, sys
last = int(sys.argv[1])
load = lambda name: json.load(open(name))
headers = [load(f"last{n}.json")["header"] for n in (1, 2, 3)]
assert headers[0] == headers[1] == headers[2], headers
seen = set()
for number in range(last + 1):
    block, other = load(f"peer.{number}.json"), load(f"old.{number}.json")
    assert block["header"] == other["header"] and block["data"] == other["data"], f"block {number} differs"
    flags = base64.b64decode(block["metadata"]["metadata"][2])
    for index, envelope in enumerate(block["data"]["data"]):
        transaction = envelope["payload"]["header"]["channel_header"]["tx_id"]
        if transaction and flags[index] == 0:
            assert transaction not in seen, f"transaction {transaction} is valid twice"
            seen.add(transaction)
there = {asset["ID"] for asset in load("assets.json")}
reported = [line.split()[0] for w in (1, 2, 3) for line in open(f"committed{w}")]
lost = [key for key in reported if key not in there]
assert not lost, f"lost: {lost}"
assert len(reported) == len(set(reported)) and len(reported) > 30, len(reported)
print(f"{len(reported)} reported transactions are there, {len(seen)} valid ones in {last + 1} blocks")
PY
echo "PARTITION SURVIVED"
