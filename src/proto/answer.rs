//! Pure: messages that come from an upstream, read in one pass, and results mended for the era of
//! the client that gets them.

use bytes::Bytes;

use super::envelope::{SplitError, Why};
use super::era::Era;
use super::error::error_message;
use super::id;
use super::method::Method;
use super::scan::{Limits, Member, ScanError, Scanner, Span, member, says, unquote};
use super::splice::Splice;

/// A message from an upstream.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// The answer to a request of ours.
    Answer(Answer),
    /// A request of the upstream: it needs something from the client.
    Ask {
        /// The upstream's own raw id.
        id: Span,
        /// What it asks for.
        method: Method,
        /// It is an elicitation that opens a URL.
        url: bool,
    },
    /// A notification.
    Note {
        /// What it tells.
        method: Method,
        /// What it is about.
        about: About,
    },
}

/// The members of a notification's `params` that the gateway acts on.
#[derive(Clone, Copy, Debug, Default)]
pub struct About {
    /// `progressToken`
    pub token: Option<Span>,
    /// `level`
    pub level: Option<Span>,
    /// `uri`
    pub uri: Option<Span>,
    /// `mode`
    mode: Option<Span>,
}

/// The answer to a request of ours.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The raw id; `None` where the upstream could not read it.
    pub id: Option<Span>,
    /// A result or an error.
    pub body: Body,
}

/// A result or an error.
#[derive(Clone, Debug)]
pub enum Body {
    /// A result object.
    Result(ResultParts),
    /// An error object.
    Error(ErrorParts),
}

/// The parts of a result that the gateway acts on.
#[derive(Clone, Debug, Default)]
pub struct ResultParts {
    /// The result object.
    pub span: Option<Span>,
    /// `resultType`, required in the modern era.
    pub result_type: Option<Member>,
    /// `isError` is true.
    pub is_error: bool,
    /// `structuredContent`
    pub structured: Option<Member>,
    /// `content`
    pub content: Option<Member>,
    /// `ttlMs`
    pub ttl: Option<Member>,
    /// `cacheScope`
    pub scope: Option<Member>,
    /// The object has no member.
    pub empty: bool,
}

/// The parts of an error that the gateway acts on.
#[derive(Clone, Debug)]
pub struct ErrorParts {
    /// The error object.
    pub span: Span,
    /// Its code.
    pub code: i64,
}

/// What kind of result it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultKind {
    /// The end of the request.
    Complete,
    /// The server needs input first (2026-07-28, basic/patterns/mrtr).
    InputRequired,
    /// An extension's own kind, such as a task.
    Other,
}

impl ResultParts {
    /// What kind of result it is. Absent means complete: earlier revisions have no other kind.
    pub fn kind(&self, text: &[u8]) -> ResultKind {
        self.result_type
            .map_or(ResultKind::Complete, |member| ResultKind::of(member.value.of(text)))
    }
}

impl ResultKind {
    /// What kind of result a raw `resultType` names. What is no string names none, as if absent.
    pub fn of(raw: &[u8]) -> Self {
        if says(raw, "input_required") {
            Self::InputRequired
        } else if says(raw, "complete") || raw.first() != Some(&b'"') {
            Self::Complete
        } else {
            Self::Other
        }
    }
}

/// Reads a message of an upstream.
pub fn read(text: &[u8]) -> Result<Incoming, SplitError> {
    let refuse = |why| SplitError { id: None, why };
    let scanner = Scanner::new(text, Limits::ANSWER).map_err(|error| refuse(Why::Scan(error)))?;
    let mut parser = Parser { text, scanner, parts: Parts::default() };
    parser.message().map_err(|error| refuse(Why::Scan(error)))?;
    let id = parser.parts.id;
    parser.parts.judge(text).map_err(|why| SplitError { id, why })
}

/// What was found on the top level of a message.
#[derive(Default)]
struct Parts {
    id: Option<Span>,
    method: Option<Span>,
    about: About,
    result: Option<ResultParts>,
    error: Option<Span>,
    twice: bool,
}

