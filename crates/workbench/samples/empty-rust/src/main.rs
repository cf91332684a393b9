//! What this contract is for.

use bytes::Bytes;
use fabric_shim::{Contract, Reply, Stub};

struct MyContract;

impl Contract for MyContract {
    async fn invoke(&self, stub: &Stub) -> Reply {
        match stub.function() {
            "Write" => {
                let [key, text] = stub.parameters()?;
                stub.put_state(key, text.to_owned()).await?;
                Ok(Bytes::new())
            }
            "Read" => {
                let [key] = stub.parameters()?;
                Ok(stub.get_state(key).await?.unwrap_or_default())
            }
            other => Err(format!("there is no function {other}").into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let shutdown = konsort_node::Shutdown::new();
    shutdown.on_signals()?;
    fabric_shim::run(MyContract, &konsort_node::Environment::process(), &args, shutdown).await?;
    Ok(())
}
