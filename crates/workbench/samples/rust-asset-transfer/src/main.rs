//! Things that have an owner.

use bytes::Bytes;
use fabric_shim::{Contract, ContractError, Reply, Stub};
use serde::{Deserialize, Serialize};

struct AssetTransfer;

/// The fields are in one fixed order, so that every endorser writes the same bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asset {
    appraised_value: i64,
    color: String,
    #[serde(rename = "ID")]
    id: String,
    owner: String,
    size: i64,
}

impl Contract for AssetTransfer {
    async fn invoke(&self, stub: &Stub) -> Reply {
        match stub.function() {
            "CreateAsset" => {
                let asset = asset(stub.parameters()?)?;
                if stub.get_state(&asset.id).await?.is_some() {
                    return Err(format!("the asset {} already exists", asset.id).into());
                }
                write(stub, "CreateAsset", &asset).await
            }
            "ReadAsset" => {
                let [id] = stub.parameters()?;
                Ok(serde_json::to_vec(&read(stub, id).await?)?.into())
            }
            "UpdateAsset" => {
                let asset = asset(stub.parameters()?)?;
                read(stub, &asset.id).await?;
                write(stub, "UpdateAsset", &asset).await
            }
            // Gives the owner before.
            "TransferAsset" => {
                let [id, new_owner] = stub.parameters()?;
                let mut asset = read(stub, id).await?;
                let before = std::mem::replace(&mut asset.owner, new_owner.to_owned());
                write(stub, "TransferAsset", &asset).await?;
                Ok(before.into())
            }
            "DeleteAsset" => {
                let [id] = stub.parameters()?;
                read(stub, id).await?;
                stub.delete_state(id).await?;
                Ok(Bytes::new())
            }
            "AssetExists" => {
                let [id] = stub.parameters()?;
                Ok(stub.get_state(id).await?.is_some().to_string().into())
            }
            "GetAllAssets" => {
                let [] = stub.parameters()?;
                let rows = stub.range("", "").await?.collect().await?;
                let assets: Vec<Asset> =
                    rows.iter().map(|row| serde_json::from_slice(&row.value)).collect::<Result<_, _>>()?;
                Ok(serde_json::to_vec(&assets)?.into())
            }
            other => Err(format!("there is no function {other}").into()),
        }
    }
}

fn asset([id, color, size, owner, appraised_value]: [&str; 5]) -> Result<Asset, ContractError> {
    let number = |name: &str, text: &str| {
        text.parse::<i64>().map_err(|_| ContractError::new(format!("{name} must be a whole number, not {text}")))
    };
    Ok(Asset {
        appraised_value: number("appraisedValue", appraised_value)?,
        color: color.to_owned(),
        id: id.to_owned(),
        owner: owner.to_owned(),
        size: number("size", size)?,
    })
}

async fn read(stub: &Stub, id: &str) -> Result<Asset, ContractError> {
    let value = stub.get_state(id).await?;
    let value = value.ok_or_else(|| ContractError::new(format!("the asset {id} does not exist")))?;
    Ok(serde_json::from_slice(&value)?)
}

async fn write(stub: &Stub, event: &str, asset: &Asset) -> Reply {
    let value = serde_json::to_vec(asset)?;
    stub.put_state(&asset.id, value.clone()).await?;
    stub.set_event(event, value.clone())?;
    Ok(value.into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let shutdown = konsort_node::Shutdown::new();
    shutdown.on_signals()?;
    fabric_shim::run(AssetTransfer, &konsort_node::Environment::process(), &args, shutdown).await?;
    Ok(())
}
