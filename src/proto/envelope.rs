//! Pure: one pass over a client's message. It tells what the message is and where its parts stand;
//! everything else stays bytes.
//!
//! What is authorised is what is forwarded: duplicate members, and members that only a careless
//! parser would take for the real ones (`"Name"`, `"ſubject"`), are refused in the envelope, in
//! `params` and in `_meta`. `arguments` pass as they are.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use super::id;
use super::meta;
use super::method::{Method, SubjectKey};
use super::scan::{Key, Limits, Member, ScanError, Scanner, Span, says, unquote};

/// What kind of JSON-RPC message it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A method with an id.
    #[default]
    Request,
    /// A method without an id.
    Notification,
    /// A result or an error.
    Response,
}

/// The parts of a client's message, as spans of its text.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// What kind of message it is.
    pub shape: Shape,
    /// Its method; [`Method::Other`] for responses.
    pub method: Method,
    /// The method's name with quotes.
    pub method_span: Option<Span>,
    /// The raw id.
    pub id: Option<Span>,
    /// `params`, an object.
    pub params: Option<Span>,
    /// `params.name`
    pub name: Option<Span>,
    /// `params.uri`
    pub uri: Option<Span>,
    /// `params.arguments`
    pub arguments: Option<Span>,
    /// `params.cursor`
    pub cursor: Option<Span>,
    /// `params.ref`
    pub reference: Option<Span>,
    /// `params.taskId`
    pub task_id: Option<Span>,
    /// `params.task`: a legacy client wants the call to run as a task.
    pub task: Option<Span>,
    /// `result` or `error` of a response.
    pub outcome: Option<Span>,
    /// `params.inputResponses` or `params.requestState` is there: the request carries the client's
    /// answers to questions of the server.
    pub answers: bool,
    /// `params._meta`, an object.
    pub meta: Option<Span>,
    /// The members of `_meta` that the gateway acts on.
    pub keys: meta::Keys,
}

impl Envelope {
    /// Where the name of what the message is about stands, if messages of its method have one.
    pub fn subject(&self) -> Option<Span> {
        match self.method.subject_key()? {
            SubjectKey::Name => self.name,
            SubjectKey::Uri => self.uri,
            SubjectKey::TaskId => self.task_id,
        }
    }
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Not JSON, or over a bound.
    Scan(ScanError),
    /// An array of messages.
    Batch,
    /// JSON, but not a JSON-RPC message.
    Invalid(&'static str),
    /// The same member twice.
    Duplicate(String),
    /// A member that differs from a known one only in case.
    Variant(String, &'static str),
}

/// A refused message, with its id if it could be read.
#[derive(Clone, Debug)]
pub struct SplitError {
    /// The raw id, to answer with.
    pub id: Option<Span>,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(error) => write!(f, "the message is {error}"),
            Self::Batch => f.write_str(
                "a batch, which only the revision 2025-03-26 has: send one message a request",
            ),
            Self::Invalid(what) => write!(f, "not a JSON-RPC 2.0 message: {what}"),
            Self::Duplicate(key) => write!(f, "the member \"{key}\" stands twice"),
            Self::Variant(key, known) => {
                write!(f, "the member \"{key}\" could be taken for \"{known}\"")
            }
        }
    }
}

const ENVELOPE_KEYS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

const PARAM_KEYS: &[&str] = &[
    "name",
    "uri",
    "arguments",
    "_meta",
    "cursor",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "requestId",
    "progressToken",
    "level",
    "inputResponses",
    "requestState",
    "task",
    "taskId",
    "ref",
    "argument",
    "context",
    "notifications",
];

