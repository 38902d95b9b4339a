//! The fixture on stdin and stdout.

use rmcp::ServiceExt as _;
use rmcp::transport::stdio;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex, stdin, stdout,
};
use tokio::task::JoinSet;

use crate::server::Fixture;
use crate::{Eras, Result};

/// Bytes between our reading of stdin and the SDK's.
const PIPE: usize = 64 * 1024;

/// Serves until stdin ends.
pub(crate) async fn serve(fixture: Fixture) -> Result<()> {
    if fixture.eras != Eras::Legacy {
        fixture.serve(stdio()).await?.waiting().await?;
        return Ok(());
    }
    let (ours, theirs) = duplex(PIPE);
    let mut tasks = JoinSet::new();
    tasks.spawn(feed(ours));
    fixture.serve((theirs, stdout())).await?.waiting().await?;
    Ok(())
}

/// Passes stdin on. What comes before `initialize` is answered here, for the SDK would answer it
/// in the words of a modern server, which knows the other era.
async fn feed(mut to: DuplexStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut begun = false;
    while let Some(line) = lines.next_line().await? {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        let method = message.get("method").and_then(Value::as_str);
        begun |= method == Some("initialize");
        if begun || method == Some("ping") {
            to.write_all(format!("{line}\n").as_bytes()).await?;
        } else if let Some(id) = message.get("id") {
            let error = json!({ "code": -32601, "message": "Method not found" });
            let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
            let mut out = stdout();
            out.write_all(format!("{answer}\n").as_bytes()).await?;
            out.flush().await?;
        }
    }
    Ok(())
}
