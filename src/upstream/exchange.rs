//! One request in flight at one replica. Dropping it cancels it in the transport's own way.
//!
//! Preparing the bytes for a replica is pure ([`prepare`]); what carries them is in `channel` and
//! `http`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;

use crate::base::{Fault, Principal};
use crate::proto::answer::{Answer, Body, ResultKind};
use crate::proto::envelope::Envelope;
use crate::proto::headers::HeaderParam;
use crate::proto::meta::{self, Claim};
use crate::proto::scan::{quote, within};
use crate::proto::splice::Splice;
use crate::proto::{Abilities, Era, Level, Method, Span, Version, id};

use super::ask::Ask;
use super::channel::ChannelExchange;
use super::http::HttpExchange;
use super::large::Large;
use super::lobby::Mailbox;

/// A raw request id.
pub type RawId = SmallVec<[u8; 24]>;

/// Who calls: what a legacy client said once and a modern one says in each request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it has shown itself to be; `None` where nobody is asked. Its key is not here: what a
    /// client shows to the gateway never goes to an upstream.
    pub who: Option<Arc<Principal>>,
    /// The era the client speaks.
    pub era: Era,
    /// Its capabilities, a raw object.
    pub capabilities: Bytes,
    /// Who it is, a raw object.
    pub info: Option<Bytes>,
    /// The least severe log message it wants.
    pub log_level: Option<Level>,
    /// What it can be asked for while a call of it runs. Nothing for modern clients: they are asked
    /// by results.
    pub abilities: Abilities,
    /// What tells it from other clients: the same for a principal, else for a session or a
    /// connection.
    pub key: u64,
    /// Whose state it is that an upstream keeps: a legacy session's, a principal's, else that of all
    /// modern clients together (0).
    pub home: u64,
    /// Where it gets what belongs to it outside of its calls.
    pub mail: Option<Arc<Mailbox>>,
}

impl Caller {
    /// One who said nothing of itself, and declares nothing.
    pub const fn silent(era: Era) -> Self {
        Self {
            who: None,
            era,
            capabilities: Bytes::from_static(b"{}"),
            info: None,
            log_level: None,
            abilities: Abilities::NONE,
            key: 0,
            home: 0,
            mail: None,
        }
    }
}

/// What a client wants sent: its own message and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The client's message.
    pub body: &'a Bytes,
    /// Its parts.
    pub shape: &'a Envelope,
    /// What it is about, where it is about something that has a name.
    pub subject: Option<Subject<'a>>,
    /// Who calls.
    pub caller: &'a Caller,
    /// What is mirrored in headers for a modern HTTP upstream.
    pub mirrored: Mirrored<'a>,
}

/// What a request is about, by the name that the upstream knows.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where its name stands in the client's message.
    pub span: Span,
    /// The upstream's own name of it.
    pub name: &'a str,
}

impl Subject<'_> {
    /// Whether the client's message says the upstream's own name already, without escapes.
    fn stands_in(&self, text: &[u8]) -> bool {
        let inner = self.span.of(text).strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
        inner == Some(self.name.as_bytes())
    }
}

/// What of a tool's arguments is mirrored in headers.
#[derive(Clone, Copy, Debug)]
pub enum Mirrored<'a> {
    /// What the tool's schema says.
    Schema(&'a [HeaderParam]),
    /// The tool is not listed: the client's own headers are passed on, since whoever does not
    /// recognise one must forward it (2026-07-28, transports, "Custom Headers from Tool
    /// Parameters").
    Headers(&'a HeaderMap),
    /// Nothing.
    Nothing,
}

impl Request<'_> {
    /// The client's raw id.
    pub fn id(&self) -> &[u8] {
        self.shape.id.map_or(b"0", |span| span.of(self.body))
    }

    /// What the client can be asked in its middle. The state of a task is only looked at: it is the
    /// request for its result that a server asks about.
    pub fn abilities(&self) -> Abilities {
        let method = self.shape.method;
        let looks = method.is_of_tasks() && method != Method::TasksResult;
        if looks { Abilities::NONE } else { self.caller.abilities }
    }

    /// Whether a large answer may be passed on while it comes in: not where something must stand in
    /// it that may be missing, or must be another word in it.
    pub fn streams(&self) -> bool {
        let told_how_long = self.shape.method == Method::ResourcesRead;
        !(told_how_long && self.caller.era == Era::Modern || self.shape.method.is_of_tasks())
    }

    /// The client's raw progress token.
    pub fn token(&self) -> Option<&[u8]> {
        self.shape.keys.progress_token.map(|member| member.value.of(self.body))
    }
}

/// How a replica wants its requests.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Its era.
    pub era: Era,
    /// The revision that both sides speak.
    pub version: Version,
    /// Several clients share the channel, so that ids and tokens must be ours.
    pub shared: bool,
}

