//! The tool `ask`: a question to the user in the middle of a call, in the way of either era.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::outlet::{Frame, Outlet};
use super::server::Server;
use super::session::Session;
use super::tools::{Call, Outcome, Peer, is_error, structured};
use super::wire::{RpcError, code};

/// How long a legacy client may think about an `ask`.
const ASK_TIMEOUT: Duration = Duration::from_mins(1);

/// What a modern `ask` gives out and wants back unchanged, whichever process gets it back.
const ASK_STATE: &str = "ask-1 \"caf\u{e9}\" \u{2713}";

/// The key of the one question of `ask`.
const ASK_KEY: &str = "word";

/// Asks in the way of the caller's era.
pub(super) async fn run(server: &Server, call: &Call) -> Outcome {
    match &call.peer {
        Peer::Legacy(session) => match ask_legacy(server, session, &call.out).await {
            Ok(answer) => Outcome::Done(answered(&answer)),
            Err(why) => Outcome::Done(is_error(&why)),
        },
        Peer::Modern { capabilities } => ask_modern(&call.request.params, capabilities),
    }
}

/// A request of ours on the stream of the call, and a wait for the client's answer.
async fn ask_legacy(server: &Server, session: &Session, out: &Outlet) -> Result<Value, String> {
    if session.capabilities.get("elicitation").is_none() {
        return Err("the client did not declare elicitation".to_owned());
    }
    let id = json!(format!("ask-{}", server.counts.asks.next()));
    let (answer, wait) = oneshot::channel();
    session.asks.lock().insert(id.to_string(), answer);
    let method = "elicitation/create";
    let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": question()});
    out.send(Frame::Message(request)).await;
    let body = tokio::time::timeout(ASK_TIMEOUT, wait).await;
    session.asks.lock().remove(&id.to_string());
    let Ok(Ok(body)) = body else {
        return Err("the client did not answer".to_owned());
    };
    match body.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(format!("the client refused: {}", body.get("error").unwrap_or(&Value::Null))),
    }
}

/// The question is the answer of the first round; the second brings the answer to it.
fn ask_modern(params: &Map<String, Value>, capabilities: &Value) -> Outcome {
    let responses = params.get("inputResponses");
    if let Some(answer) = responses.and_then(|responses| responses.get(ASK_KEY)) {
        if params.get("requestState").and_then(Value::as_str) != Some(ASK_STATE) {
            let message = "Invalid params: requestState is not what it was";
            return Outcome::Failed(RpcError::new(code::INVALID_PARAMS, message));
        }
        return Outcome::Done(answered(answer));
    }
    if capabilities.get("elicitation").is_none() {
        let data = json!({"requiredCapabilities": {"elicitation": {}}});
        let message = "Missing client capability: elicitation";
        let error = RpcError::with_data(code::MISSING_CAPABILITY, message, data);
        return Outcome::Failed(error);
    }
    let request = json!({"method": "elicitation/create", "params": question()});
    Outcome::Done(json!({
        "resultType": "input_required",
        "inputRequests": {ASK_KEY: request},
        "requestState": ASK_STATE,
    }))
}

fn question() -> Value {
    let properties = json!({"word": {"type": "string", "title": "A word"}});
    let schema = json!({"type": "object", "properties": properties, "required": ["word"]});
    json!({"mode": "form", "message": "Which word shall it be?", "requestedSchema": schema})
}

fn answered(answer: &Value) -> Value {
    structured(&answer.to_string(), answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn a_modern_ask_takes_two_rounds() {
        let able = json!({"elicitation": {}});
        let Outcome::Done(first) = ask_modern(&Map::new(), &able) else { panic!("no question") };
        assert_eq!(first["resultType"], "input_required");
        let answer = json!({"action": "accept", "content": {"word": "yes"}});
        let retry = object(json!({
            "inputResponses": {ASK_KEY: answer},
            "requestState": first["requestState"],
        }));
        let Outcome::Done(second) = ask_modern(&retry, &able) else { panic!("no answer") };
        assert_eq!(second["structuredContent"], answer);
    }

    #[test]
    fn a_modern_ask_refuses_changed_state_and_unable_clients() {
        let changed = object(json!({"inputResponses": {ASK_KEY: {}}, "requestState": "x"}));
        let failure = |params: &Map<String, Value>, capabilities: Value| match ask_modern(
            params,
            &capabilities,
        ) {
            Outcome::Failed(error) => error.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure(&changed, json!({"elicitation": {}})), code::INVALID_PARAMS);
        assert_eq!(failure(&Map::new(), json!({})), code::MISSING_CAPABILITY);
    }
}
