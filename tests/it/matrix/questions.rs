//! Questions of a server to its client. A legacy client is asked on the way of its call, a modern one
//! by a result, and calls again with the answers.

use serde_json::{Map, Value, json};

use crate::support::Era;
use crate::support::hearer::call_of;

use super::Cell;

/// A request that makes the fixture ask.
struct Asking {
    method: &'static str,
    params: String,
    /// What is asked, round by round.
    asked: &'static [&'static [&'static str]],
    /// What is in the result once all is answered.
    ends: &'static [&'static str],
}

fn asks_by(tool: &str, arguments: &str) -> Asking {
    Asking { method: "tools/call", params: call_of(tool, arguments), asked: &[], ends: &[] }
}

const FORM: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";
const ROOTS: &str = "roots/list";

fn elicitation_() -> Asking {
    Asking {
        asked: &[&[FORM]],
        ends: &["User response: action=accept", "ann@example.org"],
        ..asks_by("u__test_elicitation", r#"{"message":"Who are you?"}"#)
    }
}

fn sampling_() -> Asking {
    Asking {
        asked: &[&[SAMPLE]],
        ends: &["LLM response: it is Paris"],
        ..asks_by("u__test_sampling", r#"{"prompt":"What is it?"}"#)
    }
}

fn roots_() -> Asking {
    Asking {
        asked: &[&[ROOTS]],
        ends: &["file:///home/ann"],
        ..asks_by("u__test_input_required_result_list_roots", "{}")
    }
}

fn several_() -> Asking {
    Asking {
        asked: &[&[FORM, ROOTS, SAMPLE]],
        ends: &["ann: it is Paris", "file:///home/ann"],
        ..asks_by("u__test_input_required_result_multiple_inputs", "{}")
    }
}

fn rounds_() -> Asking {
    Asking {
        asked: &[&[FORM], &[FORM]],
        ends: &["ann likes blue."],
        ..asks_by("u__test_input_required_result_multi_round", "{}")
    }
}

fn prompt_() -> Asking {
    Asking {
        method: "prompts/get",
        params: r#""name":"u__test_input_required_result_prompt""#.to_owned(),
        asked: &[&[FORM]],
        ends: &["In this context:", "work"],
    }
}

fn resource_() -> Asking {
    Asking {
        method: "resources/read",
        params: r#""uri":"test://input-required-resource""#.to_owned(),
        asked: &[&[FORM]],
        ends: &["user_name", "ann"],
    }
}

/// What the user, the model and the client answer.
fn answer(question: &Value) -> Value {
    match question["method"].as_str().unwrap() {
        FORM => {
            let known = json!({
                "username": "ann", "email": "ann@example.org", "name": "ann", "color": "blue",
                "context": "work",
            });
            let fields = question["params"]["requestedSchema"]["properties"].as_object().unwrap();
            let filled = fields.keys().map(|key| (key.clone(), known[key].clone()));
            json!({"action": "accept", "content": Value::Object(filled.collect::<Map<_, _>>())})
        }
        SAMPLE => json!({
            "role": "assistant", "model": "m", "stopReason": "endTurn",
            "content": {"type": "text", "text": "it is Paris"},
        }),
        ROOTS => json!({"roots": [{"uri": "file:///home/ann", "name": "home"}]}),
        other => panic!("asked for {other}"),
    }
}

/// The server asks, the client answers, and the result is there.
#[track_caller]
fn carried(cell: &mut Cell, asking: &Asking) {
    let (asked, result) = match cell.client.era {
        Era::Legacy => asked_on_the_way(cell, asking),
        Era::Modern => asked_by_results(cell, asking),
    };
    // A legacy server asks one thing after the other, each of which is a round for a modern client.
    let flat = |rounds: &[Vec<String>]| in_order(rounds.concat().into_iter());
    let wanted: Rounds =
        asking.asked.iter().map(|round| round.iter().map(|m| (*m).to_owned()).collect()).collect();
    if (cell.client_side.0, cell.upstream_side.0) == (Era::Modern, Era::Legacy) {
        assert_eq!(flat(&asked), flat(&wanted));
    } else {
        assert_eq!(asked, wanted);
    }
    let text = result.to_string();
    for end in asking.ends {
        assert!(text.contains(end), "{end:?} in {text}");
    }
    assert_ne!(result["isError"], true, "{text}");
}

type Rounds = Vec<Vec<String>>;

fn method(question: &Value) -> String {
    question["method"].as_str().unwrap().to_owned()
}

/// The questions of one round, whose order means nothing.
fn in_order(methods: impl Iterator<Item = String>) -> Vec<String> {
    let mut methods: Vec<String> = methods.collect();
    methods.sort();
    methods
}

/// The questions come as requests, on the stream of the call, one after the other.
fn asked_on_the_way(cell: &mut Cell, asking: &Asking) -> (Rounds, Value) {
    let begun = cell.client.begin(asking.method, &asking.params, "");
    let heard = cell.client.finish(begun, &mut answer);
    let mut methods = heard.questions.iter().map(method);
    let rounds = asking.asked.iter().map(|round| in_order(methods.by_ref().take(round.len())));
    let rounds = rounds.collect();
    assert_eq!(methods.next(), None, "more was asked: {:?}", heard.questions);
    (rounds, heard.result().clone())
}

/// The questions come as the result of a call; the next call brings the answers, and gives back the
/// state as it was given out.
fn asked_by_results(cell: &mut Cell, asking: &Asking) -> (Rounds, Value) {
    let (mut rounds, mut more) = (Rounds::new(), String::new());
    loop {
        let heard = cell.client.ask(asking.method, &format!("{}{more}", asking.params));
        let result = heard.result();
        if result["resultType"] != "input_required" {
            assert_eq!(result["resultType"], "complete", "{result}");
            return (rounds, result.clone());
        }
        assert!(rounds.len() < 5, "it asks without end: {result}");
        let questions = result["inputRequests"].as_object().unwrap();
        rounds.push(in_order(questions.values().map(method)));
        let answers: Map<String, Value> =
            questions.iter().map(|(key, question)| (key.clone(), answer(question))).collect();
        more = format!(r#","inputResponses":{}"#, Value::Object(answers));
        if let Some(state) = result.get("requestState") {
            more.extend([r#","requestState":"#, &state.to_string()]);
        }
    }
}

/// A check for each kind of question.
macro_rules! carried {
    ($($check:ident: $asking:ident;)+) => {
        $(
            pub(super) fn $check(cell: &mut Cell) {
                carried(cell, &$asking());
            }
        )+
    };
}

carried! {
    elicitation: elicitation_;
    sampling: sampling_;
    roots: roots_;
    several: several_;
    rounds: rounds_;
    prompt: prompt_;
    resource: resource_;
}