impl Parts {
    fn judge(self, text: &[u8]) -> Result<Incoming, Why> {
        if self.twice {
            return Err(Why::Invalid("a member stands twice"));
        }
        let id = self.id.filter(|span| id::allowed(span.of(text)));
        let method = self.method.and_then(|span| unquote(span.of(text)));
        match (method, self.result, self.error) {
            (Some(name), None, None) => {
                let method = Method::from_name(&name);
                let about = self.about;
                let url = || about.mode.is_some_and(|mode| mode.of(text) == b"\"url\"");
                Ok(id.map_or(Incoming::Note { method, about }, |id| Incoming::Ask {
                    id,
                    method,
                    url: url(),
                }))
            }
            (None, Some(result), None) if result.span.is_some() => {
                Ok(Incoming::Answer(Answer { id, body: Body::Result(result) }))
            }
            (None, None, Some(span)) => {
                let code = member(span.of(text), "code")
                    .and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok())
                    .ok_or(Why::Invalid("its error has no integer \"code\""))?;
                Ok(Incoming::Answer(Answer { id, body: Body::Error(ErrorParts { span, code }) }))
            }
            _ => Err(Why::Invalid("it has neither a method nor a result object nor an error")),
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    scanner: Scanner<'a>,
    parts: Parts,
}

impl Parser<'_> {
    fn message(&mut self) -> Result<(), ScanError> {
        self.scanner.enter_object()?;
        let mut first = true;
        while let Some(key) = self.scanner.next_key(first)? {
            first = false;
            match self.scanner.text_of(key).as_ref() {
                b"id" => {
                    let span = self.scanner.skip()?;
                    self.parts.twice |= self.parts.id.replace(span).is_some();
                }
                b"method" => {
                    let span = self.scanner.skip()?;
                    self.parts.twice |= self.parts.method.replace(span).is_some();
                }
                b"result" => {
                    let result = self.result()?;
                    self.parts.twice |= self.parts.result.replace(result).is_some();
                }
                b"error" => {
                    let span = self.scanner.skip()?;
                    self.parts.twice |= self.parts.error.replace(span).is_some();
                }
                b"params" => self.params()?,
                _ => {
                    self.scanner.skip()?;
                }
            }
        }
        self.scanner.finish()
    }

    fn result(&mut self) -> Result<ResultParts, ScanError> {
        if self.scanner.peek() != Some(b'{') {
            self.scanner.skip()?;
            return Ok(ResultParts::default());
        }
        let start = self.scanner.position();
        let mut parts = ResultParts { empty: true, ..ResultParts::default() };
        self.scanner.enter_object()?;
        while let Some(key) = self.scanner.next_key(parts.empty)? {
            parts.empty = false;
            let value = self.scanner.skip()?;
            let member = Some(Member { key: key.span, value });
            match self.scanner.text_of(key).as_ref() {
                b"resultType" => parts.result_type = member,
                b"isError" => parts.is_error = value.of(self.text) == b"true",
                b"structuredContent" => parts.structured = member,
                b"content" => parts.content = member,
                b"ttlMs" => parts.ttl = member,
                b"cacheScope" => parts.scope = member,
                _ => {}
            }
        }
        parts.span = Some(Span { start, end: self.scanner.position() });
        Ok(parts)
    }

    fn params(&mut self) -> Result<(), ScanError> {
        if self.scanner.peek() != Some(b'{') {
            return self.scanner.skip().map(|_| ());
        }
        self.scanner.enter_object()?;
        let mut first = true;
        while let Some(key) = self.scanner.next_key(first)? {
            first = false;
            let value = self.scanner.skip()?;
            let about = &mut self.parts.about;
            match self.scanner.text_of(key).as_ref() {
                b"progressToken" => about.token = Some(value),
                b"level" => about.level = Some(value),
                b"uri" => about.uri = Some(value),
                b"mode" => about.mode = Some(value),
                _ => {}
            }
        }
        Ok(())
    }
}

/// For whom an answer is mended.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The raw id of its request.
    pub id: &'a [u8],
    /// Its era.
    pub era: Era,
    /// It asked for something that modern clients may keep, so that they must be told for how
    /// long: by us, if the upstream says nothing (2026-07-28, server/utilities/caching).
    pub cacheable: bool,
}

/// What a modern client is told of something whose upstream says nothing about keeping it.
const UNKEPT: &[u8] = br#""ttlMs":0,"cacheScope":"private","#;

