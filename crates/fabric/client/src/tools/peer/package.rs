//! `peer lifecycle chaincode package` and `calculatepackageid`: no network, no identity.

use std::path::Path;

use super::super::command::Parsed;
use super::super::connect::{Failure, read};
use super::super::{Console, gojson::Json};
use crate::package as packages;

pub(super) fn package(parsed: &Parsed) -> Result<(), Failure> {
    let [output] = parsed.args.as_slice() else {
        return Err(Failure::plain("invalid number of args. expected only the output file"));
    };
    for (value, text) in [
        (parsed.text("path"), "chaincode path must be specified"),
        (parsed.text("lang"), "chaincode language must be specified"),
        (output, "output file must be specified"),
        (parsed.text("label"), "package label must be specified"),
    ] {
        if value.is_empty() {
            return Err(Failure::plain(text));
        }
    }
    packages::validate_label(parsed.text("label")).map_err(|error| Failure::plain(error.to_string()))?;
    let bytes =
        packages::from_source(parsed.text("path"), parsed.text("lang"), parsed.text("label")).map_err(|error| {
            match error {
                packages::PackageError::Language(_) => {
                    Failure::plain(format!("failed to normalize chaincode path: {error}"))
                }
                other => Failure::plain(format!("error getting chaincode bytes: {other}")),
            }
        })?;
    std::fs::write(Path::new(output), bytes)
        .map_err(|error| Failure::plain(format!("error writing chaincode package to {output}: {error}")))
}

pub(super) fn calculate_id(parsed: &Parsed, console: &mut Console<'_>) -> Result<(), Failure> {
    let [file] = parsed.args.as_slice() else {
        return Err(Failure::plain("invalid number of args. expected only the packaged chaincode file"));
    };
    if file.is_empty() {
        return Err(Failure::plain("chaincode install package must be provided"));
    }
    let bytes = read(Path::new(file))
        .map_err(|error| Failure::plain(format!("failed to read chaincode package at '{file}': {error}")))?;
    let metadata = packages::metadata(&bytes)
        .map_err(|error| Failure::plain(format!("could not parse as a chaincode install package: {error}")))?;
    let id = packages::package_id(&metadata.label, &bytes);
    if parsed.text("output").eq_ignore_ascii_case("json") {
        let json = Json::object([("package_id", Json::text(id))]);
        console.out(&format!("{}\n", json.indented()));
    } else {
        console.out(&format!("{id}\n"));
    }
    Ok(())
}