/// A request as the replica gets it.
#[derive(Debug)]
pub struct Outgoing {
    /// The whole message.
    pub body: Vec<u8>,
    /// The id in it.
    pub id: RawId,
    /// Whether its progress token is `number` instead of the client's own.
    pub token_replaced: bool,
}

/// Rewrites a client's request for a replica: the subject's own name, an id that is unique on the
/// channel, and the `_meta` that the replica's era wants. Nothing else changes.
pub fn prepare(request: &Request<'_>, dialect: Dialect, number: u64) -> Outgoing {
    let text: &[u8] = request.body;
    let keep_id = !dialect.shared && id::portable(request.id());
    // Most often neither an id nor a token of ours is needed.
    let token_replaced = dialect.shared && request.token().is_some();
    let own = if keep_id && !token_replaced { String::new() } else { number.to_string() };
    let id =
        if keep_id { RawId::from_slice(request.id()) } else { RawId::from_slice(own.as_bytes()) };
    let renamed = request.subject.filter(|subject| !subject.stands_in(text));
    let subject = renamed.map(|subject| (subject.span, quote(subject.name)));
    let token = if token_replaced { Some(own.as_bytes()) } else { request.token() };
    let new_meta = meta_for(request, dialect, token);
    let wrapped;

    let mut splice = Splice::new(text);
    if !keep_id && let Some(span) = request.shape.id {
        splice.put(span, own.as_bytes());
    }
    if let Some((span, name)) = &subject {
        splice.put(*span, name.as_bytes());
    }
    match (&new_meta, request.shape.meta, request.shape.params) {
        (MetaChange::Keep, _, _) => {
            if token_replaced && let Some(member) = request.shape.keys.progress_token {
                splice.put(member.value, own.as_bytes());
            }
            request.shape.keys.own().for_each(|member| splice.cut(member));
        }
        (MetaChange::Put(new), Some(span), _) => splice.put(span, new),
        (MetaChange::Put(new), None, Some(params)) => {
            let (at, empty) = meta::inside(text, params);
            let comma: &[u8] = if empty { b"" } else { b"," };
            wrapped = [b"\"_meta\":", new.as_slice(), comma].concat();
            splice.insert(at, &wrapped);
        }
        (MetaChange::Put(new), None, None) => {
            wrapped = [b",\"params\":{\"_meta\":", new.as_slice(), b"}"].concat();
            let at = request.shape.method_span.map_or(0, |span| span.end);
            splice.insert(at, &wrapped);
        }
    }
    if let Some(params) = request.shape.params {
        // A server of the other era does not know such members.
        let strange: &[&str] = match (request.caller.era, dialect.era) {
            (Era::Modern, Era::Legacy) if request.shape.answers => {
                &["inputResponses", "requestState"]
            }
            (Era::Legacy, Era::Modern) if request.shape.task.is_some() => &["task"],
            _ => &[],
        };
        let strange = strange.iter().filter_map(|name| within(text, params, name));
        strange.for_each(|member| splice.cut(member));
    }
    Outgoing { body: splice.apply(1), id, token_replaced }
}

enum MetaChange {
    Keep,
    Put(Vec<u8>),
}

fn meta_for(request: &Request<'_>, dialect: Dialect, token: Option<&[u8]>) -> MetaChange {
    let old = request.shape.meta.map(|span| span.of(request.body));
    let same_version = || {
        let claimed = request.shape.keys.version.map(|m| m.value.of(request.body));
        let inner = claimed.and_then(|raw| raw.strip_prefix(b"\"")?.strip_suffix(b"\""));
        inner == Some(dialect.version.as_str().as_bytes())
    };
    let declares_all = || {
        let declared = request.shape.keys.capabilities.map(|m| m.value.of(request.body));
        declared.is_none_or(|declared| declared == request.caller.capabilities)
    };
    let level;
    let claim = match (request.caller.era, dialect.era) {
        (Era::Legacy, Era::Legacy) => return MetaChange::Keep,
        (Era::Modern, Era::Modern) if same_version() && declares_all() => return MetaChange::Keep,
        (Era::Modern, Era::Legacy) => None,
        (_, Era::Modern) => {
            level = request.caller.log_level.map(|level| quote(level.as_str()));
            Some(Claim {
                version: dialect.version.as_str(),
                capabilities: &request.caller.capabilities,
                client_info: request.caller.info.as_deref(),
                log_level: level.as_deref().map(str::as_bytes),
            })
        }
    };
    match (meta::rebuild(old, claim, token), old) {
        (Some(new), _) => MetaChange::Put(new),
        (None, Some(_)) => MetaChange::Put(b"{}".to_vec()),
        (None, None) => MetaChange::Keep,
    }
}

