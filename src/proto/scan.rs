//! Pure: a strict scanner over borrowed JSON text. It finds where values begin and end and checks
//! that they are JSON; it builds nothing.
//!
//! Why our own: a message is scanned once on its way through the gateway, and the scan must count
//! depth and keys, tell the place of single members, and skip strings at memory speed. A parser
//! that builds values costs five to ten times as much. Skipping is iterative: a document that is
//! 100,000 levels deep costs no stack.

use std::borrow::Cow;
use std::fmt;

/// Where a piece of text stands in the message: byte offsets, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes of the span; empty if the span is not of this text.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes it covers.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it covers nothing.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A member of an object: its key (with quotes) and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, quotes included.
    pub key: Span,
    /// The value.
    pub value: Span,
}

impl Member {
    /// The same in a text in which the object stands so far on.
    pub(super) fn moved(self, by: usize) -> Self {
        let moved = |part: Span| Span { start: part.start + by, end: part.end + by };
        Self { key: moved(self.key), value: moved(self.value) }
    }
}

/// A key of an object, as the scanner meets it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, quotes included.
    pub span: Span,
    escaped: bool,
}

/// Bounds of one document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deepest nesting of arrays and objects, at most [`DEPTH_CEILING`].
    pub depth_max: usize,
    /// Most object keys in the whole document.
    pub keys_max: usize,
}

/// The deepest nesting any [`Limits`] can allow.
pub const DEPTH_CEILING: usize = 256;

impl Limits {
    /// What a client may send: depth 64, 10,000 keys.
    pub const REQUEST: Self = Self { depth_max: 64, keys_max: 10_000 };
    /// What an upstream may answer: depth 256; its size is bounded elsewhere.
    pub const ANSWER: Self = Self { depth_max: DEPTH_CEILING, keys_max: usize::MAX };
}

/// Why a document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// Not JSON at this byte offset.
    Syntax(usize),
    /// Not UTF-8 at this byte offset.
    Utf8(usize),
    /// Nested deeper than allowed.
    TooDeep(usize),
    /// More object keys than allowed.
    TooManyKeys(usize),
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(at) => write!(f, "not valid JSON at byte {at}"),
            Self::Utf8(at) => write!(f, "not valid UTF-8 at byte {at}"),
            Self::TooDeep(max) => write!(f, "nested deeper than {max} levels"),
            Self::TooManyKeys(max) => write!(f, "more than {max} object keys"),
        }
    }
}

impl std::error::Error for ScanError {}

