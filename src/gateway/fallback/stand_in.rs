//! Another tool that answers instead: the same call under another name, over the ordinary way of
//! the same caller.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;

use crate::base::clock;
use crate::catalog::Lookup;
use crate::gateway::call::Call;
use crate::gateway::snapshot::Snapshot;
use crate::gateway::spec::StandIn;
use crate::gateway::wish::Wish;
use crate::gateway::{Inner, dispatch};
use crate::proto::answer::{Body, Incoming, ResultKind, read};
use crate::proto::envelope::split;
use crate::proto::mapping::Unfit;
use crate::proto::meta::inside;
use crate::proto::scan::{member, quote, says};
use crate::proto::splice::Splice;
use crate::upstream::Told;

use super::steps::Stood;

/// What became of it.
pub(super) enum Came {
    /// An answer, and how good it is.
    Answer(Bytes, Stood),
    /// It was not even asked, because of this.
    Not(Cow<'static, str>),
    /// It has not answered while there was time.
    Late,
}

/// What is told to the client before the answer.
pub(super) type Tell<'a> = dyn FnMut(Told) + Send + 'a;

/// Calls the tool, and waits for its whole answer until `deadline`. The future has a box of its own:
/// it holds a whole call, and is rare.
pub(super) fn ask<'a>(
    inner: &'a Inner,
    snapshot: &'a Snapshot,
    stand_in: &'a StandIn,
    call: Call<'a>,
    deadline: Instant,
    tell: &'a mut Tell<'_>,
) -> Pin<Box<dyn Future<Output = Came> + Send + 'a>> {
    Box::pin(async move {
        let there = snapshot.view(call.caller.abilities).catalog.lookup(&stand_in.tool);
        if !matches!(there, Lookup::Tool(_) | Lookup::Transparent(_)) {
            return Came::Not("there is no such tool now".into());
        }
        let body = match body(call, stand_in) {
            Ok(body) => body,
            Err(unfit) => return Came::Not(unfit.to_string().into()),
        };
        let Ok(shape) = split(&body) else {
            return Came::Not("the call for it cannot be read".into());
        };
        let Some(left) = deadline.checked_duration_since(clock::now()) else {
            return Came::Not("no time is left".into());
        };
        let Wish { attempts, nested, .. } = call.wish;
        let wish = Wish { attempts, nested, stands_in: true, ..Wish::default() };
        // What the client mirrored in headers was about the other tool.
        let call = Call { body: &body, shape: &shape, caller: call.caller, headers: None, wish };
        let answer = async {
            let reply = dispatch::dispatch(inner, call, &mut *tell).await;
            reply.whole(Some(call.id())).await
        };
        match tokio::time::timeout(left, answer).await {
            Ok(message) => {
                let stood = judge(&message);
                Came::Answer(message, stood)
            }
            Err(_elapsed) => Came::Late,
        }
    })
}

