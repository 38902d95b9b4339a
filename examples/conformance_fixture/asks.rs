//! Questions to the client in the middle of a call. A legacy client gets them as requests, and the
//! call waits; a modern one gets them as the result of the call, and calls again with answers.

use std::collections::BTreeMap;

use rmcp::model::{
    ClientCapabilities, InputRequest, InputRequests, InputRequiredResult, InputResponses,
    JsonObject, ProtocolVersion, ServerRequest,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::offer::typed;

/// The client's answers, by the keys of the questions.
pub(crate) type Answers = BTreeMap<String, JsonObject>;

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Asked {
    /// All answers are there.
    Answered(Answers),
    /// The result of this call; another one will bring the answers.
    Later(Box<InputRequiredResult>),
    /// A legacy client cannot or would not answer: why.
    Refused(String),
}

/// Does this request follow the rules of 2026-07-28?
pub(crate) fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// What this request's client can do; nothing, if it does not say.
pub(crate) fn abilities(context: &RequestContext<RoleServer>) -> ClientCapabilities {
    context.client_capabilities().unwrap_or_default()
}

/// One question to the user: a text and the fields of a form, all of them required.
pub(crate) fn form(message: &str, properties: &Value) -> Result<InputRequest, ErrorData> {
    let required: Vec<&String> =
        properties.as_object().into_iter().flat_map(|p| p.keys()).collect();
    form_of(message, &json!({ "type": "object", "properties": properties, "required": required }))
}

/// The same with a whole schema.
pub(crate) fn form_of(message: &str, schema: &Value) -> Result<InputRequest, ErrorData> {
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    typed(json!({ "method": "elicitation/create", "params": params }))
        .map(InputRequest::Elicitation)
}

/// One question to the client's model.
pub(crate) fn sample(text: &str, max_tokens: u32) -> Result<InputRequest, ErrorData> {
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    let params = json!({ "messages": [message], "maxTokens": max_tokens });
    typed(json!({ "method": "sampling/createMessage", "params": params }))
        .map(InputRequest::CreateMessage)
}

/// The question for the client's roots.
pub(crate) fn roots() -> Result<InputRequest, ErrorData> {
    typed(json!({ "method": "roots/list", "params": {} })).map(InputRequest::ListRoots)
}

/// The questions under their keys.
pub(crate) fn questions<const N: usize>(each: [(&str, InputRequest); N]) -> InputRequests {
    each.into_iter().map(|(key, request)| (key.to_owned(), request)).collect()
}

/// Asks all of it. `given` is what a modern client brought along; `state` is what it shall bring
/// back next time.
pub(crate) async fn ask(
    context: &RequestContext<RoleServer>,
    wanted: InputRequests,
    given: Option<&InputResponses>,
    state: Option<String>,
) -> Result<Asked, ErrorData> {
    if is_modern(context) {
        modern(context, wanted, given, state)
    } else {
        Ok(legacy(context, wanted).await)
    }
}

fn modern(
    context: &RequestContext<RoleServer>,
    wanted: InputRequests,
    given: Option<&InputResponses>,
    state: Option<String>,
) -> Result<Asked, ErrorData> {
    let mut answers = Answers::new();
    let mut missing = InputRequests::new();
    for (key, request) in wanted {
        // Whatever is no object is no answer: ask again.
        match given.and_then(|given| given.get(&key)).and_then(Value::as_object) {
            Some(answer) => drop(answers.insert(key, answer.clone())),
            None => drop(missing.insert(key, request)),
        }
    }
    if missing.is_empty() {
        return Ok(Asked::Answered(answers));
    }
    let lacking = missing.values().find_map(|request| lacking(&abilities(context), request));
    match lacking {
        Some(required) => Err(ErrorData::missing_required_client_capability(typed(required)?)),
        None => Ok(Asked::Later(Box::new(InputRequiredResult::new(Some(missing), state)))),
    }
}

/// The capability that a client needs for this question and does not have.
pub(crate) fn lacking(able: &ClientCapabilities, request: &InputRequest) -> Option<Value> {
    match request {
        InputRequest::Elicitation(_) if able.elicitation.is_none() => {
            Some(json!({ "elicitation": {} }))
        }
        InputRequest::CreateMessage(_) if able.sampling.is_none() => {
            Some(json!({ "sampling": {} }))
        }
        InputRequest::ListRoots(_) if able.roots.is_none() => Some(json!({ "roots": {} })),
        _ => None,
    }
}

async fn legacy(context: &RequestContext<RoleServer>, wanted: InputRequests) -> Asked {
    let able = abilities(context);
    let mut answers = Answers::new();
    for (key, request) in wanted {
        if let Some(required) = lacking(&able, &request) {
            return Asked::Refused(format!("the client lacks the capability {required}"));
        }
        let request = match request {
            InputRequest::Elicitation(request) => ServerRequest::ElicitRequest(request),
            InputRequest::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
            InputRequest::ListRoots(request) => ServerRequest::ListRootsRequest(request),
            _ => return Asked::Refused("a question that the fixture does not know".to_owned()),
        };
        let answered = match context.peer.send_request(request).await {
            Ok(result) => serde_json::to_value(result).unwrap_or_default(),
            Err(error) => return Asked::Refused(error.to_string()),
        };
        match answered {
            Value::Object(answer) => drop(answers.insert(key, answer)),
            other => return Asked::Refused(format!("the client answered {other}")),
        }
    }
    Asked::Answered(answers)
}