/// A cursor over one document.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    limits: Limits,
    keys: usize,
    depth: usize,
    /// One bit a level: set = object. Deeper than the ceiling is refused before it is written.
    objects: [u64; DEPTH_CEILING / 64],
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `text`. Checks that the whole text is UTF-8.
    pub fn new(text: &'a [u8], limits: Limits) -> Result<Self, ScanError> {
        if let Err(bad) = simdutf8::compat::from_utf8(text) {
            return Err(ScanError::Utf8(bad.valid_up_to()));
        }
        Ok(Self::trusted(text, limits))
    }

    /// A scanner over text that is known to be UTF-8, such as a part of a document seen before.
    pub fn trusted(text: &'a [u8], limits: Limits) -> Self {
        let objects = [0; DEPTH_CEILING / 64];
        Self { text, at: 0, limits, keys: 0, depth: 0, objects }
    }

    /// The next byte that is not white space, if any.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Where the cursor stands.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Enters an object; the cursor then stands before its first key or its end.
    pub fn enter_object(&mut self) -> Result<(), ScanError> {
        if self.peek() != Some(b'{') {
            return Err(self.syntax());
        }
        self.push(true)
    }

    /// The next key of the object that was entered (quotes included), with the cursor before its
    /// value; `None` when the object ends, with the cursor behind it.
    pub fn next_key(&mut self, first: bool) -> Result<Option<Key>, ScanError> {
        match (self.peek(), first) {
            (Some(b'}'), _) => {
                self.pop();
                Ok(None)
            }
            (Some(b'"'), true) => self.key().map(Some),
            (Some(b','), false) => {
                self.at += 1;
                self.key().map(Some)
            }
            _ => Err(self.syntax()),
        }
    }

    /// The text of a key, unescaped, as UTF-8 bytes.
    pub fn text_of(&self, key: Key) -> Cow<'a, [u8]> {
        let raw = self.text.get(key.span.start..key.span.end).unwrap_or_default();
        if key.escaped {
            return Cow::Owned(unquote(raw).unwrap_or_default().into_owned().into_bytes());
        }
        Cow::Borrowed(raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default())
    }

    /// Skips one value of any kind and tells where it stands.
    pub fn skip(&mut self) -> Result<Span, ScanError> {
        let floor = self.depth;
        self.peek();
        let start = self.at;
        loop {
            if self.leaf_or_open()? {
                continue;
            }
            loop {
                if self.depth == floor {
                    return Ok(Span { start, end: self.at });
                }
                if self.next_in_container()? {
                    break;
                }
            }
        }
    }

    /// Where the elements of the one array that the text is stand; the first `count_max` of them.
    pub fn elements(&mut self, count_max: usize) -> Result<Vec<Span>, ScanError> {
        if self.peek() != Some(b'[') {
            return Err(self.syntax());
        }
        self.push(false)?;
        let mut found = Vec::new();
        if self.peek() == Some(b']') {
            self.pop();
            return self.finish().map(|()| found);
        }
        loop {
            found.push(self.skip()?);
            if found.len() >= count_max {
                return Ok(found);
            }
            if !self.next_in_container()? {
                return self.finish().map(|()| found);
            }
        }
    }

    /// Checks that nothing but white space is left.
    pub fn finish(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.syntax()),
        }
    }

    /// At a value: skips a leaf, or opens a container. Answers whether a value must follow.
    fn leaf_or_open(&mut self) -> Result<bool, ScanError> {
        match self.peek() {
            Some(b'{') => {
                self.push(true)?;
                if self.peek() == Some(b'}') {
                    self.pop();
                    return Ok(false);
                }
                self.key().map(|_| true)
            }
            Some(b'[') => {
                self.push(false)?;
                if self.peek() == Some(b']') {
                    self.pop();
                    return Ok(false);
                }
                Ok(true)
            }
            Some(b'"') => self.string().map(|_| false),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.syntax()),
        }
    }

    /// Behind a value inside a container: moves on. Answers whether another value follows.
    fn next_in_container(&mut self) -> Result<bool, ScanError> {
        let object = self.in_object();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                if object {
                    self.key()?;
                }
                Ok(true)
            }
            Some(b'}') if object => {
                self.pop();
                Ok(false)
            }
            Some(b']') if !object => {
                self.pop();
                Ok(false)
            }
            _ => Err(self.syntax()),
        }
    }

    fn key(&mut self) -> Result<Key, ScanError> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        self.keys += 1;
        if self.keys > self.limits.keys_max {
            return Err(ScanError::TooManyKeys(self.limits.keys_max));
        }
        let start = self.at;
        let escaped = self.string()?;
        let span = Span { start, end: self.at };
        if self.peek() != Some(b':') {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(Key { span, escaped })
    }

    /// Skips a string. Answers whether it has escapes.
    fn string(&mut self) -> Result<bool, ScanError> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain_run(self.text.get(self.at..).unwrap_or_default());
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit) {
                    self.at += 6;
                    return Ok(());
                }
                Err(self.syntax())
            }
            _ => Err(self.syntax()),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<bool, ScanError> {
        if self.text.get(self.at..self.at + word.len()) == Some(word) {
            self.at += word.len();
            return Ok(false);
        }
        Err(self.syntax())
    }

    fn number(&mut self) -> Result<bool, ScanError> {
        self.eat(b'-');
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.syntax()),
        }
        if self.eat(b'.') {
            self.some_digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.some_digits()?;
        }
        Ok(false)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), ScanError> {
        let before = self.at;
        self.digits();
        if self.at == before { Err(self.syntax()) } else { Ok(()) }
    }

    fn push(&mut self, object: bool) -> Result<(), ScanError> {
        if self.depth >= self.limits.depth_max.min(DEPTH_CEILING) {
            return Err(ScanError::TooDeep(self.limits.depth_max));
        }
        if let Some(word) = self.objects.get_mut(self.depth / 64) {
            let bit = 1_u64 << (self.depth % 64);
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn pop(&mut self) {
        debug_assert!(self.depth > 0, "a container is left only after it was entered");
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
    }

    fn in_object(&self) -> bool {
        let level = self.depth.saturating_sub(1);
        self.objects.get(level / 64).is_some_and(|word| word >> (level % 64) & 1 == 1)
    }

    fn syntax(&self) -> ScanError {
        ScanError::Syntax(self.at)
    }
}

/// How many bytes at the start of `text` are neither a quote, a backslash nor a control character.
/// Most strings are short: eight bytes are judged at once in a register. A string that goes on is
/// searched at memory speed, and what was passed over is judged in blocks without a branch, which
/// the compiler turns into vector instructions.
pub(super) fn plain_run(text: &[u8]) -> usize {
    const WORD: usize = 8;
    const SHORT: usize = 32;
    let mut done = 0;
    for word in text.chunks_exact(WORD).take(SHORT / WORD) {
        let found = first_special(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        if found < WORD {
            return done + found;
        }
        done += WORD;
    }
    let rest = text.get(done..).unwrap_or_default();
    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let run = rest.get(..end).unwrap_or_default();
    let plain = |block: &[u8]| block.iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= 0x20;
    if run.chunks(4096).all(plain) {
        return done + end;
    }
    done + run.iter().position(|byte| *byte < 0x20).unwrap_or(end)
}

/// The place of the first quote, backslash or control character among eight bytes; 8 if there is
/// none. A borrow of the subtraction can only mark bytes behind a true hit, so the first is exact.
fn first_special(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGH;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let hits = below(word, 0x20) | equal(b'"') | equal(b'\\');
    usize::try_from(hits.trailing_zeros() / 8).unwrap_or(8)
}

/// Whether a JSON string (quotes included in `raw`) says this text.
pub fn says(raw: &[u8], text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    let inner = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    match inner {
        // Most often nothing is escaped, and what was scanned needs no second look.
        Some(plain) if !plain.contains(&b'\\') => plain == text,
        _ => unquote(raw).is_some_and(|said| said.as_bytes() == text),
    }
}

/// The text of a JSON string (quotes included in `raw`), unescaped; lone surrogates become U+FFFD.
/// `None` if `raw` is not a JSON string.
pub fn unquote(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let text = std::str::from_utf8(inner).ok()?;
    if !inner.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    unescape(text).map(Cow::Owned)
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, tail)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next()? {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let (unit, after) = hex_unit(chars.as_str())?;
                rest = push_unit(&mut out, unit, after);
                continue;
            }
            other => out.push(other),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Some(out)
}

fn hex_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, after))
}