/// The client's message under the other name, with the arguments that belong there. Which balancer
/// the client wanted was about the other upstream.
fn body(call: Call<'_>, stand_in: &StandIn) -> Result<Bytes, Unfit> {
    let (arguments, added);
    let name = quote(&stand_in.tool);
    let mut splice = Splice::new(call.body);
    if let Some(span) = call.shape.name {
        splice.put(span, name.as_bytes());
    }
    match (call.shape.arguments, call.shape.params) {
        (Some(span), _) => {
            arguments = stand_in.mapping.apply(span.of(call.body))?;
            splice.put(span, &arguments);
        }
        (None, Some(params)) if !stand_in.mapping.is_empty() => {
            let arguments = stand_in.mapping.apply(b"{}")?;
            added = [br#""arguments":"#, arguments.as_ref(), b","].concat();
            splice.insert(inside(call.body, params).0, &added);
        }
        (None, _) => {}
    }
    if let Some(strategy) = call.shape.keys.strategy {
        splice.cut(strategy);
    }
    Ok(splice.apply_to(call.body))
}

/// What an answer says of the call.
fn judge(message: &[u8]) -> Stood {
    let Ok(Incoming::Answer(answer)) = read(message) else { return Stood::MayHaveRun };
    match answer.body {
        Body::Result(parts) => match parts.kind(message) {
            ResultKind::Complete => Stood::Result,
            ResultKind::InputRequired | ResultKind::Other => Stood::Unfinished,
        },
        Body::Error(parts) => {
            let data = member(parts.span.of(message), "data");
            let is = |key: &str, word: &str| {
                data.and_then(|data| member(data, key)).is_some_and(|said| says(said, word))
            };
            let unseen = is("delivery", "not_sent") || is("delivery", "rejected");
            if is("source", "gateway") && unseen { Stood::NotRun } else { Stood::MayHaveRun }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Era;
    use crate::proto::mapping::Mapping;
    use crate::upstream::Caller;

    fn caller() -> Caller {
        Caller::silent(Era::Modern)
    }

    fn rewritten(params: &str, mapping: Mapping) -> Result<String, Unfit> {
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":"é","method":"tools/call","params":{params}}}"#);
        let (body, caller) = (Bytes::from(text), caller());
        let shape = split(&body).unwrap();
        let call = Call {
            body: &body,
            shape: &shape,
            caller: &caller,
            headers: None,
            wish: Wish::default(),
        };
        let stand_in = StandIn { tool: "b__\"x".to_owned(), mapping };
        let text = super::body(call, &stand_in)?;
        split(&text).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let params = text.split_once(r#""params":"#).unwrap().1;
        Ok(params.strip_suffix('}').unwrap().to_owned())
    }

    #[test]
    fn only_name_and_arguments_change() {
        let map = || {
            let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
            Mapping::new([pair("query", "q")], [pair("n", "5")])
        };
        let table = [
            (r#"{"name":"a__x"}"#, r#"{"arguments":{"n":5},"name":"b__\"x"}"#),
            (
                r#"{ "arguments":{"query":1.0} , "name" : "a\u005f_x","_meta":{"k":1}}"#,
                r#"{ "arguments":{"n":5,"q":1.0} , "name" : "b__\"x","_meta":{"k":1}}"#,
            ),
            (
                r#"{"name":"a","arguments":{},"_meta":{"dev.waypost/strategy":"random","dev.waypost/trace":true,"progressToken":7}}"#,
                r#"{"name":"b__\"x","arguments":{"n":5},"_meta":{"dev.waypost/trace":true,"progressToken":7}}"#,
            ),
            (
                r#"{"_meta":{"dev.waypost/strategy":"random"},"name":"a"}"#,
                r#"{"arguments":{"n":5},"_meta":{},"name":"b__\"x"}"#,
            ),
        ];
        for (before, after) in table {
            assert_eq!(rewritten(before, map()).unwrap(), after);
        }
        let odd = r#"{"name":"a","arguments":[1]}"#;
        assert_eq!(rewritten(odd, map()), Err(Unfit::NoObject));
        assert!(rewritten(odd, Mapping::default()).unwrap().contains("[1]"));
    }

    #[test]
    fn an_answer_says_whether_it_is_one_and_whether_the_tool_may_have_run() {
        let table = [
            (r#""result":{}"#, Stood::Result),
            (r#""result":{"isError":true}"#, Stood::Result),
            (r#""result":{"resultType":"complete"}"#, Stood::Result),
            (r#""result":{"resultType":"input_required"}"#, Stood::Unfinished),
            (r#""result":{"resultType":"task"}"#, Stood::Unfinished),
            (r#""error":{"code":-32603,"message":"x"}"#, Stood::MayHaveRun),
            (
                r#""error":{"code":-31002,"message":"x","data":{"source":"gateway","delivery":"not_sent"}}"#,
                Stood::NotRun,
            ),
            (
                r#""error":{"code":-31002,"message":"x","data":{"source":"gateway","delivery":"rejected"}}"#,
                Stood::NotRun,
            ),
            (
                r#""error":{"code":-31003,"message":"x","data":{"source":"gateway","delivery":"unknown"}}"#,
                Stood::MayHaveRun,
            ),
            (
                r#""error":{"code":-1,"message":"x","data":{"delivery":"not_sent"}}"#,
                Stood::MayHaveRun,
            ),
        ];
        for (body, wanted) in table {
            let message = format!(r#"{{"jsonrpc":"2.0","id":1,{body}}}"#);
            assert_eq!(judge(message.as_bytes()), wanted, "{body}");
        }
        assert_eq!(judge(b"no json"), Stood::MayHaveRun);
    }
}
