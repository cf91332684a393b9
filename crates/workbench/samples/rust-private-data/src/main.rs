//! Public offers with prices that only members of a collection see.

use std::fmt::Write as _;

use bytes::Bytes;
use fabric_shim::{Contract, ContractError, Reply, Stub};
use serde::{Deserialize, Serialize};

/// Members of this collection see the prices; everybody sees the offers and the hashes of prices. See collections.json.
const COLLECTION: &str = "prices";

struct Offers;

#[derive(Serialize, Deserialize)]
struct Offer {
    id: String,
    item: String,
    seller: String,
}

impl Contract for Offers {
    async fn invoke(&self, stub: &Stub) -> Reply {
        match stub.function() {
            // Transient: price, with a salt in it ("100;some random text"), or its hash could be guessed.
            "CreateOffer" => {
                let [id, item] = stub.parameters()?;
                if stub.get_state(id).await?.is_some() {
                    return Err(format!("the offer {id} already exists").into());
                }
                let secret = price(stub)?;
                let seller = stub.client_identity()?.mspid().to_owned();
                let offer = serde_json::to_vec(&Offer { id: id.to_owned(), item: item.to_owned(), seller })?;
                stub.put_state(id, offer.clone()).await?;
                stub.put_private(COLLECTION, id, secret).await?;
                Ok(offer.into())
            }
            "ReadOffer" => {
                let [id] = stub.parameters()?;
                Ok(serde_json::to_vec(&read(stub, id).await?)?.into())
            }
            "ReadPrice" => {
                let [id] = stub.parameters()?;
                stub.get_private(COLLECTION, id).await?.ok_or_else(|| {
                    ContractError::new(format!(
                        "there is no price of {id} here: either it does not exist or this peer is not in the collection"
                    ))
                })
            }
            // Whether a SHA-256 is that of the recorded price; works on peers that do not have the price.
            "VerifyPriceHash" => {
                let [id, hash] = stub.parameters()?;
                let recorded = stub.private_hash(COLLECTION, id).await?.unwrap_or_default();
                let mut digits = String::new();
                for byte in &recorded {
                    write!(digits, "{byte:02x}").map_err(|error| ContractError::new(error.to_string()))?;
                }
                Ok((!digits.is_empty() && digits == hash).to_string().into())
            }
            "DeleteOffer" => {
                let [id] = stub.parameters()?;
                let offer = read(stub, id).await?;
                if offer.seller != stub.client_identity()?.mspid() {
                    return Err("only the seller may withdraw an offer".into());
                }
                stub.delete_state(id).await?;
                stub.delete_private(COLLECTION, id).await?;
                Ok(Bytes::new())
            }
            other => Err(format!("there is no function {other}").into()),
        }
    }
}

async fn read(stub: &Stub, id: &str) -> Result<Offer, ContractError> {
    let value = stub.get_state(id).await?;
    let value = value.ok_or_else(|| ContractError::new(format!("the offer {id} does not exist")))?;
    Ok(serde_json::from_slice(&value)?)
}

fn price(stub: &Stub) -> Result<Bytes, ContractError> {
    let secret = stub.transient()?.get("price").cloned().unwrap_or_default();
    if secret.is_empty() {
        return Err("the price must be in the transient data under \"price\", so that it is not recorded".into());
    }
    Ok(secret)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let shutdown = konsort_node::Shutdown::new();
    shutdown.on_signals()?;
    fabric_shim::run(Offers, &konsort_node::Environment::process(), &args, shutdown).await?;
    Ok(())
}