/// Pushes the character that `unit` begins, taking the second half of a surrogate pair if it is
/// there. Answers what is left.
fn push_unit<'t>(out: &mut String, unit: u16, after: &'t str) -> &'t str {
    if (0xD800..0xDC00).contains(&unit)
        && let Some((low, behind)) = after.strip_prefix("\\u").and_then(hex_unit)
        && let Some(Ok(both)) = char::decode_utf16([unit, low]).next()
    {
        out.push(both);
        return behind;
    }
    out.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    after
}

/// `text` as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    if plain_run(text.as_bytes()) == text.len() {
        return ["\"", text, "\""].concat();
    }
    serde_json::Value::from(text).to_string()
}

/// The members of the object `text`, which is known to be valid JSON.
pub fn members(text: &[u8]) -> Result<Vec<Member>, ScanError> {
    let mut scanner = Scanner::trusted(text, Limits::ANSWER);
    let mut found = Vec::new();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key(found.is_empty())? {
        let value = scanner.skip()?;
        found.push(Member { key: key.span, value });
    }
    Ok(found)
}

/// The value of the member `name` of the object `text`, if both are there. Cold paths only: each
/// call scans the object again.
pub fn member<'t>(text: &'t [u8], name: &str) -> Option<&'t [u8]> {
    let all = members(text).ok()?;
    let wanted = |m: &&Member| unquote(m.key.of(text)).is_some_and(|key| key == name);
    all.iter().find(wanted).map(|m| m.value.of(text))
}

