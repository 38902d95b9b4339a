//! Pure: a look at the first bytes of a message, before it is decided how to go on with it.

use super::name::Name;
use super::walk::{Walker, What};
use super::word::Word;

/// What the first bytes of a message tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// A result object begins: the message can stream.
    Streams,
    /// An error, a request, a note or no message at all: it must be read whole.
    Whole,
    /// Nothing yet: more bytes are needed.
    More,
}

/// Looks at the first bytes of a message. It sees the keys of the top level up to the opening brace
/// of `result`, and nothing behind it. Each look begins anew, so the caller bounds the bytes, and
/// reads whole what tells nothing within them.
pub fn peek(first: &[u8]) -> Peek {
    let (mut walker, mut word) = (Walker::new(), Word::new());
    let (mut at, mut name) = (0, Name::Other);
    loop {
        let event = match walker.next(first, &mut at) {
            Ok(Some(event)) => event,
            Ok(None) => return Peek::More,
            Err(_) => return Peek::Whole,
        };
        match (event.depth, event.what) {
            (0, What::Value(b'{')) => {}
            (0, _) => return Peek::Whole,
            (1, What::Key) => word.begin(event.at),
            (1, What::Named) => {
                name = Name::of(word.end(first, event.at));
                if matches!(name, Name::Error | Name::Method) {
                    return Peek::Whole;
                }
            }
            (1, What::Value(byte)) if name == Name::Result => {
                return if byte == b'{' { Peek::Streams } else { Peek::Whole };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_how_to_go_on() {
        let cases = [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"#, Peek::Streams),
            (r#" {"x":{"result":7,"error":1},"re\u0073ult" : {"#, Peek::Streams),
            (r#"{"jsonrpc":"2.0","id":1,"result":"#, Peek::More),
            (r#"{"jsonrpc":"2.0","id":1,"resu"#, Peek::More),
            (r#"{"x":{"result":{"#, Peek::More),
            ("", Peek::More),
            (r#"{"id":1,"result":7"#, Peek::Whole),
            (r#"{"id":1,"error":"#, Peek::Whole),
            (r#"{"method":"x","id":1,"result":{"#, Peek::Whole),
            (r#"{"id":1}"#, Peek::Whole),
            (r#"[{"result":{"#, Peek::Whole),
            ("data: {", Peek::Whole),
            (r#"{"id":1,,"#, Peek::Whole),
        ];
        for (text, want) in cases {
            assert_eq!(peek(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_longer_look_never_tells_otherwise() {
        let text = br#"{"jsonrpc":"2.0","id":"a","x":[1],"result":{"content":[]}}"#;
        let place = text.windows(10).position(|part| part == b"\"result\":{").unwrap() + 10;
        for end in 0..=text.len() {
            let want = if end < place { Peek::More } else { Peek::Streams };
            assert_eq!(peek(&text[..end]), want, "{end}");
        }
    }
}
