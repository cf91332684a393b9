//! Records that a document existed at a time, by its hash; the document itself stays outside.

use fabric_shim::{Contract, ContractError, Reply, Stub};
use serde::{Deserialize, Serialize};

struct Evidence;

#[derive(Serialize, Deserialize)]
struct Attestation {
    witness: String,
    time: i64,
    statement: String,
}

#[derive(Serialize, Deserialize)]
struct Deposit {
    hash: String,
    kind: String,
    note: String,
    owner: String,
    /// Seconds since 1970, of the transaction: the same on every endorser, unlike the clock of the machine.
    time: i64,
    /// Why it is revoked; empty while it is valid.
    revoked: String,
    attestations: Vec<Attestation>,
}

impl Contract for Evidence {
    async fn invoke(&self, stub: &Stub) -> Reply {
        match stub.function() {
            "Deposit" => {
                let [hash, kind, note] = stub.parameters()?;
                let digits = hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
                if hash.len() != 64 || !digits {
                    return Err("the hash must have 64 lower-case hex digits (SHA-256 or SM3)".into());
                }
                if stub.get_state(hash).await?.is_some() {
                    return Err(format!("{hash} is deposited already").into());
                }
                let deposit = Deposit {
                    hash: hash.to_owned(),
                    kind: kind.to_owned(),
                    note: note.to_owned(),
                    owner: caller(stub)?,
                    time: stub.timestamp()?.0,
                    revoked: String::new(),
                    attestations: Vec::new(),
                };
                write(stub, "Deposited", &deposit).await
            }
            "Attest" => {
                let [hash, statement] = stub.parameters()?;
                let mut deposit = read(stub, hash).await?;
                if !deposit.revoked.is_empty() {
                    return Err(format!("{hash} is revoked: {}", deposit.revoked).into());
                }
                deposit.attestations.push(Attestation {
                    witness: caller(stub)?,
                    time: stub.timestamp()?.0,
                    statement: statement.to_owned(),
                });
                write(stub, "Attested", &deposit).await
            }
            "Revoke" => {
                let [hash, reason] = stub.parameters()?;
                let mut deposit = read(stub, hash).await?;
                if deposit.owner != caller(stub)? {
                    return Err("only who deposited it may revoke it".into());
                }
                deposit.revoked = if reason.is_empty() { "without a reason".to_owned() } else { reason.to_owned() };
                write(stub, "Revoked", &deposit).await
            }
            "Verify" => {
                let [hash] = stub.parameters()?;
                Ok(serde_json::to_vec(&read(stub, hash).await?)?.into())
            }
            other => Err(format!("there is no function {other}").into()),
        }
    }
}

fn caller(stub: &Stub) -> Result<String, ContractError> {
    let identity = stub.client_identity()?;
    Ok(format!("{}:{}", identity.mspid(), identity.id()))
}

async fn read(stub: &Stub, hash: &str) -> Result<Deposit, ContractError> {
    let value = stub.get_state(hash).await?;
    let value = value.ok_or_else(|| ContractError::new(format!("nothing is deposited under {hash}")))?;
    Ok(serde_json::from_slice(&value)?)
}

async fn write(stub: &Stub, event: &str, deposit: &Deposit) -> Reply {
    let value = serde_json::to_vec(deposit)?;
    stub.put_state(&deposit.hash, value.clone()).await?;
    stub.set_event(event, value.clone())?;
    Ok(value.into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let shutdown = konsort_node::Shutdown::new();
    shutdown.on_signals()?;
    fabric_shim::run(Evidence, &konsort_node::Environment::process(), &args, shutdown).await?;
    Ok(())
}
