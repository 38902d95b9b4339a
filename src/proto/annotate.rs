//! Pure: a word of the gateway's own on a finished answer, where its client asked for one. The rest
//! of the bytes stays as it is.

use bytes::Bytes;

use super::answer::{Body, Incoming, read};
use super::meta;
use super::scan::{Span, quote, within};
use super::splice::Splice;

/// Adds a member to the `_meta` of a result, or to the `data` of an error where that is an object or
/// not there. What stands there under the same key gives way. An answer that takes no such member
/// stays as it is.
pub fn annotate(message: &Bytes, key: &str, value: &str) -> Bytes {
    match read(message) {
        Ok(Incoming::Answer(answer)) => match &answer.body {
            Body::Result(parts) => put(message, parts.span, "_meta", (key, value)),
            Body::Error(parts) => put(message, Some(parts.span), "data", (key, value)),
        },
        _ => message.clone(),
    }
}

/// Adds the member to the object `name` inside the object at `span`.
fn put(message: &Bytes, span: Option<Span>, name: &str, (key, value): (&str, &str)) -> Bytes {
    let Some(span) = span else { return message.clone() };
    let entry = format!("{}:{value}", quote(key));
    let Some(holder) = within(message, span, name) else {
        return insert(message, span, format!("{}:{{{entry}}}", quote(name)));
    };
    if holder.value.of(message).first() != Some(&b'{') {
        return message.clone();
    }
    let Some(old) = within(message, holder.value, key) else {
        return insert(message, holder.value, entry);
    };
    let mut splice = Splice::new(message);
    splice.put(old.value, value.as_bytes());
    splice.apply_to(message)
}

/// Writes a first member into the object at `span`.
fn insert(message: &Bytes, span: Span, member: String) -> Bytes {
    let (at, empty) = meta::inside(message, span);
    let what = if empty { member } else { member + "," };
    let mut splice = Splice::new(message);
    splice.insert(at, what.as_bytes());
    splice.apply_to(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_in_every_kind_of_answer() {
        let table = [
            (r#""result":{}"#, r#""result":{"_meta":{"k":[1]}}"#),
            (r#""result":{"a": 1}"#, r#""result":{"_meta":{"k":[1]},"a": 1}"#),
            (r#""result":{"a":1,"_meta":{}}"#, r#""result":{"a":1,"_meta":{"k":[1]}}"#),
            (r#""result":{"_meta":{"t":2}}"#, r#""result":{"_meta":{"k":[1],"t":2}}"#),
            (r#""result":{"_meta":{"k":"x","t":2}}"#, r#""result":{"_meta":{"k":[1],"t":2}}"#),
            (r#""result":{"_meta":7}"#, r#""result":{"_meta":7}"#),
            (
                r#""error":{"code":-1,"message":"m"}"#,
                r#""error":{"data":{"k":[1]},"code":-1,"message":"m"}"#,
            ),
            (
                r#""error":{"code":-1,"message":"m","data":{"s":1}}"#,
                r#""error":{"code":-1,"message":"m","data":{"k":[1],"s":1}}"#,
            ),
            (
                r#""error":{"code":-1,"message":"m","data":"x"}"#,
                r#""error":{"code":-1,"message":"m","data":"x"}"#,
            ),
        ];
        for (before, after) in table {
            let whole = |inner: &str| format!(r#"{{"jsonrpc":"2.0","id":1,{inner}}}"#);
            let got = annotate(&Bytes::from(whole(before)), "k", "[1]");
            assert_eq!(String::from_utf8(got.to_vec()).unwrap(), whole(after));
        }
    }
}
