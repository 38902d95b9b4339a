//! The modern era: each request brings all that is needed, and nothing is remembered.

use std::sync::Arc;

use serde_json::{Value, json};

use super::era::{self, Era};
use super::legacy::{called_id, list};
use super::outlet::{Frame, Outlet};
use super::quirks::Quirk;
use super::server::Server;
use super::tools::{self, Call, Outcome, Peer};
use super::wire::{self, Request, RpcError, code};

/// Answers one request that passed all checks. The caller cancels by dropping this.
pub(super) async fn answer(server: Arc<Server>, request: Request, out: Outlet) {
    let (id, method) = (request.id.clone(), request.method.clone());
    let id = if method == "tools/call" { called_id(&server, id) } else { id };
    let answer = match respond(&server, request, &out).await {
        Outcome::Done(result) => wire::response(&id, &dressed(&server, &method, result)),
        Outcome::Failed(error) => error.response(&id),
        Outcome::Silent => return,
    };
    out.send(Frame::Last(answer)).await;
}

async fn respond(server: &Arc<Server>, request: Request, out: &Outlet) -> Outcome {
    if request.method == "server/discover" {
        return discover(server).await;
    }
    if server.quirks.has(&Quirk::NeverAnswer) {
        return std::future::pending().await;
    }
    match request.method.as_str() {
        "tools/list" => list(server, &request, Era::Modern).await,
        "subscriptions/listen" => listen(server, &request, out).await,
        "tools/call" => {
            let name = request.params.get("name").and_then(Value::as_str).unwrap_or_default();
            let (tool, out) = (name.to_owned(), out.clone());
            let peer = Peer::Modern { capabilities: era::meta_capabilities(&request.params) };
            tools::call(server, &Call { request, tool, peer, out }).await
        }
        method => Outcome::Failed(RpcError::method_not_found(method)),
    }
}

async fn discover(server: &Server) -> Outcome {
    if server.quirks.has(&Quirk::IgnoreDiscover) {
        return std::future::pending().await;
    }
    if server.quirks.has(&Quirk::Discover32000) {
        let error = RpcError::new(code::LEGACY_BAD_REQUEST, "Failed as asked");
        return Outcome::Failed(error);
    }
    Outcome::Done(json!({
        "supportedVersions": [era::MODERN],
        "capabilities": Server::capabilities(),
        "instructions": server.instructions(),
    }))
}

/// Acknowledges, then tells changes until the client goes or the server closes.
async fn listen(server: &Server, request: &Request, out: &Outlet) -> Outcome {
    // Before the acknowledgement, so that no change falls between the two.
    let mut changes = server.grown.subscribe();
    let wanted = request.params.get("notifications").and_then(|all| all.get("toolsListChanged"))
        == Some(&json!(true));
    let meta = json!({"io.modelcontextprotocol/subscriptionId": request.id});
    let honoured = if wanted { json!({"toolsListChanged": true}) } else { json!({}) };
    let acknowledged = json!({"notifications": honoured, "_meta": meta});
    let method = "notifications/subscriptions/acknowledged";
    out.send(Frame::Message(wire::notification(method, &acknowledged))).await;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = server.closing.cancelled() => break,
        }
        if wanted {
            let params = json!({"_meta": meta});
            let note = wire::notification("notifications/tools/list_changed", &params);
            out.send(Frame::Message(note)).await;
        }
    }
    Outcome::Done(json!({"_meta": meta}))
}

/// A result with what the modern era wants on it.
fn dressed(server: &Server, method: &str, result: Value) -> Value {
    let Value::Object(mut fields) = result else {
        return result;
    };
    if !fields.contains_key("resultType") && !server.quirks.has(&Quirk::NoResultType) {
        fields.shift_insert(0, "resultType".to_owned(), json!("complete"));
    }
    if matches!(method, "server/discover" | "tools/list") {
        fields.insert("ttlMs".to_owned(), json!(server.ttl_ms));
        fields.insert("cacheScope".to_owned(), json!("public"));
    }
    let meta = fields.entry("_meta").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), server.info());
    }
    Value::Object(fields)
}