/// Splits a message of a client.
pub fn split(text: &[u8]) -> Result<Envelope, SplitError> {
    let refuse = |why| SplitError { id: None, why };
    let mut scanner =
        Scanner::new(text, Limits::REQUEST).map_err(|error| refuse(Why::Scan(error)))?;
    match scanner.peek() {
        Some(b'{') => {}
        first => {
            let why = match scanner.skip().and_then(|_| scanner.finish()) {
                Err(error) => Why::Scan(error),
                Ok(()) if first == Some(b'[') => Why::Batch,
                Ok(()) => Why::Invalid("it is not an object"),
            };
            return Err(refuse(why));
        }
    }
    let mut reader = Reader { text, scanner, envelope: Envelope::default(), refused: None };
    let outcome = reader.envelope();
    let id = reader.envelope.id.filter(|span| id::allowed(span.of(text)));
    match outcome {
        Err(error) => Err(SplitError { id, why: Why::Scan(error) }),
        Ok(version) => reader.judge(&version).map_err(|why| SplitError { id, why }),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    scanner: Scanner<'a>,
    envelope: Envelope,
    /// The first thing that is wrong. The scan goes on, so that the answer can carry the id.
    refused: Option<Why>,
}

impl<'a> Reader<'a> {
    /// Reads the whole message. Answers where `jsonrpc` and whether a result or error stands.
    fn envelope(&mut self) -> Result<Outline, ScanError> {
        let mut outline = Outline::default();
        let mut seen = Seen::new(ENVELOPE_KEYS);
        self.scanner.enter_object()?;
        let mut first = true;
        while let Some(key) = self.scanner.next_key(first)? {
            first = false;
            match self.admit(&mut seen, key).as_ref() {
                b"params" if self.scanner.peek() == Some(b'{') => {
                    let start = self.scanner.position();
                    self.params()?;
                    self.envelope.params = Some(Span { start, end: self.scanner.position() });
                }
                b"params" => {
                    self.scanner.skip()?;
                    self.refuse(Why::Invalid("\"params\" is not an object"));
                }
                b"jsonrpc" => outline.version = Some(self.scanner.skip()?),
                b"id" => self.envelope.id = Some(self.scanner.skip()?),
                b"method" => self.envelope.method_span = Some(self.scanner.skip()?),
                b"result" | b"error" => {
                    self.envelope.outcome = Some(self.scanner.skip()?);
                    outline.response = true;
                }
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        self.scanner.finish()?;
        Ok(outline)
    }

    fn params(&mut self) -> Result<(), ScanError> {
        let mut seen = Seen::new(PARAM_KEYS);
        self.scanner.enter_object()?;
        let mut first = true;
        while let Some(key) = self.scanner.next_key(first)? {
            first = false;
            match self.admit(&mut seen, key).as_ref() {
                b"_meta" if self.scanner.peek() == Some(b'{') => {
                    let start = self.scanner.position();
                    self.meta()?;
                    self.envelope.meta = Some(Span { start, end: self.scanner.position() });
                }
                b"_meta" => {
                    self.scanner.skip()?;
                    self.refuse(Why::Invalid("\"_meta\" is not an object"));
                }
                b"name" => self.envelope.name = Some(self.scanner.skip()?),
                b"uri" => self.envelope.uri = Some(self.scanner.skip()?),
                b"arguments" => self.envelope.arguments = Some(self.scanner.skip()?),
                b"cursor" => self.envelope.cursor = Some(self.scanner.skip()?),
                b"ref" => self.envelope.reference = Some(self.scanner.skip()?),
                b"taskId" => self.envelope.task_id = Some(self.scanner.skip()?),
                b"task" => self.envelope.task = Some(self.scanner.skip()?),
                b"inputResponses" | b"requestState" => {
                    self.envelope.answers = true;
                    self.scanner.skip()?;
                }
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        Ok(())
    }

    fn meta(&mut self) -> Result<(), ScanError> {
        let mut seen = Seen::new(meta::KEYS);
        self.scanner.enter_object()?;
        let mut first = true;
        while let Some(key) = self.scanner.next_key(first)? {
            first = false;
            let name = self.admit(&mut seen, key);
            let value = self.scanner.skip()?;
            self.envelope.keys.note(&name, Member { key: key.span, value });
        }
        Ok(())
    }

    fn admit(&mut self, seen: &mut Seen<'a>, key: Key) -> Cow<'a, [u8]> {
        let name = self.scanner.text_of(key);
        if let Err(why) = seen.admit(&name) {
            self.refuse(why);
        }
        name
    }

    fn refuse(&mut self, why: Why) {
        self.refused.get_or_insert(why);
    }

    /// Everything was read: is it a message?
    fn judge(mut self, outline: &Outline) -> Result<Envelope, Why> {
        if let Some(why) = self.refused.take() {
            return Err(why);
        }
        if !outline.version.is_some_and(|span| says(span.of(self.text), "2.0")) {
            return Err(Why::Invalid("\"jsonrpc\" must be \"2.0\""));
        }
        if self.envelope.id.is_some_and(|span| !id::allowed(span.of(self.text))) {
            return Err(Why::Invalid("\"id\" must be a string or a number"));
        }
        self.envelope.shape = match (self.envelope.method_span, self.envelope.id) {
            (Some(_), _) if outline.response => {
                return Err(Why::Invalid("it has a \"method\" and a result or error"));
            }
            (Some(_), Some(_)) => Shape::Request,
            (Some(_), None) => Shape::Notification,
            (None, _) if outline.response => Shape::Response,
            (None, _) => return Err(Why::Invalid("\"method\" is missing")),
        };
        if let Some(span) = self.envelope.method_span {
            let name =
                unquote(span.of(self.text)).ok_or(Why::Invalid("\"method\" must be a string"))?;
            self.envelope.method = Method::from_name(&name);
        }
        Ok(self.envelope)
    }
}

/// What [`Reader::envelope`] notes besides the parts.
#[derive(Default)]
struct Outline {
    version: Option<Span>,
    response: bool,
}

/// The keys of one object so far. A known key takes a bit; few objects have many other keys, so the
/// first ones are compared one by one, and a long object gets a hash set.
struct Seen<'a> {
    known: &'static [&'static str],
    met: u32,
    few: Vec<Cow<'a, [u8]>>,
    many: HashSet<Cow<'a, [u8]>>,
}

/// How many keys are compared one by one.
const FEW: usize = 32;

impl<'a> Seen<'a> {
    fn new(known: &'static [&'static str]) -> Self {
        debug_assert!(known.len() <= 32, "each known key has a bit");
        Self { known, met: 0, few: Vec::new(), many: HashSet::new() }
    }

    #[expect(clippy::ptr_arg, reason = "the name is kept as it is, borrowed or not")]
    fn admit(&mut self, name: &Cow<'a, [u8]>) -> Result<(), Why> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if let Some(place) = self.known.iter().position(|known| known.as_bytes() == name.as_ref()) {
            let bit = 1 << (place % 32);
            let twice = self.met & bit != 0;
            self.met |= bit;
            return if twice { Err(Why::Duplicate(shown())) } else { Ok(()) };
        }
        let twice = if self.few.len() < FEW {
            let twice = self.few.contains(name);
            self.few.push(name.clone());
            twice
        } else {
            self.few.contains(name) || !self.many.insert(name.clone())
        };
        if twice {
            return Err(Why::Duplicate(shown()));
        }
        match self.known.iter().find(|known| folds_to(name, known)) {
            Some(known) => Err(Why::Variant(shown(), known)),
            None => Ok(()),
        }
    }
}

/// Whether a careless parser, one that ignores case or folds Unicode, would read `key` as `known`.
fn folds_to(key: &[u8], known: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(known.as_bytes());
    }
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    std::str::from_utf8(key).is_ok_and(|key| key.chars().map(fold).eq(known.chars().map(fold)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> Why {
        split(text.as_bytes()).unwrap_err().why
    }

    #[test]
    fn a_call_is_split_into_spans() {
        let text = br#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"a__b","arguments":{"k":1},"_meta":{"progressToken":7}}}"#;
        let envelope = split(text).unwrap();
        assert_eq!((envelope.shape, envelope.method), (Shape::Request, Method::ToolsCall));
        assert_eq!(envelope.id.unwrap().of(text), b"\"x\"");
        assert_eq!(envelope.name.unwrap().of(text), b"\"a__b\"");
        assert_eq!(envelope.arguments.unwrap().of(text), br#"{"k":1}"#);
        assert_eq!(envelope.keys.progress_token.unwrap().value.of(text), b"7");
    }

    #[test]
    fn duplicates_and_lookalikes_are_refused_where_the_gateway_acts() {
        let call = |params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
        };
        assert_eq!(why(&call(r#"{"name":"a","name":"b"}"#)), Why::Duplicate("name".into()));
        assert_eq!(why(&call(r#"{"name":"a","n\u0061me":"b"}"#)), Why::Duplicate("name".into()));
        assert_eq!(why(&call(r#"{"name":"a","Name":"b"}"#)), Why::Variant("Name".into(), "name"));
        assert_eq!(
            why(&call(r#"{"name":"a","argumentſ":{}}"#)),
            Why::Variant("argumentſ".into(), "arguments")
        );
        assert_eq!(
            why(&call(r#"{"name":"a","arguments":{},"arguments":{}}"#)),
            Why::Duplicate("arguments".into())
        );
        assert_eq!(
            why(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#),
            Why::Duplicate("method".into())
        );
        assert!(
            split(call(r#"{"name":"a","arguments":{"x":1,"x":2,"Name":3}}"#).as_bytes()).is_ok()
        );
    }

    #[test]
    fn a_refusal_carries_the_id_even_when_it_comes_last() {
        let text = br#"{"jsonrpc":"1.0","method":"ping","id":42}"#;
        let error = split(text).unwrap_err();
        assert_eq!(error.id.unwrap().of(text), b"42");
        assert_eq!(error.why, Why::Invalid("\"jsonrpc\" must be \"2.0\""));
    }

    #[test]
    fn shapes_are_told_apart() {
        assert_eq!(why("[]"), Why::Batch);
        assert_eq!(why("7"), Why::Invalid("it is not an object"));
        assert!(matches!(why("{"), Why::Scan(ScanError::Syntax(1))));
        assert_eq!(
            why(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
            Why::Invalid("\"id\" must be a string or a number")
        );
        assert_eq!(
            why(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}"#),
            Why::Invalid("\"params\" is not an object")
        );
        let note = split(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
        assert_eq!((note.shape, note.method), (Shape::Notification, Method::Initialized));
        let answer = split(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
        assert_eq!(answer.shape, Shape::Response);
    }

    #[test]
    fn many_distinct_keys_pass_and_one_repeated_does_not() {
        let keys: Vec<String> = (0..200).map(|i| format!("\"k{i}\":0")).collect();
        let text = |extra: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{{}{extra}}}}}"#,
                keys.join(",")
            )
        };
        assert!(split(text("").as_bytes()).is_ok());
        assert_eq!(why(&text(",\"k150\":1")), Why::Duplicate("k150".into()));
    }
}
