//! The passage against reading the whole: every cut of a table of messages, and random ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::answer::{Answer, Body, Incoming, Reader, mend, read};
use super::super::scan::Limits;
use super::super::scan::{DEPTH_CEILING, Scanner};
use super::*;

/// Sends pieces through. What comes out, and what is known of it.
fn through(pieces: &[&[u8]], client_id: &str, client: Era) -> Result<(String, Summary), Broken> {
    let mut passage = Passage::new(b"7", client_id.as_bytes(), client);
    let mut out = SmallVec::new();
    for piece in pieces {
        passage.push(Bytes::copy_from_slice(piece), &mut out)?;
    }
    let summary = passage.finish()?;
    Ok((String::from_utf8(out.concat()).unwrap(), summary))
}

/// Sends a text through whole, and cut into two and three pieces in every way; all must come out
/// alike.
#[track_caller]
fn every_cut(text: &[u8], client_id: &str, client: Era) -> Result<(String, Summary), Broken> {
    let want = through(&[text], client_id, client);
    for a in 0..=text.len() {
        for b in a..=text.len() {
            let pieces = [&text[..a], &text[a..b], &text[b..]];
            let got = through(&pieces, client_id, client);
            assert_eq!(got, want, "cut at {a} and {b}: {}", String::from_utf8_lossy(text));
        }
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(through(&bytes, client_id, client), want, "byte by byte");
    want
}

fn whole(text: &str, client_id: &str, client: Era) -> (String, Answer) {
    let bytes = Bytes::from(text.to_owned());
    let Ok(Incoming::Answer(answer)) = read(&bytes) else { panic!("{text}") };
    let reader = Reader { id: client_id.as_bytes(), era: client, cacheable: false };
    let mended = mend(&bytes, &answer, reader);
    (String::from_utf8(mended.to_vec()).unwrap(), answer)
}

/// The text without blanks between its tokens.
fn tight(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let kept = text.chars().filter(|c| {
        let keep = inside || !c.is_ascii_whitespace();
        inside ^= *c == '"' && !escaped;
        escaped = inside && *c == '\\' && !escaped;
        keep
    });
    kept.collect()
}

/// Holds what came out against the mended whole. `resultType` is moved to where `mend` puts it;
/// everything else must be the same to the byte, save for blanks.
#[track_caller]
fn as_mended(text: &str, got: &(String, Summary), client_id: &str, client: Era) {
    let (want, answer) = whole(text, client_id, client);
    let Body::Result(parts) = &answer.body else { panic!("{text}") };
    let got_value: Value = serde_json::from_str(&got.0).unwrap();
    let mut want_value: Value = serde_json::from_str(&want).unwrap();
    if got.1.structured_dropped {
        // The text block that stands for it is not put in while an answer passes.
        let had = serde_json::from_str::<Value>(text).unwrap()["result"].get("content").cloned();
        let result = want_value["result"].as_object_mut().unwrap();
        match had {
            Some(content) => drop(result.insert("content".to_owned(), content)),
            None => drop(result.remove("content")),
        }
        assert!(got_value == want_value, "{} is not {want_value}", got.0);
        return;
    }
    // Without the order of members.
    assert!(got_value == want_value, "{} is not {want}", got.0);
    let plain = |text: &str| {
        let text = tight(text);
        if client == Era::Legacy || parts.result_type.is_some() {
            return text;
        }
        let piece = r#""resultType":"complete""#;
        text.replacen(&format!("{piece},"), "", 1)
            .replacen(&format!(",{piece}}}"), "}", 1)
            .replacen(piece, "", 1)
    };
    assert_eq!(plain(&got.0), plain(&want));
    if client == Era::Modern && parts.result_type.is_none() {
        // Outside the edits even the blanks are the same.
        let piece = if parts.empty { "" } else { "," };
        let piece = format!("{piece}\"resultType\":\"complete\"");
        let end = parts.span.unwrap().end - 1;
        let mut expected = text.to_owned();
        expected.insert_str(end, &piece);
        if let Some(id) = answer.id {
            let shift = if id.start > end { piece.len() } else { 0 };
            expected.replace_range(id.start + shift..id.end + shift, client_id);
        }
        assert_eq!(got.0, expected);
    }
    assert_eq!(got.1.kind, parts.kind(text.as_bytes()));
    assert_eq!(got.1.is_error, parts.is_error);
    assert_eq!(got.1.id_seen, answer.id.is_some());
}

/// Answers to the request 7.
const ANSWERS: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a"}],"x":1e2}}"#,
    r#"{"result":{},"id":7,"jsonrpc":"2.0"}"#,
    r#"{"result":{ } ,"id" : 7 }"#,
    " {\r\n\t\"id\" :\n7 ,\n \"result\" : {\n \"content\" : [ ] ,\n \"isError\" : true\n}\n}\n ",
    r#"{"id":7,"result":{"resultType":"complete","content":[],"ttlMs":0,"cacheScope":"private"}}"#,
    r#"{"id":7,"result":{"ttlMs":0 , "cacheScope":"private" , "resultType" : "x" }}"#,
    r#"{"id":7,"result":{"a":1 , "ttlMs" : {"ttlMs":[2]} , "b":[] ,"resultType":null}}"#,
    r#"{"id":7,"result":{"ttl\u004ds":5,"\u0072esultType":"compl\u0065te","b":"\"\\\/\u00e9é😀"}}"#,
    r#"{"id":7,"result":{"structuredContent":{"resultType":"x","id":8},"isError":false}}"#,
    r#"{"id":7,"result":{"content":[1],"structuredContent":[true,null,{"a":"]"}],"z":-0.5E+7}}"#,
    r#"{"id":7,"result":{"content":[1],"structuredContent" : "s"}}"#,
    r#"{"x":{"id":1,"result":{},"error":2},"id":7,"result":{"isError":"true"},"y":[[],{}]}"#,
    r#"{"result":{"_meta":{"ttlMs":1},"resultType":[["complete"]]},"params":0}"#,
];

