//! `peer node` beside `start`: offline maintenance of a peer's data, which this build does not do. Every command is known, checks
//! its arguments as upstream does, and says what leads to the same end.

use super::super::connect::Failure;
use crate::tools::command::Parsed;

const FOLDER: &str = "the folder channels under peer.fileSystemPath";

/// What a maintenance command ends with.
pub(super) fn refuse(parsed: &Parsed) -> Failure {
    let command = parsed.command().name();
    let channel = parsed.text("channelID");
    if matches!(command, "pause" | "resume" | "rollback" | "unjoin") && channel.is_empty() {
        return Failure::with_usage("Must supply channel ID");
    }
    let instead = match command {
        "reset" => format!(
            "stop the peer, delete the channels in {FOLDER}, start it and join it again with peer channel join: it fetches all \
             blocks anew"
        ),
        "rollback" => format!(
            "stop the peer, delete {channel} in {FOLDER}, start it and join it again with peer channel join: it fetches all blocks \
             anew"
        ),
        "rebuild-dbs" => format!(
            "stop the peer, delete ledger/derived of every channel in {FOLDER} and start it: state, history and indexes are \
             derived from the blocks again"
        ),
        "unjoin" => format!("stop the peer and delete {channel} in {FOLDER}"),
        "upgrade-dbs" => "there has been one database format so far, so there is nothing to upgrade".to_owned(),
        _ => "a peer fetches the blocks of all its channels as long as it runs; stop it to fetch none".to_owned(),
    };
    Failure::plain(format!("peer node {command} is not available in this build; {instead}"))
}
