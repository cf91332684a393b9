//! The asset-transfer contract: the functions, JSON forms and texts of the well-known sample, and a plain `put` and `get`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Contract, ContractError, Reply, Stub, stub::Row};

/// The contract.
#[derive(Debug, Clone, Copy, Default)]
pub struct AssetTransfer;

/// What is on the ledger, fields in the order of their names so that every implementation writes the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Asset {
    /// What it is worth.
    pub appraised_value: i64,
    /// Its colour.
    pub color: String,
    /// Its key.
    #[serde(rename = "ID")]
    pub id: String,
    /// Who owns it.
    pub owner: String,
    /// How big it is.
    pub size: i64,
}

const FIRST_ASSETS: [(&str, &str, i64, &str, i64); 6] = [
    ("asset1", "blue", 5, "Tomoko", 300),
    ("asset2", "red", 5, "Brad", 400),
    ("asset3", "green", 10, "Jin Soo", 500),
    ("asset4", "yellow", 10, "Max", 600),
    ("asset5", "black", 15, "Adriana", 700),
    ("asset6", "white", 15, "Michel", 800),
];

/// What the contract says of itself, in the form that upstream's contract API answers with.
const METADATA: &[u8] = include_bytes!("asset_transfer/metadata.json");

impl Contract for AssetTransfer {
    async fn invoke(&self, stub: &Stub) -> Reply {
        match stub.function() {
            "InitLedger" => init_ledger(stub).await,
            "CreateAsset" => {
                let asset = asset_parameters(stub)?;
                if stub.get_state(&asset.id).await?.is_some() {
                    return Err(ContractError::new(format!("the asset {} already exists", asset.id)));
                }
                write(stub, "CreateAsset", &asset).await
            }
            "ReadAsset" => {
                let [id] = stub.parameters()?;
                stub.get_state(id).await?.ok_or_else(|| missing(id))
            }
            "UpdateAsset" => {
                let asset = asset_parameters(stub)?;
                read(stub, &asset.id).await?;
                write(stub, "UpdateAsset", &asset).await
            }
            "DeleteAsset" => {
                let [id] = stub.parameters()?;
                let asset = read(stub, id).await?;
                stub.delete_state(id).await?;
                stub.set_event("DeleteAsset", serde_json::to_vec(&asset)?)?;
                Ok(Bytes::new())
            }
            "AssetExists" => {
                let [id] = stub.parameters()?;
                Ok(stub.get_state(id).await?.is_some().to_string().into())
            }
            "TransferAsset" => {
                let [id, new_owner] = stub.parameters()?;
                let mut asset = read(stub, id).await?;
                let old_owner = std::mem::replace(&mut asset.owner, new_owner.to_owned());
                write(stub, "TransferAsset", &asset).await?;
                Ok(old_owner.into())
            }
            "GetAllAssets" => assets(stub.range("", "").await?.collect().await?),
            "GetAssetsByRange" => {
                let [start, end] = stub.parameters()?;
                assets(stub.range(start, end).await?.collect().await?)
            }
            "GetAssetsByRangeWithPagination" => {
                let [start, end, size, bookmark] = stub.parameters()?;
                let page = stub.range_page(start, end, number(2, size)?, bookmark).await?;
                let records: Vec<Asset> = page.rows.iter().map(parse).collect::<Result<_, _>>()?;
                let result =
                    json!({ "records": records, "fetchedRecordsCount": page.fetched, "bookmark": page.bookmark });
                Ok(serde_json::to_vec(&result)?.into())
            }
            "GetAssetHistory" => history(stub).await,
            "CallChaincode" => {
                let [name, channel, function, argument] = stub.parameters()?;
                let response =
                    stub.invoke_chaincode(name, &[function.as_bytes(), argument.as_bytes()], channel).await?;
                if response.status >= 400 {
                    return Err(ContractError { message: response.message, status: response.status });
                }
                Ok(response.payload)
            }
            "put" => {
                let [key, value] = stub.parameters()?;
                stub.put_state(key, value.to_owned()).await?;
                Ok(Bytes::new())
            }
            "get" => {
                let [key] = stub.parameters()?;
                match stub.get_state(key).await? {
                    Some(value) => Ok(value),
                    None => Err(ContractError::new(format!("the key {key} does not exist"))),
                }
            }
            // Swaps two values: the smallest function that reads and writes two keys, for measurements.
            "move" => {
                let [from, to] = stub.parameters()?;
                let (Some(first), Some(second)) = (stub.get_state(from).await?, stub.get_state(to).await?) else {
                    return Err(ContractError::new(format!("the keys {from} and {to} do not both exist")));
                };
                stub.put_state(from, second).await?;
                stub.put_state(to, first).await?;
                Ok(Bytes::new())
            }
            "org.hyperledger.fabric:GetMetadata" => Ok(Bytes::from_static(METADATA)),
            other => Err(ContractError::new(format!("Function {other} not found in contract AssetTransfer"))),
        }
    }
}