#[test]
fn every_cut_of_an_answer_comes_out_as_the_whole_is_mended() {
    for text in ANSWERS {
        for client in [Era::Modern, Era::Legacy] {
            let got = every_cut(text.as_bytes(), "\"client-1\"", client).unwrap();
            as_mended(text, &got, "\"client-1\"", client);
            for cut in 0..=text.len() {
                let (a, b) = text.as_bytes().split_at(cut);
                as_mended(text, &through(&[a, b], "7", client).unwrap(), "7", client);
            }
        }
    }
}

#[test]
fn what_a_client_gets() {
    let text = r#"{"id":7,"result":{ "ttlMs" : 1 , "a" : 2 , "resultType" : "complete" , "b" : 3 , "cacheScope" : 4 } }"#;
    let (modern, _) = every_cut(text.as_bytes(), "\"c\"", Era::Modern).unwrap();
    assert_eq!(modern, text.replacen('7', "\"c\"", 1));
    let (legacy, _) = every_cut(text.as_bytes(), "\"c\"", Era::Legacy).unwrap();
    assert_eq!(legacy, r#"{"id":"c","result":{   "a" : 2  , "b" : 3  } }"#);
    let (empty, _) = every_cut(br#"{"id":7,"result":{}}"#, "7", Era::Modern).unwrap();
    assert_eq!(empty, r#"{"id":7,"result":{"resultType":"complete"}}"#);
}

#[test]
fn structured_content_that_is_no_object_is_left_out_for_legacy_clients() {
    let text = br#"{"id":7,"result":{"structuredContent":[1,"b"],"content":[]}}"#;
    let (out, summary) = every_cut(text, "7", Era::Legacy).unwrap();
    assert_eq!(out, r#"{"id":7,"result":{"content":[]}}"#);
    assert!(summary.structured_dropped);
    let (_, summary) = every_cut(text, "7", Era::Modern).unwrap();
    assert!(!summary.structured_dropped);
}

#[test]
fn an_id_is_known_by_its_value_and_type() {
    let id = |upstream: &str, raw: &str| {
        let text = format!(r#"{{"result":{{}},"id":{raw}}}"#);
        let mut passage = Passage::new(upstream.as_bytes(), b"1", Era::Legacy);
        let mut out = SmallVec::new();
        for piece in text.as_bytes().chunks(3) {
            passage.push(Bytes::copy_from_slice(piece), &mut out)?;
        }
        passage.finish().map(|_| String::from_utf8(out.concat()).unwrap())
    };
    let long = format!("\"{}\"", "ab".repeat(31));
    let escaped = long.replace('a', "\\u0061").replace('b', "\\u0062");
    let good = r#"{"result":{},"id":1}"#.to_owned();
    for (upstream, raw) in
        [("5", "5"), ("\"a\"", r#""\u0061""#), (&long, &escaped), ("\"\"", "\"\"")]
    {
        assert_eq!(id(upstream, raw), Ok(good.clone()), "{upstream} {raw}");
    }
    let endless = format!("\"{}\"", "9".repeat(100_000));
    for raw in ["\"5\"", "55", "-5", "5.0", "null", "true", "{}", "[5]", &endless] {
        assert_eq!(id("5", raw), Err(Broken::ForeignId), "{raw}");
    }
}

#[test]
fn what_is_not_one_result_is_refused_at_every_cut() {
    let cases: &[(&str, Broken)] = &[
        (r#"{"id":7,"result":{},"id":7}"#, Broken::Twice("id")),
        (r#"{"id":7,"result":{},"\u0069d":7}"#, Broken::Twice("id")),
        (r#"{"id":7,"result":{},"result":{}}"#, Broken::Twice("result")),
        (r#"{"id":7,"result":{},"error":{}}"#, Broken::NotAResult),
        (r#"{"id":7,"method":"x","result":{}}"#, Broken::NotAResult),
        (r#"{"id":7,"result":[]}"#, Broken::NotAResult),
        (r#"{"id":7}"#, Broken::NotAResult),
        (r#"[{"id":7,"result":{}}]"#, Broken::NotAResult),
        ("7 ", Broken::NotAResult),
        (r#"{"id":8,"result":{}}"#, Broken::ForeignId),
        (r#"{"id":7,"result":{}"#, Broken::Truncated),
        (r#"{"id":7,"result":{"a":"\u00"#, Broken::Truncated),
        ("", Broken::Truncated),
        (r#"{"id":7,"result":{}} x"#, Broken::Syntax(21)),
        (r#"{"id":7,"result":{}}{}"#, Broken::Syntax(20)),
        (r#"{"id":7,"result":{"a":1,}}"#, Broken::Syntax(24)),
        (r#"{"id":7,"result":{"ttlMs":1,}}"#, Broken::Syntax(28)),
        (r#"{"id":7,"result":{,"a":1}}"#, Broken::Syntax(18)),
        (r#"{"id":7,"result":{"a":[1}}"#, Broken::Syntax(24)),
        (r#"{"id":7,"result":{"a":{"b":1]}"#, Broken::Syntax(28)),
        (r#"{"id":7,"result":{"a":[[1,2 3]]}}"#, Broken::Syntax(28)),
        (r#"{"id":7,"result":{"a":[[01]]}}"#, Broken::Syntax(25)),
        (r#"{"id":7,"result":{"a":[[tru]]}}"#, Broken::Syntax(27)),
        (r#"{"id":7,"result":{"a":[["b":1]]}}"#, Broken::Syntax(27)),
        (r#"{"id":7,"result":{"a":{"b":"c":1}}}"#, Broken::Syntax(30)),
        (r#"{"id":7,"result":{"a":{"b","c"}}}"#, Broken::Syntax(26)),
        (r#"{"id":7,"result":{"a":{"b":1,}}}"#, Broken::Syntax(29)),
        (r#"{"id":7,"result":{"a":"\x"}}"#, Broken::Syntax(24)),
        (r#"{"id":7,"result":{"a":"\u00g0"}}"#, Broken::Syntax(27)),
        ("{\"id\":7,\"result\":{\"a\":\"x\ny\"}}", Broken::Syntax(24)),
        ("{\"id\":7,\"result\":{\"a\n\":1}}", Broken::Syntax(20)),
        ("{\"id\":7,\"result\":{\"ttlMs\":\"\0\"}}", Broken::Syntax(27)),
    ];
    for (text, want) in cases {
        for client in [Era::Modern, Era::Legacy] {
            assert_eq!(every_cut(text.as_bytes(), "7", client).err(), Some(*want), "{text}");
        }
    }
}

#[test]
fn a_request_for_input_cannot_reach_a_legacy_client() {
    let text = br#"{"id":7,"result":{"a":[],"resultType":"input\u005frequired"}}"#;
    assert_eq!(every_cut(text, "7", Era::Legacy), Err(Broken::InputRequired));
    let (_, summary) = every_cut(text, "7", Era::Modern).unwrap();
    assert_eq!(summary.kind, ResultKind::InputRequired);
}

#[test]
fn bad_text_is_refused_wherever_it_is_cut() {
    for bad in [&b"\xff"[..], b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80"] {
        let text = [br#"{"id":7,"result":{"a":""#, bad, br#""}}"#].concat();
        for client in [Era::Modern, Era::Legacy] {
            for cut in 0..=text.len() {
                let got = through(&[&text[..cut], &text[cut..]], "7", client);
                assert!(matches!(got, Err(Broken::Utf8(23..=26))), "{got:?} at {cut}");
            }
        }
    }
}

#[test]
fn depth_is_bounded_and_costs_nothing() {
    let nested = |levels: usize, open: &str, close: &str| {
        let (open, close) = (open.repeat(levels), close.repeat(levels));
        format!(r#"{{"id":7,"result":{{"a":{open}0{close}}}}}"#)
    };
    let too_deep = Broken::TooDeep(DEPTH_CEILING);
    for (open, close) in [("[", "]"), (r#"{"":"#, "}")] {
        let text = nested(DEPTH_CEILING - 2, open, close);
        assert!(through(&[text.as_bytes()], "7", Era::Legacy).is_ok());
        for levels in [DEPTH_CEILING - 1, 100_000] {
            let text = nested(levels, open, close);
            assert_eq!(through(&[text.as_bytes()], "7", Era::Legacy), Err(too_deep));
        }
    }
}

#[test]
fn long_keys_and_blanks_pass_within_bounds() {
    for client in [Era::Modern, Era::Legacy] {
        let key = "k".repeat(100_000);
        let text = format!(r#"{{"id":7,"result":{{"resultType":"x","a":0,"{key}":1}}}}"#);
        for size in [100, 60_000, 200_000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            as_mended(&text, &through(&pieces, "7", client).unwrap(), "7", client);
        }
        let blanks = " ".repeat(5_000);
        let text = format!(
            r#"{{"id":7,"result":{{"a":0,{blanks}"{}"{blanks}:{blanks}{{}}{blanks},{blanks}"ttlMs":0}}}}"#,
            r"\u0073tructuredContent"
        );
        for size in (1..40).chain((40..2_000).step_by(61)) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let mut passage = Passage::new(b"7", b"7", client);
            let mut out = SmallVec::new();
            for piece in pieces {
                passage.push(Bytes::copy_from_slice(piece), &mut out).unwrap();
                assert!(passage.flow.held_len() < 2_048 + size);
            }
            let summary = passage.finish().unwrap();
            let got = String::from_utf8(out.concat()).unwrap();
            let (want, _) = whole(&text, "7", client);
            let moved = tight(&got).replace(r#","resultType":"complete""#, "");
            assert_eq!(moved, tight(&want).replace(r#""resultType":"complete","#, ""));
            assert!(!summary.structured_dropped);
        }
    }
}

#[test]
fn a_piece_without_edits_goes_on_as_it_is() {
    let mut passage = Passage::new(b"7", b"7", Era::Legacy);
    let mut out = SmallVec::new();
    for piece in [r#"{"id":7,"result":{"a":"#, r#""plain text, "#, r#"and more","b":[1],"c":{}}}"#]
    {
        let piece = Bytes::from(piece);
        passage.push(piece.clone(), &mut out).unwrap();
        let last = out.pop().unwrap();
        assert!(out.is_empty());
        assert_eq!((last.as_ptr(), last.len()), (piece.as_ptr(), piece.len()));
    }
    passage.finish().unwrap();
}

#[test]
fn a_breach_is_for_good() {
    let mut passage = Passage::new(b"7", b"7", Era::Legacy);
    let mut out = SmallVec::new();
    let broken = passage.push(Bytes::from_static(b"{]"), &mut out);
    assert_eq!(broken, Err(Broken::Syntax(1)));
    assert_eq!(passage.push(Bytes::from_static(b"{}"), &mut out), broken);
    assert_eq!(passage.finish().err(), broken.err());
}

#[test]
fn a_breach_is_told_in_plain_words() {
    let told = |broken: Broken| broken.to_string();
    assert_eq!(told(Broken::Syntax(5)), "the answer is not valid JSON at byte 5");
    assert_eq!(told(Broken::Twice("id")), "the answer has \"id\" twice");
    assert_eq!(told(Broken::TooDeep(256)), "the answer is nested deeper than 256 levels");
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z\"\\\\/\n\t\u{1}é€😀]{0,12}",
        Just("plain ".repeat(20)),
        Just("resultType".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((text.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn members() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let member = prop_oneof![
        prop_oneof![Just(json!("complete")), Just(json!("task")), values()]
            .prop_map(|value| ("resultType", value)),
        values().prop_map(|value| ("ttlMs", value)),
        values().prop_map(|value| ("cacheScope", value)),
        values().prop_map(|value| ("structuredContent", value)),
        prop_oneof![any::<bool>().prop_map(Value::from), values()]
            .prop_map(|value| ("isError", value)),
        values().prop_map(|value| ("other", value)),
        values().prop_map(|value| ("id", value)),
    ];
    proptest::collection::vec(member, 0..7)
}

fn cut_at(text: &str, mut cuts: Vec<prop::sample::Index>) -> Vec<&[u8]> {
    let mut places: Vec<usize> = cuts.drain(..).map(|cut| cut.index(text.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut done = 0;
    for place in places.into_iter().chain([text.len()]) {
        pieces.push(&text.as_bytes()[done..place]);
        done = place;
    }
    pieces
}

proptest! {
    #[test]
    fn any_answer_however_cut_comes_out_as_the_whole_is_mended(
        members in members(),
        around in proptest::collection::vec(values(), 2),
        place in 0_usize..3,
        pretty in any::<bool>(),
        legacy in any::<bool>(),
        own_id in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let result: serde_json::Map<_, _> =
            members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut message = vec![("x", around[0].clone()), ("result", Value::Object(result))];
        message.insert(place, ("id", json!(7)));
        message.push(("y", around[1].clone()));
        let message: serde_json::Map<_, _> =
            message.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let text = if pretty {
            serde_json::to_string_pretty(&message).unwrap()
        } else {
            serde_json::to_string(&message).unwrap()
        };
        let client = if legacy { Era::Legacy } else { Era::Modern };
        let id = if own_id { "7" } else { "\"theirs\"" };
        let got = through(&cut_at(&text, cuts), id, client).unwrap();
        as_mended(&text, &got, id, client);
    }

    #[test]
    fn what_is_json_is_what_the_scanner_takes(
        value in "[\\[\\]{}\",:0-9a-z\\\\ .eE+-]{0,16}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        deep in any::<bool>(),
    ) {
        let value = if deep { format!("[[{value}]]") } else { value };
        let text = format!(r#"{{"id":7,"result":{{"other":{value}}}}}"#);
        let mut scanner = Scanner::new(text.as_bytes(), Limits::ANSWER).unwrap();
        let good = scanner.skip().and_then(|_| scanner.finish()).is_ok();
        let got = through(&cut_at(&text, cuts), "7", Era::Modern);
        let loose = matches!(got, Err(Broken::Twice(_) | Broken::NotAResult | Broken::ForeignId));
        prop_assert!(loose || got.is_ok() == good, "{text}: {got:?}");
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
        let (a, b) = text.split_at(cut.index(text.len() + 1));
        let got = through(&[a, b], "7", Era::Legacy);
        prop_assert!(got.is_err());
    }
}
