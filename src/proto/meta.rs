//! Pure: the members of `params._meta` that the gateway acts on, and `_meta` objects rebuilt for
//! the other side (2026-07-28, basic, "Per-request protocol fields").

use super::scan::{Member, Span, members, unquote};

/// The protocol version of the request.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The capabilities of the client for this request.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The least severe log message the client wants for this request.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who the server is, on results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Which subscription a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Which task a message of 2025-11-25 belongs to.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// Under which token the client wants progress.
pub const PROGRESS_TOKEN: &str = "progressToken";

/// `true`: the answer tells which replicas the gateway tried and why. For the gateway alone.
pub const TRACE: &str = "dev.waypost/trace";
/// The balancer to use for this request instead of the upstream's own. For the gateway alone.
pub const STRATEGY: &str = "dev.waypost/strategy";
/// On results that did not come from the tool that was called, or not now: where from.
pub const DEGRADED: &str = "dev.waypost/degraded";

/// Every key the gateway acts on: lookalikes of these are refused.
pub const KEYS: &[&str] =
    &[VERSION, CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROGRESS_TOKEN, TRACE, STRATEGY];

/// The members of `_meta` that the gateway acts on.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// [`VERSION`]
    pub version: Option<Member>,
    /// [`CAPABILITIES`]
    pub capabilities: Option<Member>,
    /// [`CLIENT_INFO`]
    pub client_info: Option<Member>,
    /// [`LOG_LEVEL`]
    pub log_level: Option<Member>,
    /// [`PROGRESS_TOKEN`]
    pub progress_token: Option<Member>,
    /// [`TRACE`]
    pub trace: Option<Member>,
    /// [`STRATEGY`]
    pub strategy: Option<Member>,
}

impl Keys {
    /// Remembers a member if it is one of ours.
    pub fn note(&mut self, name: &[u8], member: Member) {
        let place = match std::str::from_utf8(name).unwrap_or_default() {
            VERSION => &mut self.version,
            CAPABILITIES => &mut self.capabilities,
            CLIENT_INFO => &mut self.client_info,
            LOG_LEVEL => &mut self.log_level,
            PROGRESS_TOKEN => &mut self.progress_token,
            TRACE => &mut self.trace,
            STRATEGY => &mut self.strategy,
            _ => return,
        };
        *place = Some(member);
    }

    /// The members that are meant for the gateway and must not reach an upstream.
    pub fn own(&self) -> impl Iterator<Item = Member> {
        [self.trace, self.strategy].into_iter().flatten()
    }
}

/// What a modern request must say about itself, as raw JSON texts.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The protocol version, without quotes.
    pub version: &'a str,
    /// The client's capabilities, an object.
    pub capabilities: &'a [u8],
    /// Who the client is, an object.
    pub client_info: Option<&'a [u8]>,
    /// The least severe log message wanted, with quotes.
    pub log_level: Option<&'a [u8]>,
}

/// A new `_meta` object: what `old` has, less the members that belong to an era or are replaced,
/// plus the claim and the token given. `None` where nothing is left to say.
pub fn rebuild(
    old: Option<&[u8]>,
    claim: Option<Claim<'_>>,
    progress_token: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let old = old.unwrap_or_default();
    let mut out = Vec::with_capacity(old.len() + 256);
    out.push(b'{');
    if let Some(claim) = claim {
        put(&mut out, VERSION, &[b"\"", claim.version.as_bytes(), b"\""]);
        put(&mut out, CAPABILITIES, &[claim.capabilities]);
        claim.client_info.inspect(|info| put(&mut out, CLIENT_INFO, &[info]));
        claim.log_level.inspect(|level| put(&mut out, LOG_LEVEL, &[level]));
    }
    progress_token.inspect(|token| put(&mut out, PROGRESS_TOKEN, &[token]));
    for member in members(old).unwrap_or_default() {
        let key = member.key.of(old);
        let ours = unquote(key).is_some_and(|name| KEYS.contains(&name.as_ref()));
        if !ours {
            separate(&mut out);
            out.extend_from_slice(key);
            out.push(b':');
            out.extend_from_slice(member.value.of(old));
        }
    }
    if out.len() == 1 {
        return None;
    }
    out.push(b'}');
    Some(out)
}

/// Appends a member. Our keys need no escapes.
fn put(out: &mut Vec<u8>, key: &str, value: &[&[u8]]) {
    separate(out);
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    for piece in value {
        out.extend_from_slice(piece);
    }
}

fn separate(out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
}

/// The span of an object's inside start: where a first member can be inserted, and whether the
/// object is empty (then no comma belongs behind it).
pub fn inside(text: &[u8], object: Span) -> (usize, bool) {
    let body = object.of(text);
    let rest = body.get(1..).unwrap_or_default();
    (object.start + 1, rest.trim_ascii_start().first() == Some(&b'}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modern_claim_is_added_for_a_modern_upstream_and_the_rest_kept() {
        let old = br#"{"progressToken":"p","traceparent":"00-1","claudecode/toolUseId":"t"}"#;
        let claim = Claim {
            version: "2026-07-28",
            capabilities: b"{}",
            client_info: None,
            log_level: None,
        };
        let new = rebuild(Some(old), Some(claim), Some(b"17")).unwrap();
        assert_eq!(
            String::from_utf8(new).unwrap(),
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":17,"traceparent":"00-1","claudecode/toolUseId":"t"}"#
        );
    }

    #[test]
    fn a_claim_is_stripped_for_a_legacy_upstream() {
        let old = br#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        assert_eq!(rebuild(Some(old), None, None), None);
    }

    #[test]
    fn what_is_meant_for_the_gateway_is_stripped() {
        let old = br#"{"dev.waypost/trace":true,"t":1,"dev.waypost/strategy":"random"}"#;
        assert_eq!(rebuild(Some(old), None, None).unwrap(), br#"{"t":1}"#);
    }
}
