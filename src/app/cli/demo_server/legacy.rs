//! The legacy era: `initialize` opens a session, and everything else happens in it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::era::{self, Era};
use super::inflight::Ticket;
use super::outlet::{Frame, Outlet};
use super::quirks::Quirk;
use super::server::Server;
use super::session::Session;
use super::tools::{self, Call, Outcome, Peer};
use super::wire::{self, Notification, Request, RpcError, code};

/// Opens a session: the session, and the result that tells the client.
pub(super) fn initialize(
    server: &Server,
    params: &Map<String, Value>,
) -> Result<(Arc<Session>, Value), RpcError> {
    let Some(wanted) = params.get("protocolVersion").and_then(Value::as_str) else {
        let message = "Invalid params: protocolVersion is missing";
        return Err(RpcError::new(code::INVALID_PARAMS, message));
    };
    let capabilities = params.get("capabilities").cloned().unwrap_or_default();
    let session = Arc::new(Session::new(capabilities, server.grown.subscribe()));
    let result = json!({
        "protocolVersion": era::negotiate(wanted),
        "capabilities": Server::capabilities(),
        "serverInfo": server.info(),
        "instructions": server.instructions(),
    });
    Ok((session, result))
}

/// Answers one request, unless the client cancels it first: then nobody waits for an answer.
pub(super) async fn answer(
    server: Arc<Server>,
    session: Arc<Session>,
    request: Request,
    out: Outlet,
    ticket: Ticket,
) {
    let id = request.id.clone();
    let is_call = request.method == "tools/call";
    let outcome = tokio::select! {
        outcome = respond(&server, session, request, &out) => outcome,
        () = ticket.cancelled() => return,
    };
    let id = if is_call { called_id(&server, id) } else { id };
    let answer = match outcome {
        Outcome::Done(result) => wire::response(&id, &result),
        Outcome::Failed(error) => error.response(&id),
        Outcome::Silent => return,
    };
    out.send(Frame::Last(answer)).await;
}

/// The id that a call is answered under.
pub(super) fn called_id(server: &Server, id: Value) -> Value {
    if server.quirks.has(&Quirk::WrongId) { json!(format!("not-{id}")) } else { id }
}

async fn respond(
    server: &Arc<Server>,
    session: Arc<Session>,
    request: Request,
    out: &Outlet,
) -> Outcome {
    if server.quirks.has(&Quirk::NeverAnswer) {
        return std::future::pending().await;
    }
    match request.method.as_str() {
        "ping" => Outcome::Done(json!({})),
        "tools/list" => list(server, &request, Era::Legacy).await,
        "tools/call" => {
            let Some(name) = request.params.get("name").and_then(Value::as_str) else {
                let message = "Invalid params: params.name is missing";
                return Outcome::Failed(RpcError::new(code::INVALID_PARAMS, message));
            };
            let (tool, out) = (name.to_owned(), out.clone());
            let peer = Peer::Legacy(session);
            tools::call(server, &Call { request, tool, peer, out }).await
        }
        method => Outcome::Failed(RpcError::method_not_found(method)),
    }
}

/// One page of tools, in the shape that both eras share.
pub(super) async fn list(server: &Server, request: &Request, era: Era) -> Outcome {
    if server.quirks.has(&Quirk::SlowList) {
        return std::future::pending().await;
    }
    let grown = *server.grown.borrow();
    match server.catalog.page(request.params.get("cursor"), era, grown) {
        Ok(page) => Outcome::Done(page),
        Err(error) => Outcome::Failed(error),
    }
}

/// Takes a notification; only a cancel does anything.
pub(super) fn notified(session: &Session, notification: &Notification) {
    if notification.method == "notifications/cancelled"
        && let Some(id) = notification.params.get("requestId")
    {
        session.inflight.cancel(id);
    }
}

/// Tells list changes until the session or the reader ends.
pub(super) async fn tell_changes(session: &Session, out: &Outlet) {
    let mut changes = session.changes.lock().await;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = out.gone() => return,
            () = session.ended.cancelled() => return,
        }
        let note = wire::notification("notifications/tools/list_changed", &json!({}));
        out.send(Frame::Message(note)).await;
    }
}
