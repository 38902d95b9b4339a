//! What a client's message says besides asking for an answer, whichever front it came in by.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::Principal;
use crate::gateway::Gateway;
use crate::proto::envelope::{Envelope, Why};
use crate::proto::error::{ErrorBody, INVALID_PARAMS, INVALID_REQUEST, PARSE};
use crate::proto::level::LEVELS;
use crate::proto::scan::{Member, ScanError, member, unquote};
use crate::proto::{Abilities, Era, Level, Method, legacy};
use crate::upstream::Caller;

use super::session::Session;

/// What a modern request says of its client, which has shown itself to be `who`.
pub fn modern_caller(
    body: &Bytes,
    shape: &Envelope,
    who: Option<Arc<Principal>>,
    connection: u64,
) -> Caller {
    let slice = |member: Option<Member>| member.map(|m| body.slice(m.value.start..m.value.end));
    Caller {
        era: Era::Modern,
        capabilities: slice(shape.keys.capabilities).unwrap_or(Bytes::from_static(b"{}")),
        info: slice(shape.keys.client_info),
        log_level: shape.keys.log_level.and_then(|m| Level::read(m.value.of(body))),
        abilities: Abilities::NONE,
        home: who.as_deref().map_or(0, Principal::key),
        key: who.as_deref().map_or(connection, Principal::key),
        who,
        mail: None,
    }
}

/// What the client of a modern request can be asked for.
pub fn abilities(body: &[u8], shape: &Envelope) -> Abilities {
    let declared = shape.keys.capabilities.map(|member| member.value.of(body));
    declared.map_or(Abilities::NONE, Abilities::read)
}

/// A notification of a legacy client. What the gateway does not act on is accepted all the same.
pub fn notified(session: &Session, body: &[u8], shape: &Envelope) {
    if shape.method != Method::Cancelled {
        return;
    }
    if let Some(id) = shape.params.and_then(|span| legacy::cancelled_id(span.of(body))) {
        session.cancel(id);
    }
}

/// What a session remembers of a request besides answering it: the level of its log messages, the
/// resources that it watches.
pub fn say(
    session: &Session,
    gateway: &Gateway,
    body: &[u8],
    shape: &Envelope,
) -> Result<(), ErrorBody> {
    let bad = |text: String| ErrorBody::new(INVALID_PARAMS, text);
    match shape.method {
        Method::SetLevel => {
            let level = shape.params.and_then(|span| member(span.of(body), "level"));
            let level = level.and_then(Level::read).ok_or_else(|| {
                let all = LEVELS.map(Level::as_str).join(", ");
                bad(format!("params.level must be one of {all}"))
            })?;
            session.set_log_level(level);
        }
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            let uri = shape.uri.and_then(|span| unquote(span.of(body)));
            let uri = uri.ok_or_else(|| bad("params.uri must be a string".to_owned()))?;
            if shape.method == Method::ResourcesSubscribe {
                session.watch(gateway, &uri)?;
            } else {
                session.unwatch(&uri);
            }
        }
        _ => {}
    }
    Ok(())
}

/// A client that subscribes to a resource is answered when its server has been asked.
pub async fn settle(session: &Session, body: &[u8], shape: &Envelope) {
    if shape.method == Method::ResourcesSubscribe
        && let Some(uri) = shape.uri.and_then(|span| unquote(span.of(body)))
    {
        session.taken(&uri).await;
    }
}

/// What a message that cannot be read is answered with.
pub fn malformed(why: &Why) -> ErrorBody {
    let code = match why {
        Why::Scan(ScanError::Syntax(_) | ScanError::Utf8(_)) => PARSE,
        _ => INVALID_REQUEST,
    };
    ErrorBody::new(code, why.to_string())
}