/// The whole answer for a client: its own id, and what its era requires of a result. The rest of
/// the bytes stays as it is.
///
/// Modern clients must find `resultType` (2026-07-28, basic). Legacy clients do not know it, nor a
/// `structuredContent` that is not an object: then the JSON stands in a text block instead.
pub fn mend(text: &Bytes, answer: &Answer, reader: Reader<'_>) -> Bytes {
    let Reader { id: client_id, era, cacheable } = reader;
    let (block, front);
    if let (None, Body::Error(error)) = (answer.id, &answer.body) {
        // The upstream could not read the id; the client's request has one all the same.
        return error_message(client_id, error.span.of(text)).into();
    }
    let mut splice = Splice::new(text);
    if let Some(id) = answer.id
        && id.of(text) != client_id
    {
        splice.put(id, client_id);
    }
    let Body::Result(parts) = &answer.body else {
        return splice.apply_to(text);
    };
    let Some(span) = parts.span else {
        return splice.apply_to(text);
    };
    match era {
        Era::Modern => {
            let kind: &[u8] =
                if parts.result_type.is_none() { br#""resultType":"complete","# } else { b"" };
            let unkept = cacheable
                && parts.kind(text) == ResultKind::Complete
                && (parts.ttl.is_none() || parts.scope.is_none());
            if unkept {
                // Half a word about keeping is no word: ours takes its place.
                [parts.ttl, parts.scope].into_iter().flatten().for_each(|half| splice.cut(half));
            }
            front = [kind, if unkept { UNKEPT } else { b"" }].concat();
            let what =
                if parts.empty { front.strip_suffix(b",").unwrap_or(&front) } else { &front };
            if !what.is_empty() {
                splice.insert(span.start + 1, what);
            }
        }
        Era::Legacy => {
            for member in [parts.result_type, parts.ttl, parts.scope].into_iter().flatten() {
                splice.cut(member);
            }
            if let Some(structured) = parts.structured
                && structured.value.of(text).first() != Some(&b'{')
            {
                let json = structured.value.of(text);
                match blocks(text, parts.content) {
                    // Results of tools must have content (2025-11-25, server/tools).
                    Blocks::Absent => {
                        block = [b"[", text_block(json).as_slice(), b"]"].concat();
                        splice.put(structured.key, b"\"content\"");
                        splice.put(structured.value, &block);
                    }
                    Blocks::WithText => splice.cut(structured),
                    Blocks::WithoutText(place, empty) => {
                        let comma: &[u8] = if empty { b"" } else { b"," };
                        block = [text_block(json).as_slice(), comma].concat();
                        splice.cut(structured);
                        splice.insert(place, &block);
                    }
                }
            }
        }
    }
    splice.apply_to(text)
}

/// A text content block that carries JSON text.
fn text_block(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    format!(r#"{{"type":"text","text":{}}}"#, super::scan::quote(&text)).into_bytes()
}

/// What stands in the `content` of a result.
enum Blocks {
    /// There is none.
    Absent,
    /// A block of text among others: the server has said it for those who know no more.
    WithText,
    /// None of text. Where a first block can be inserted, and whether it is the only one.
    WithoutText(usize, bool),
}

fn blocks(text: &[u8], content: Option<Member>) -> Blocks {
    let Some(span) = content.map(|content| content.value) else {
        return Blocks::Absent;
    };
    let array = span.of(text);
    let mut scanner = Scanner::trusted(array, Limits::ANSWER);
    let Ok(all) = scanner.elements(usize::MAX) else {
        return Blocks::WithText; // no array: nothing can be put in
    };
    let is_text = |block: &Span| member(block.of(array), "type") == Some(b"\"text\"");
    if all.iter().any(is_text) {
        return Blocks::WithText;
    }
    Blocks::WithoutText(span.start + 1, all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &[u8]) -> Answer {
        match read(text).unwrap() {
            Incoming::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn mended(text: &str, id: &str, era: Era) -> String {
        let text = Bytes::from(text.to_owned());
        let reader = Reader { id: id.as_bytes(), era, cacheable: false };
        String::from_utf8(mend(&text, &answer(&text), reader).to_vec()).unwrap()
    }

    #[test]
    fn a_modern_client_is_told_how_long_a_resource_may_be_kept() {
        let mended = |text: &'static str| {
            let text = Bytes::from_static(text.as_bytes());
            let reader = Reader { id: b"1", era: Era::Modern, cacheable: true };
            String::from_utf8(mend(&text, &answer(&text), reader).to_vec()).unwrap()
        };
        assert_eq!(
            mended(r#"{"jsonrpc":"2.0","id":1,"result":{"contents":[]}}"#),
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","contents":[]}}"#
        );
        let whole = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","contents":[],"ttlMs":5,"cacheScope":"public"}}"#;
        assert_eq!(mended(whole), whole);
        let asks = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#;
        assert_eq!(mended(asks), asks);
        let half = mended(r#"{"jsonrpc":"2.0","id":1,"result":{"contents":[],"ttlMs":5}}"#);
        assert_eq!(half.matches("ttlMs").count(), 1, "{half}");
        assert!(half.contains(r#""cacheScope":"private""#), "{half}");
    }

    #[test]
    fn a_modern_client_finds_a_result_type_and_the_rest_untouched() {
        let text = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"x":12345678901234567890123,"y":1e2}}"#;
        assert_eq!(
            mended(text, "\"a\"", Era::Modern),
            r#"{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","content":[],"x":12345678901234567890123,"y":1e2}}"#
        );
        assert_eq!(
            mended(r#"{"result":{},"id":7,"jsonrpc":"2.0"}"#, "7", Era::Modern),
            r#"{"result":{"resultType":"complete"},"id":7,"jsonrpc":"2.0"}"#
        );
    }

    #[test]
    fn a_legacy_client_sees_no_modern_members() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"a"}],"ttlMs":0,"cacheScope":"private"}}"#;
        assert_eq!(
            mended(text, "1", Era::Legacy),
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a"}]}}"#
        );
    }

    #[test]
    fn structured_content_that_is_no_object_becomes_text_for_legacy_clients() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[],"structuredContent":[1,"b"]}}"#;
        assert_eq!(
            mended(text, "1", Era::Legacy),
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"[1,\"b\"]"}]}}"#
        );
    }

    #[test]
    fn structured_content_is_never_lost_to_a_legacy_client() {
        let cases = [
            (r#""structuredContent":[1]"#, r#""content":[{"type":"text","text":"[1]"}]"#),
            (
                r#""content":[{"type":"image"}],"structuredContent":[1]"#,
                r#""content":[{"type":"text","text":"[1]"},{"type":"image"}]"#,
            ),
            (
                r#""content":[{"type":"text","text":"x"}],"structuredContent":[1]"#,
                r#""content":[{"type":"text","text":"x"}]"#,
            ),
        ];
        for (came, want) in cases {
            let message =
                |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{result}}}}}"#);
            assert_eq!(mended(&message(came), "1", Era::Legacy), message(want));
        }
    }

    #[test]
    fn an_error_without_a_readable_id_gets_the_clients() {
        for id in ["", r#""id":null,"#] {
            let text =
                format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-32600,"message":"x"}}}}"#);
            assert_eq!(
                mended(&text, "\"a\"", Era::Modern),
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"message":"x"}}"#
            );
        }
    }

    #[test]
    fn kinds_of_messages_are_told_apart() {
        assert!(matches!(
            read(br#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#).unwrap(),
            Incoming::Ask { .. }
        ));
        let note = read(
            br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5}}"#,
        )
        .unwrap();
        let Incoming::Note { method: Method::Progress, about } = note else { panic!() };
        assert!(about.token.is_some());
        let ask =
            br#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"mode":"url"}}"#;
        let Incoming::Ask { method: Method::Elicit, url: true, .. } = read(ask).unwrap() else {
            panic!()
        };
        let error = answer(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x"}}"#);
        assert!(matches!(error.body, Body::Error(ErrorParts { code: -32602, .. })));
        assert!(read(br#"{"jsonrpc":"2.0","id":1,"result":7}"#).is_err());
        assert!(read(br#"{"jsonrpc":"2.0","id":1}"#).is_err());
        assert!(read(br#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#).is_err());
        let ask = answer(br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#);
        let Body::Result(parts) = ask.body else { panic!() };
        assert_eq!(
            parts.kind(br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#),
            ResultKind::InputRequired
        );
    }
}
