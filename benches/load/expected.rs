//! What a reply must be, byte for byte.
//!
//! Of the peer and of a plain proxy every byte is known beforehand. A gateway may order the
//! envelope its own way, so its first reply to each kind of call is read in full: id, result kind,
//! content to the byte, tools to the member. After that every reply must be the same bytes, but for
//! the id and the `ttlMs` of a list, which may count down.

use serde_json::Value;

use crate::Result;
use crate::content::{self, Size};
use crate::protocol::{Era, REPLY_HEAD};

enum Piece {
    Bytes(Vec<u8>),
    Id,
    Number,
}

/// A reply as pieces in their order.
pub(crate) struct Expected(Vec<Piece>);

/// What the result of a reply must hold.
#[derive(Clone)]
pub(crate) enum Want {
    Content {
        upstream: String,
        size: Size,
    },
    /// Each of these tools with these members; others may be listed beside them.
    Tools(Vec<Value>),
}

impl Expected {
    /// The exact reply of the peer itself.
    pub(crate) fn exact(era: Era, want: &Want) -> Self {
        let result = match want {
            Want::Content { upstream, size } => content::call_result(era, upstream, *size),
            Want::Tools(tools) => content::list_result(era, tools),
        };
        let after = format!(r#","result":{result}}}"#);
        Self(vec![Piece::Bytes(REPLY_HEAD.into()), Piece::Id, Piece::Bytes(after.into())])
    }

    /// From a gateway's first reply, if that is right.
    pub(crate) fn learn(era: Era, want: &Want, id: &str, body: &[u8]) -> Result<Self> {
        check(era, want, id, body)?;
        // Long and used once, so it stands nowhere else in the reply.
        let at = find(body, id.as_bytes()).ok_or("the id is not written as it was sent")?;
        let (before, rest) = body.split_at(at);
        let after = rest.get(id.len()..).unwrap_or_default();
        let mut pieces = Vec::new();
        push_literal(&mut pieces, before);
        pieces.push(Piece::Id);
        push_literal(&mut pieces, after);
        Ok(Self(pieces))
    }

    pub(crate) fn matches(&self, id: &str, body: &[u8]) -> bool {
        let rest = self.0.iter().try_fold(body, |rest, piece| match piece {
            Piece::Bytes(bytes) => rest.strip_prefix(bytes.as_slice()),
            Piece::Id => rest.strip_prefix(id.as_bytes()),
            Piece::Number => rest.get(digits(rest)..),
        });
        rest.is_some_and(<[u8]>::is_empty)
    }
}

const TTL: &[u8] = br#""ttlMs":"#;

/// The bytes as they are, except that the value of a `ttlMs` is any number.
fn push_literal(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    let Some(at) = find(bytes, TTL) else {
        return pieces.push(Piece::Bytes(bytes.to_vec()));
    };
    let (before, rest) = bytes.split_at(at + TTL.len());
    pieces.push(Piece::Bytes(before.to_vec()));
    pieces.push(Piece::Number);
    pieces.push(Piece::Bytes(rest.get(digits(rest)..).unwrap_or_default().to_vec()));
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn check(era: Era, want: &Want, id: &str, body: &[u8]) -> Result<()> {
    let reply: Value = serde_json::from_slice(body)?;
    if reply["jsonrpc"] != "2.0" || reply["id"] != serde_json::from_str::<Value>(id)? {
        return Err("wrong envelope or id".into());
    }
    let result = reply.get("result").ok_or("no result")?;
    check_kind(era, result)?;
    match want {
        Want::Content { upstream, size } => {
            check_content(result, body, &content::content(upstream, *size))
        }
        Want::Tools(tools) => check_tools(result, tools),
    }
}

fn check_kind(era: Era, result: &Value) -> Result<()> {
    let complete = match result.get("resultType") {
        Some(kind) => kind == "complete",
        None => era == Era::Legacy,
    };
    if complete { Ok(()) } else { Err("resultType is not \"complete\"".into()) }
}

fn check_content(result: &Value, body: &[u8], content: &str) -> Result<()> {
    if result.get("isError").is_some_and(|error| error != false) {
        return Err("isError is set".into());
    }
    if find(body, content.as_bytes()).is_none() {
        return Err("the content is not the upstream's, byte for byte".into());
    }
    Ok(())
}

fn check_tools(result: &Value, wanted: &[Value]) -> Result<()> {
    let listed = result["tools"].as_array().ok_or("no tools")?;
    for tool in wanted {
        let mut same_name = listed.iter().filter(|found| found["name"] == tool["name"]);
        let (Some(found), None) = (same_name.next(), same_name.next()) else {
            return Err(format!("tool {} is not listed once", tool["name"]).into());
        };
        let members = tool.as_object().ok_or("a tool is an object")?;
        if let Some((key, _)) = members.iter().find(|(key, value)| found.get(key) != Some(value)) {
            return Err(format!("tool {} came with another {key}", tool["name"]).into());
        }
    }
    Ok(())
}