async fn init_ledger(stub: &Stub) -> Reply {
    let [] = stub.parameters()?;
    for (id, color, size, owner, appraised_value) in FIRST_ASSETS {
        let asset = Asset { appraised_value, color: color.into(), id: id.into(), owner: owner.into(), size };
        stub.put_state(id, serde_json::to_vec(&asset)?).await?;
    }
    Ok(Bytes::new())
}

/// ID, Color, Size, Owner, AppraisedValue.
fn asset_parameters(stub: &Stub) -> Result<Asset, ContractError> {
    let [id, color, size, owner, appraised_value] = stub.parameters()?;
    Ok(Asset {
        appraised_value: number(4, appraised_value)?,
        color: color.to_owned(),
        id: id.to_owned(),
        owner: owner.to_owned(),
        size: number(2, size)?,
    })
}

fn number<N: std::str::FromStr>(index: usize, text: &str) -> Result<N, ContractError> {
    text.parse().map_err(|_| {
        ContractError::new(format!(
            "Error managing parameter param{index}. Conversion error. Cannot convert passed value {text} to int"
        ))
    })
}

fn missing(id: &str) -> ContractError {
    ContractError::new(format!("the asset {id} does not exist"))
}

async fn read(stub: &Stub, id: &str) -> Result<Asset, ContractError> {
    let value = stub.get_state(id).await?.ok_or_else(|| missing(id))?;
    Ok(serde_json::from_slice(&value)?)
}

/// Writes an asset and tells listeners.
async fn write(stub: &Stub, event: &str, asset: &Asset) -> Reply {
    let value = Bytes::from(serde_json::to_vec(asset)?);
    stub.set_event(event, value.clone())?;
    stub.put_state(&asset.id, value).await?;
    Ok(Bytes::new())
}

fn parse(row: &Row) -> Result<Asset, ContractError> {
    serde_json::from_slice(&row.value)
        .map_err(|error| ContractError::new(format!("the value of {} is not an asset: {error}", row.key)))
}

fn assets(rows: Vec<Row>) -> Reply {
    let assets: Vec<Asset> = rows.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(serde_json::to_vec(&assets)?.into())
}

async fn history(stub: &Stub) -> Reply {
    let [id] = stub.parameters()?;
    let mut changes = Vec::new();
    let mut history = stub.history(id).await?;
    while let Some(change) = history.next().await? {
        let record: Option<Asset> = if change.is_delete { None } else { Some(serde_json::from_slice(&change.value)?) };
        changes.push(json!({
            "record": record,
            "txId": change.txid,
            "timestamp": change.timestamp.map(time),
            "isDelete": change.is_delete,
        }));
    }
    Ok(serde_json::to_vec(&changes)?.into())
}

/// The client chose the time, so it may be any number.
fn time((seconds, nanos): (i64, i32)) -> String {
    let (seconds, nanos) = (u64::try_from(seconds).unwrap_or(0), u64::try_from(nanos).unwrap_or(0));
    konsort_node::rfc3339(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_describes_its_functions_with_their_parameters() {
        let metadata: serde_json::Value = serde_json::from_slice(METADATA).unwrap();
        let transactions = metadata["contracts"]["AssetTransfer"]["transactions"].as_array().unwrap();
        let count = |name: &str| {
            let found = transactions.iter().find(|transaction| transaction["name"] == name).unwrap();
            found["parameters"].as_array().unwrap().len()
        };
        assert_eq!((count("CreateAsset"), count("TransferAsset"), count("GetAllAssets")), (5, 2, 0));
        assert!(metadata["components"]["schemas"]["Asset"]["properties"]["AppraisedValue"].is_object());
    }
}