/// The final answer of a replica.
#[derive(Clone, Debug)]
pub struct Done {
    /// The whole message as it came.
    pub message: Bytes,
    /// Its parts.
    pub answer: Answer,
    /// The HTTP status it came with; 200 on stdio.
    pub status: u16,
}

impl Done {
    /// Whether it is a question, after which the client calls again.
    pub fn asks(&self) -> bool {
        matches!(&self.answer.body, Body::Result(parts)
            if parts.kind(&self.message) == ResultKind::InputRequired)
    }

    /// Whether it is the end of its request, and not a question or a task.
    pub fn is_complete(&self) -> bool {
        match &self.answer.body {
            Body::Result(parts) => parts.kind(&self.message) == ResultKind::Complete,
            Body::Error(_) => true,
        }
    }

    /// Its raw result, if it is one.
    pub fn result(&self) -> Option<&[u8]> {
        match &self.answer.body {
            Body::Result(parts) => parts.span.map(|span| span.of(&self.message)),
            Body::Error(_) => None,
        }
    }
}

/// What a client is told before the answer to its request.
#[derive(Debug)]
pub enum Told {
    /// A notification, whole.
    Note(Bytes),
    /// A question, which it must answer for the request to go on.
    Ask(Ask),
    /// The upstream ended its stream, and is asked to go on after so long: nothing comes until then.
    Away(Duration),
}

impl Told {
    /// Whether the client hears of it: that a stream ended is nothing that it was told.
    pub fn is_heard(&self) -> bool {
        !matches!(self, Self::Away(_))
    }
}

/// What comes back while a request is in flight.
#[derive(Debug)]
pub enum Frame {
    /// A notification for the client, its progress token restored.
    Note(Bytes),
    /// A question for the client.
    Ask(Ask),
    /// Bytes arrived that are nothing for the client: the replica is alive.
    Alive,
    /// The server ended its stream itself, and is asked to go on after so long, as it said.
    Away(Duration),
    /// The answer. Nothing follows.
    Done(Done),
    /// A large answer begins. Nothing else follows.
    Large(Large),
}

/// One request in flight at one replica.
#[derive(Debug)]
pub enum Exchange {
    /// Over a channel that many share: the pipes of a child, or an HTTP+SSE session.
    Channel(ChannelExchange),
    /// One POST.
    Http(HttpExchange),
}

