//! Calls straight to the nodes, with the engines' usual libraries.

use serde_json::{Value, json};

use super::literal::{arguments, name, python, shell, text};
use super::{Snippet, SnippetRequest, snippet};
use crate::interface::{Engine, Interface};
use crate::values::{Suite, encode_call, fabric_arguments};

pub(super) fn all(request: &SnippetRequest<'_>) -> Vec<Snippet> {
    match request.contract.engine {
        Engine::Fabric => fabric(request),
        Engine::Bcos => bcos(request),
    }
}

fn made(language: &str, install: &str, code: String) -> Snippet {
    snippet(language, "native", install, code)
}

fn fabric(request: &SnippetRequest<'_>) -> Vec<Snippet> {
    let given = arguments(request.method, request.arguments);
    let arguments = fabric_arguments(request.method, &given).unwrap_or_else(|_| {
        let values = given.as_object().into_iter().flatten();
        values.map(|(_, value)| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
    });
    let list: Vec<String> =
        std::iter::once(&request.method.name).chain(&arguments).map(|argument| text(argument)).collect();
    let list = list.join(", ");
    let call = if request.method.read_only { "evaluateTransaction" } else { "submitTransaction" };
    let go_call = if request.method.read_only { "EvaluateTransaction" } else { "SubmitTransaction" };
    let (endpoint, mspid) = (text(request.endpoint), text(request.mspid));
    let (channel, chaincode) = (text(request.channel), text(request.target));
    let typescript = format!(
        r#"import * as grpc from "@grpc/grpc-js";
import {{ connect, signers }} from "@hyperledger/fabric-gateway";
import {{ createPrivateKey }} from "node:crypto";
import {{ readFile }} from "node:fs/promises";

// Certificate, key and the root of the peer's TLS, as the console gives them under Members.
const credentials = grpc.credentials.createSsl(await readFile("tls-ca.pem"));
const client = new grpc.Client({endpoint}, credentials);
const gateway = connect({{
  client,
  identity: {{ mspId: {mspid}, credentials: await readFile("cert.pem") }},
  signer: signers.newPrivateKeySigner(createPrivateKey(await readFile("key.pem"))),
}});
try {{
  const contract = gateway.getNetwork({channel}).getContract({chaincode});
  const result = await contract.{call}({list});
  console.log(new TextDecoder().decode(result));
}} finally {{
  gateway.close();
  client.close();
}}
"#
    );
    let go = format!(
        r#"package main

import (
	"crypto/x509"
	"fmt"
	"log"
	"os"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

func must[T any](value T, err error) T {{
	if err != nil {{
		log.Fatal(err)
	}}
	return value
}}

func main() {{
	// Certificate, key and the root of the peer's TLS, as the console gives them under Members.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile("tls-ca.pem")))
	tls := credentials.NewClientTLSFromCert(roots, "")
	connection := must(grpc.NewClient({endpoint}, grpc.WithTransportCredentials(tls)))
	defer connection.Close()
	certificate := must(identity.CertificateFromPEM(must(os.ReadFile("cert.pem"))))
	id := must(identity.NewX509Identity({mspid}, certificate))
	key := must(identity.PrivateKeyFromPEM(must(os.ReadFile("key.pem"))))
	sign := must(identity.NewPrivateKeySign(key))
	gateway := must(client.Connect(id, client.WithSign(sign), client.WithClientConnection(connection)))
	defer gateway.Close()
	contract := gateway.GetNetwork({channel}).GetContract({chaincode})
	fmt.Println(string(must(contract.{go_call}({list}))))
}}
"#
    );
    let java = format!(
        r#"import io.grpc.Grpc;
import io.grpc.TlsChannelCredentials;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hyperledger.fabric.client.Gateway;
import org.hyperledger.fabric.client.identity.Identities;
import org.hyperledger.fabric.client.identity.Signers;
import org.hyperledger.fabric.client.identity.X509Identity;

public class Call {{
    public static void main(String[] args) throws Exception {{
        // Certificate, key and the root of the peer's TLS, as the console gives them under Members.
        var tls = TlsChannelCredentials.newBuilder().trustManager(Path.of("tls-ca.pem").toFile()).build();
        var channel = Grpc.newChannelBuilder({endpoint}, tls).build();
        var certificate = Identities.readX509Certificate(Files.newBufferedReader(Path.of("cert.pem")));
        var key = Identities.readPrivateKey(Files.newBufferedReader(Path.of("key.pem")));
        try (var gateway = Gateway.newInstance()
                .identity(new X509Identity({mspid}, certificate))
                .signer(Signers.newPrivateKeySigner(key))
                .connection(channel)
                .connect()) {{
            var contract = gateway.getNetwork({channel}).getContract({chaincode});
            byte[] result = contract.{call}({list});
            System.out.println(new String(result, StandardCharsets.UTF_8));
        }} finally {{
            channel.shutdownNow();
        }}
    }}
}}
"#
    );
    vec![
        made("typescript", "npm install @hyperledger/fabric-gateway @grpc/grpc-js", typescript),
        made("go", "go get github.com/hyperledger/fabric-gateway", go),
        made("java", "org.hyperledger.fabric:fabric-gateway:1.8.0, io.grpc:grpc-netty-shaded", java),
    ]
}

/// The ABI of the one method that is called.
fn fragment(request: &SnippetRequest<'_>) -> Value {
    let one = Interface {
        methods: vec![request.method.clone()],
        events: Vec::new(),
        errors: Vec::new(),
        constructor: None,
        engine_details: json!({}),
        ..request.contract.clone()
    };
    one.to_abi()
}

fn bcos(request: &SnippetRequest<'_>) -> Vec<Snippet> {
    let method = request.method;
    let given = arguments(method, request.arguments);
    let values: Vec<(&crate::interface::Parameter, &Value)> = method
        .parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| (parameter, &given[name(index, parameter)]))
        .collect();
    let abi = fragment(request).to_string();
    let (endpoint, address) = (text(request.endpoint), text(request.target));
    let list: Vec<String> = values.iter().map(|(_, value)| value.to_string()).collect();
    let (list, signature) = (list.join(", "), text(&method.signature));
    let separator = if list.is_empty() { "" } else { ", " };
    let typescript = if method.read_only {
        format!(
            r#"import {{ Contract, JsonRpcProvider }} from "ethers";

const provider = new JsonRpcProvider({endpoint});
const contract = new Contract({address}, {abi}, provider);
console.log(await contract.getFunction({signature})({list}));
"#
        )
    } else {
        format!(
            r#"import {{ Contract, JsonRpcProvider, Wallet }} from "ethers";

const provider = new JsonRpcProvider({endpoint});
const signer = new Wallet(process.env.PRIVATE_KEY, provider);
const contract = new Contract({address}, {abi}, signer);
const sent = await contract.getFunction({signature})({list}{separator}{{ gasPrice: 0 }});
const receipt = await sent.wait();
console.log(receipt.hash, receipt.status);
"#
        )
    };
    let python_list: Vec<String> = values.iter().map(|(parameter, value)| python(parameter, value)).collect();
    let python_list = python_list.join(", ");
    let function = format!("contract.get_function_by_signature({signature})({python_list})");
    let (endpoint_py, abi_py) = (&endpoint, text(&abi));
    let head = format!(
        r"import json
import os

from web3 import Web3

chain = Web3(Web3.HTTPProvider({endpoint_py}))
contract = chain.eth.contract(address=Web3.to_checksum_address({address}), abi=json.loads({abi_py}))
call = {function}
"
    );
    let python_code = if method.read_only {
        format!("{head}print(call.call())\n")
    } else {
        format!(
            r#"{head}account = chain.eth.account.from_key(os.environ["PRIVATE_KEY"])
transaction = call.build_transaction({{
    "from": account.address,
    "nonce": chain.eth.get_transaction_count(account.address),
    "gas": 10_000_000,
    "gasPrice": 0,
}})
signed = account.sign_transaction(transaction)
receipt = chain.eth.wait_for_transaction_receipt(chain.eth.send_raw_transaction(signed.raw_transaction))
print(receipt.transactionHash.hex(), receipt.status)
"#
        )
    };
    let mut made_all =
        vec![made("typescript", "npm install ethers", typescript), made("python", "pip install web3", python_code)];
    // Without a key only reads can be sent by hand.
    if method.read_only
        && let Ok(data) = encode_call(method, &given, Suite::Keccak)
    {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "eth_call",
            "params": [{ "to": request.target, "data": format!("0x{}", hex::encode(data)) }, "latest"],
        });
        let (endpoint, call) = (shell(request.endpoint), shell(&call.to_string()));
        let code =
            format!("curl --fail-with-body {endpoint} \\\n  -H 'Content-Type: application/json' \\\n  -d {call}\n");
        made_all.insert(0, made("curl", "", code));
    }
    made_all
}