/// The member `name` of the object at `span`, in the spans of the whole text. Cold paths only.
pub fn within(text: &[u8], span: Span, name: &str) -> Option<Member> {
    let object = span.of(text);
    let all = members(object).ok()?;
    let found = all.iter().find(|m| unquote(m.key.of(object)).is_some_and(|key| key == name))?;
    Some(found.moved(span.start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &[u8]) -> Result<(), ScanError> {
        let mut scanner = Scanner::new(text, Limits::ANSWER)?;
        scanner.skip()?;
        scanner.finish()
    }

    #[test]
    fn a_string_says_its_text_however_it_is_written() {
        assert!(says(br#""2.0""#, "2.0") && says(br#""\u0032.0""#, "2.0"));
        assert!(says(br#""""#, "") && says("\"\u{e9}\"".as_bytes(), "\u{e9}"));
        assert!(!says(br#""a\nb""#, r"a\nb"), "an escape is not its own text");
        for other in [br#""2.0"#.as_slice(), b"2.0", b"", b"\"", br#"["2.0"]"#, br#""2.00""#] {
            assert!(!says(other, "2.0"), "{other:?}");
        }
    }

    #[test]
    fn accepts_what_is_json_and_refuses_what_is_not() {
        let good: &[&str] = &[
            "{}",
            "[]",
            " [1, -2.5e+10, 0.1E-2, 0] ",
            r#"{"a":[{"b":null}],"c":"\ud800\n"}"#,
            "true",
            "false",
            "null",
            "\"\"",
            "12345678901234567890123",
            "[[],{}]",
        ];
        for text in good {
            assert_eq!(accepts(text.as_bytes()), Ok(()), "{text}");
        }
        let bad: &[&str] = &[
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "nul",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "[1 2]",
            "{} {}",
            "NaN",
            "\u{feff}{}",
            "[}",
            "{]",
            "\"open",
            "-",
        ];
        for text in bad {
            assert!(accepts(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(accepts(b"\"\xff\""), Err(ScanError::Utf8(1)));
    }

    #[test]
    fn a_document_100_000_levels_deep_is_refused_without_recursion() {
        let text = "[".repeat(100_000);
        assert_eq!(accepts(text.as_bytes()), Err(ScanError::TooDeep(256)));
        let deep = format!("{}{}", "[".repeat(256), "]".repeat(256));
        assert_eq!(accepts(deep.as_bytes()), Ok(()));
    }

    #[test]
    fn keys_are_counted_over_the_whole_document() {
        let text = format!("[{}]", [r#"{"k":1}"#; 11].join(","));
        let limits = Limits { depth_max: 8, keys_max: 10 };
        let mut scanner = Scanner::new(text.as_bytes(), limits).unwrap();
        assert_eq!(scanner.skip(), Err(ScanError::TooManyKeys(10)));
    }

    #[test]
    fn unquote_decodes_escapes_and_pairs() {
        assert_eq!(unquote(br#""meth\u006fd""#).unwrap(), "method");
        assert_eq!(unquote(br#""\ud83d\ude00\n\/""#).unwrap(), "😀\n/");
        assert_eq!(unquote(br#""\ud800x""#).unwrap(), "\u{fffd}x");
        assert!(unquote(b"7").is_none());
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_any_text(text in "[\\[\\]{}\",:0-9a-z\\\\ .eE+-]{0,24}") {
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            // serde_json refuses what does not fit an f64 and lone surrogates; both are fine here.
            if theirs {
                prop_assert!(accepts(text.as_bytes()).is_ok());
            } else if accepts(text.as_bytes()).is_ok() {
                prop_assert!(text.contains(['e', 'E']) || text.contains("\\u"), "{text}");
            }
        }

        #[test]
        fn quote_and_unquote_are_inverse(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert_eq!(unquote(quoted.as_bytes()).unwrap(), text);
        }
    }
}