impl Exchange {
    /// The next thing that happens. After [`Frame::Done`] or a fault nothing follows.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        match self {
            Self::Channel(exchange) => exchange.next().await,
            Self::Http(exchange) => exchange.next().await,
        }
    }

    /// Whether the client has been asked something and has not answered: then the upstream is not
    /// slow, it waits.
    pub fn awaits_client(&self) -> bool {
        match self {
            Self::Channel(exchange) => exchange.awaits_client(),
            Self::Http(exchange) => exchange.awaits_client(),
        }
    }

    /// The final answer, whatever comes before it.
    pub async fn finish(mut self) -> Result<Done, Fault> {
        loop {
            if let Frame::Done(done) = self.next().await? {
                return Ok(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::envelope::split;

    fn prepared(text: &str, caller: Era, era: Era, shared: bool) -> (String, Outgoing) {
        let body = Bytes::from(text.to_owned());
        let shape = split(&body).unwrap();
        let caller = Caller {
            capabilities: Bytes::from_static(br#"{"roots":{}}"#),
            info: Some(Bytes::from_static(br#"{"name":"c"}"#)),
            ..Caller::silent(caller)
        };
        let request = Request {
            body: &body,
            shape: &shape,
            subject: shape.name.map(|span| Subject { span, name: "x" }),
            caller: &caller,
            mirrored: Mirrored::Nothing,
        };
        let version = if era == Era::Modern { Version::V2026_07_28 } else { Version::V2025_11_25 };
        let out = prepare(&request, Dialect { era, version, shared }, 9);
        (String::from_utf8(out.body.clone()).unwrap(), out)
    }

    #[test]
    fn looking_at_a_task_is_no_call_whose_client_can_be_asked() {
        let abilities = Abilities { form: true, ..Abilities::NONE };
        let caller = Caller { abilities, ..Caller::silent(Era::Legacy) };
        for (method, can) in [
            ("tools/call", true),
            ("tasks/result", true),
            ("tasks/get", false),
            ("tasks/list", false),
            ("tasks/cancel", false),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
            let body = Bytes::from(text);
            let shape = split(&body).unwrap();
            let (subject, mirrored) = (None, Mirrored::Nothing);
            let request =
                Request { body: &body, shape: &shape, subject, caller: &caller, mirrored };
            assert_eq!(!request.abilities().is_empty(), can, "{method}");
        }
    }

    const ARGS: &str = r#"{"n":12345678901234567890123,"s":"\ud800","d":{"k":1,"k":2}, "e":1e2}"#;

    #[test]
    fn between_legacy_peers_only_name_id_and_token_change() {
        let text = format!(
            r#"{{"id":"a","jsonrpc":"2.0","method":"tools/call","params":{{"_meta":{{"progressToken":"p","t":1}},"name":"u__x","arguments":{ARGS}}}}}"#
        );
        let (got, out) = prepared(&text, Era::Legacy, Era::Legacy, true);
        assert_eq!(
            got,
            format!(
                r#"{{"id":9,"jsonrpc":"2.0","method":"tools/call","params":{{"_meta":{{"progressToken":9,"t":1}},"name":"x","arguments":{ARGS}}}}}"#
            )
        );
        assert!(out.token_replaced);
        assert_eq!(out.id.as_slice(), b"9");
    }

    #[test]
    fn a_legacy_client_gets_a_modern_claim_in_every_place_meta_can_stand() {
        let claim = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/clientInfo":{"name":"c"}}"#;
        let (got, out) = prepared(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u__x"}}"#,
            Era::Legacy,
            Era::Modern,
            false,
        );
        assert_eq!(
            got,
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"_meta":{claim},"name":"x"}}}}"#
            )
        );
        assert_eq!(out.id.as_slice(), b"1");
        let (got, _) = prepared(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{ }}"#,
            Era::Legacy,
            Era::Modern,
            false,
        );
        assert_eq!(
            got,
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{claim} }}}}"#
            )
        );
        let (got, _) = prepared(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            Era::Legacy,
            Era::Modern,
            false,
        );
        assert_eq!(
            got,
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{claim}}}}}"#
            )
        );
    }

    #[test]
    fn a_modern_claim_never_reaches_a_legacy_upstream() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u__x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"traceparent":"t"}}}"#;
        let (got, _) = prepared(text, Era::Modern, Era::Legacy, true);
        assert_eq!(
            got,
            r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x","_meta":{"traceparent":"t"}}}"#
        );
    }

    #[test]
    fn answers_to_questions_never_reach_a_legacy_upstream() {
        let brought = r#""inputResponses":{"k":{}}, "requestState":"s""#;
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        for params in [
            format!(r#"{brought},"name":"u__x",{meta}"#),
            format!(r#""name":"u__x",{brought},{meta}"#),
            format!(r#""name":"u__x",{meta},{brought}"#),
        ] {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#
            );
            let (got, _) = prepared(&text, Era::Modern, Era::Legacy, true);
            let got: serde_json::Value = serde_json::from_str(&got).unwrap();
            assert_eq!(got["params"], serde_json::json!({"name": "x", "_meta": {}}), "{text}");
            let (got, _) = prepared(&text, Era::Modern, Era::Modern, true);
            assert!(got.contains(brought), "{got}");
        }
    }

    #[test]
    fn between_modern_peers_on_a_private_channel_only_the_name_changes() {
        let text = r#"{"jsonrpc":"2.0","id":"é","method":"tools/call","params":{"name":"u__x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"progressToken":"p"}}}"#;
        let (got, out) = prepared(text, Era::Modern, Era::Modern, false);
        assert_eq!(got, text.replace("u__x", "x"));
        assert!(!out.token_replaced);
    }

    #[test]
    fn what_a_client_asks_of_the_gateway_never_reaches_an_upstream() {
        let ours = r#""dev.waypost/trace":true"#;
        let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
        let strategy = r#""dev.waypost/strategy":"random""#;
        for (inner, kept) in [
            (format!("{ours},{version}, {strategy}"), version),
            (format!("{version},{ours},{strategy}"), version),
            (format!("{ours},{strategy} ,{version}"), version),
        ] {
            let with = |meta: &str| {
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","_meta":{{{meta}}}}}}}"#
                )
            };
            let (got, _) = prepared(&with(&inner), Era::Modern, Era::Modern, false);
            assert_eq!(got.replace(' ', ""), with(kept), "{inner}");
            for (from, to) in
                [(Era::Legacy, Era::Legacy), (Era::Legacy, Era::Modern), (Era::Modern, Era::Legacy)]
            {
                let (got, _) = prepared(&with(&inner), from, to, true);
                assert!(!got.contains("dev.waypost"), "{got}");
                assert!(serde_json::from_str::<serde_json::Value>(&got).is_ok(), "{got}");
            }
        }
        let only = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"dev.waypost/trace":true}}}"#;
        let (got, _) = prepared(only, Era::Legacy, Era::Legacy, false);
        assert!(got.contains(r#""_meta":{}"#), "{got}");
    }

    #[test]
    fn an_id_that_may_not_survive_is_replaced_even_on_a_private_channel() {
        let (got, _) = prepared(
            r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"u__x"}}"#,
            Era::Legacy,
            Era::Legacy,
            false,
        );
        assert!(got.contains(r#""id":9,"#), "{got}");
    }
}
