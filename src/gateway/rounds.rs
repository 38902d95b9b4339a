//! Questions of a modern server for a legacy client. Each of its `input_required` results becomes
//! requests on the stream of the client's call; the call is made again with the answers, until the
//! server is satisfied (2026-07-28, basic/patterns/mrtr; 2025-11-25, client features).
//!
//! What is asked and what goes back is pure; [`carry`] is the loop around it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::base::{Fault, clock, rng};
use crate::fleet::pool::{Answered, INPUT_WAIT, Pool};
use crate::fleet::{Effect, Terms};
use crate::proto::members::{Member, is_object, members, shown, text};
use crate::proto::scan::member;
use crate::proto::splice::Splice;
use crate::proto::{Abilities, Method, Span, meta};
use crate::upstream::ask::{ASKS_MAX, Answerer, Ask, Back, Waiting};
use crate::upstream::{Done, Request, Told};

use super::rewritten::Rewritten;

/// Most rounds of questions in one call.
const ROUNDS_MAX: u32 = 8;
/// A server that asks for nothing but to be called again waits so long for it.
const STATE_PACE: Duration = Duration::from_millis(250);
/// Characters of a client's refusal that a client is shown.
const SHOWN_MAX: usize = 200;

/// Why a call ends without the input that it needs.
#[derive(Debug)]
pub(super) struct Unasked(pub(super) String);

/// Asks the client what the server wants to know, and calls again with its answers, until there is
/// an answer that is no question. `first` was the first one. A client that is thinking does not use
/// up the time of its call.
pub(super) async fn carry(
    pool: &Arc<Pool>,
    request: &Request<'_>,
    terms: &Terms<'_>,
    first: Done,
    tell: &mut (dyn FnMut(Told) + Send),
) -> Result<Result<Answered, Fault>, Unasked> {
    let mut since = terms.since.unwrap_or_else(clock::now);
    let mut done = first;
    for _ in 0..ROUNDS_MAX {
        let began = clock::now();
        let round = Round::read(&done)?;
        let answers = round.put(request.caller.abilities, tell).await?;
        since += clock::now() - began;
        let again = again(request, &answers, round.state.as_deref(), rng::draw())?;
        let next = again.about(request);
        let outcome = pool.call(&next, &terms_of(terms, since), &mut *tell).await;
        match outcome {
            // The server has seen the call more than once: nothing starts it anew.
            Ok(Answered::Done { done, at, .. }) if !done.asks() => {
                return Ok(Ok(Answered::Done { done, at, unsure: true }));
            }
            Ok(Answered::Done { done: asked, .. }) => done = asked,
            other => return Ok(other),
        }
    }
    Err(Unasked(format!("it asked {ROUNDS_MAX} times, and is not done")))
}

/// What a server asked and was told belongs to one run.
fn terms_of<'a>(terms: &Terms<'a>, since: Instant) -> Terms<'a> {
    let effect = terms.effect.max(Effect::Idempotent);
    Terms { effect, hedge: false, since: Some(since), ..*terms }
}

/// One question.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    /// The server's key of it, a raw string.
    key: String,
    method: Method,
    /// An elicitation by URL.
    url: bool,
    /// A raw object.
    params: String,
}

/// What one result asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    questions: Vec<Question>,
    /// The server's own state, a raw string.
    state: Option<String>,
}

/// A client's answer: the raw key, and the raw result.
pub(super) type Answers = Vec<(String, String)>;

impl Round {
    fn read(done: &Done) -> Result<Self, Unasked> {
        let result = done.result().and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or("{}");
        Self::of(result)
    }

    /// What the raw result asks.
    pub(super) fn of(result: &str) -> Result<Self, Unasked> {
        let odd = |what: &str| Unasked(format!("its question cannot be read ({what})"));
        let mut round = Self::default();
        for found in members(result).map_err(|error| odd(&error.to_string()))? {
            match &*found.key {
                "requestState" if text(found.value).is_some() => {
                    round.state = Some(found.value.get().to_owned());
                }
                "requestState" => return Err(odd("requestState is no string")),
                "inputRequests" => {
                    let asked = members(found.value.get());
                    let asked = asked.map_err(|_error| odd("inputRequests is no object"))?;
                    let questions = asked.iter().map(|one| Question::read(one).ok_or(one));
                    let questions: Result<Vec<_>, _> = questions.collect();
                    round.questions = questions
                        .map_err(|one| odd(&format!("inputRequests.{}", shown(&one.key, 40))))?;
                }
                _ => {}
            }
        }
        if round.questions.len() > usize::try_from(ASKS_MAX).unwrap_or(usize::MAX) {
            return Err(Unasked(format!("it asks more than {ASKS_MAX} questions at once")));
        }
        if round.questions.is_empty() && round.state.is_none() {
            return Err(odd("it asks nothing"));
        }
        Ok(round)
    }

    /// Leaves out what was answered already, by the raw keys.
    pub(super) fn forget(&mut self, answered: &HashSet<String>) {
        self.questions.retain(|question| !answered.contains(&question.key));
    }

    /// Whether there is no question.
    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Puts the questions to the client, all at once, and waits for its answers. The first one that
    /// it refuses ends the call, and with that the others.
    pub(super) async fn put(
        &self,
        abilities: Abilities,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Answers, Unasked> {
        if self.questions.is_empty() {
            tokio::time::sleep(STATE_PACE).await;
            return Ok(Answers::new());
        }
        if let Some(unable) = self.questions.iter().find(|q| !abilities.allow(q.method, q.url)) {
            let by = if unable.url { " by URL" } else { "" };
            let method = unable.method.name();
            return Err(Unasked(format!(
                "the client did not declare that it answers {method}{by}"
            )));
        }
        let (sender, mut answers) = mpsc::channel(self.questions.len());
        let waiting = Waiting::default();
        for (number, question) in self.questions.iter().enumerate() {
            let number = number.to_string();
            let (body, id) = question.legacy(&number, &rng::token());
            let back = Back::Here(sender.clone());
            let answerer = Answerer::new(back, number.as_bytes(), &waiting);
            let method = question.method;
            tell(Told::Ask(Ask { body, id, method, answerer }));
        }
        drop(sender);
        let mut all = vec![None; self.questions.len()];
        let wait = async {
            while let Some(answer) = answers.recv().await {
                let (number, result) = read_answer(&answer)?;
                if let Some(place) = all.get_mut(number) {
                    *place = Some(result);
                }
            }
            Ok(())
        };
        let in_time = tokio::time::timeout(INPUT_WAIT, wait).await;
        let minutes = INPUT_WAIT.as_secs() / 60;
        in_time.unwrap_or_else(|_| {
            Err(Unasked(format!("the client did not answer within {minutes} minutes")))
        })?;
        let keyed = self.questions.iter().zip(all);
        let keyed = keyed.map(|(question, result)| Some((question.key.clone(), result?)));
        let keyed: Option<Answers> = keyed.collect();
        keyed.ok_or_else(|| Unasked("the client did not answer".to_owned()))
    }
}

impl Question {
    fn read(one: &Member<'_>) -> Option<Self> {
        let asked = one.value.get().as_bytes();
        let name: String = serde_json::from_slice(member(asked, "method")?).ok()?;
        let method = Method::from_name(&name);
        let params = match member(asked, "params") {
            Some(raw) => std::str::from_utf8(raw).ok().filter(|raw| raw.starts_with('{'))?,
            None => "{}",
        };
        let url = member(params.as_bytes(), "mode") == Some(b"\"url\"");
        let key = one.raw_key.to_owned();
        Some(Self { key, method, url, params: params.to_owned() })
    }

    /// The same as a legacy request, and where its id stands. An elicitation by URL has a name of
    /// its own there, which modern ones do not have.
    fn legacy(&self, id: &str, token: &str) -> (Bytes, Span) {
        let head = r#"{"jsonrpc":"2.0","id":"#;
        let (rest, named) = match self.params.strip_prefix('{') {
            Some(rest) if self.url && member(self.params.as_bytes(), "elicitationId").is_none() => {
                (rest, format!(r#"{{"elicitationId":"{token}","#))
            }
            _ => (self.params.as_str(), String::new()),
        };
        let method = self.method.name();
        let body = format!(r#"{head}{id},"method":"{method}","params":{named}{rest}}}"#);
        (Bytes::from(body), Span { start: head.len(), end: head.len() + id.len() })
    }
}

/// The number of the question that a client's response answers, and its raw result.
fn read_answer(response: &[u8]) -> Result<(usize, String), Unasked> {
    #[derive(Deserialize)]
    struct Response {
        id: usize,
        result: Option<Box<RawValue>>,
        error: Option<Refusal>,
    }
    #[derive(Default, Deserialize)]
    struct Refusal {
        #[serde(default)]
        message: String,
    }
    let odd = || Unasked("the client's answer cannot be read".to_owned());
    let response: Response = serde_json::from_slice(response).map_err(|_error| odd())?;
    if let Some(refusal) = response.error {
        let why = shown(&refusal.message, SHOWN_MAX);
        return Err(Unasked(format!("the client answered with an error: {why}")));
    }
    let result = response.result.filter(|result| is_object(result)).ok_or_else(odd)?;
    Ok((response.id, result.get().to_owned()))
}

/// The member that carries a client's answers.
pub(super) fn input_responses(answers: &Answers) -> String {
    let pairs: Vec<String> = answers.iter().map(|(k, v)| format!("{k}:{v}")).collect();
    format!(r#""inputResponses":{{{}}}"#, pairs.join(","))
}

/// The client's call under another id, with its answers of this round and the server's state as it
/// came.
fn again(
    request: &Request<'_>,
    answers: &Answers,
    state: Option<&str>,
    draw: u64,
) -> Result<Rewritten, Unasked> {
    let (text, shape) = (request.body, request.shape);
    let odd = || Unasked("the call cannot be made again".to_owned());
    let (Some(params), Some(id)) = (shape.params, shape.id) else { return Err(odd()) };
    let mut more = String::new();
    if !answers.is_empty() {
        more = input_responses(answers);
    }
    if let Some(state) = state {
        let comma = if more.is_empty() { "" } else { "," };
        more = format!(r#"{more}{comma}"requestState":{state}"#);
    }
    let (at, empty) = meta::inside(text, params);
    if !empty {
        more.push(',');
    }
    // Numbers that every client can hold.
    let number = (draw >> 11).to_string();
    let mut splice = Splice::new(text);
    splice.put(id, number.as_bytes());
    splice.insert(at, more.as_bytes());
    // A client that sent such members itself has them twice now.
    Rewritten::new(splice.apply(0)).ok_or_else(odd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Era;
    use crate::proto::envelope::split;
    use crate::upstream::{Caller, Mirrored, Subject};

    fn question(key: &str, method: Method, params: &str) -> Question {
        let url = params.contains(r#""mode":"url""#);
        Question { key: format!("\"{key}\""), method, url, params: params.to_owned() }
    }

    #[test]
    fn a_result_is_read_with_every_byte_of_its_questions_and_its_state() {
        let result = r#"{"resultType":"input_required","inputRequests":{
            "a\u0061":{"method":"elicitation/create","params":{"n":12345678901234567890123, "mode":"form"}},
            "b":{"params":{"mode":"url","url":"https://x"},"method":"elicitation/create"},
            "c":{"method":"roots/list"}},"requestState":"s\u00e9"}"#;
        let round = Round::of(result).unwrap();
        let form = r#"{"n":12345678901234567890123, "mode":"form"}"#;
        let expected = vec![
            question(r"a\u0061", Method::Elicit, form),
            question("b", Method::Elicit, r#"{"mode":"url","url":"https://x"}"#),
            question("c", Method::RootsList, "{}"),
        ];
        assert_eq!(round.questions, expected);
        assert_eq!(round.state.as_deref(), Some(r#""s\u00e9""#));
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for (result, says) in [
            ("{}", "asks nothing"),
            (r#"{"inputRequests":{}}"#, "asks nothing"),
            (r#"{"requestState":1}"#, "requestState"),
            (r#"{"inputRequests":[]}"#, "inputRequests is no object"),
            (r#"{"inputRequests":{"k":{"params":{}}}}"#, "inputRequests.k"),
            (r#"{"inputRequests":{"k":{"method":"roots/list","params":[]}}}"#, "inputRequests.k"),
        ] {
            let why = Round::of(result).unwrap_err().0;
            assert!(why.contains(says), "{result}: {why}");
        }
        let many: Vec<_> =
            (0..=ASKS_MAX).map(|n| format!(r#""{n}":{{"method":"roots/list"}}"#)).collect();
        let many = format!(r#"{{"inputRequests":{{{}}}}}"#, many.join(","));
        assert!(Round::of(&many).unwrap_err().0.contains("more than 64"));
    }

    #[test]
    fn a_question_by_url_gets_the_name_that_legacy_clients_want() {
        let read = |(body, id): (Bytes, Span)| {
            assert_eq!(id.of(&body), b"7");
            String::from_utf8(body.to_vec()).unwrap()
        };
        let url = question("k", Method::Elicit, r#"{"mode":"url","url":"u"}"#);
        assert_eq!(
            read(url.legacy("7", "t")),
            r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"elicitationId":"t","mode":"url","url":"u"}}"#
        );
        let named = question("k", Method::Elicit, r#"{"mode":"url","elicitationId":"own"}"#);
        assert!(read(named.legacy("7", "t")).contains(r#"{"mode":"url","elicitationId":"own"}"#));
        let roots = question("k", Method::RootsList, "{}");
        assert_eq!(
            read(roots.legacy("7", "t")),
            r#"{"jsonrpc":"2.0","id":7,"method":"roots/list","params":{}}"#
        );
    }

    fn made_again(text: &str, answers: &[(&str, &str)], state: Option<&str>) -> String {
        let body = Bytes::from(text.to_owned());
        let shape = split(&body).unwrap();
        let caller = Caller::silent(Era::Legacy);
        let subject = shape.name.map(|span| Subject { span, name: "x" });
        let mirrored = Mirrored::Nothing;
        let request = Request { body: &body, shape: &shape, subject, caller: &caller, mirrored };
        let answers: Answers =
            answers.iter().map(|(k, v)| (format!("\"{k}\""), (*v).to_owned())).collect();
        let again = again(&request, &answers, state, 9 << 11).unwrap();
        let next = again.about(&request);
        assert_eq!(next.subject.unwrap().span.of(next.body), b"\"u__x\"");
        assert_eq!(next.shape.answers, !answers.is_empty() || state.is_some());
        String::from_utf8(next.body.to_vec()).unwrap()
    }

    #[test]
    fn the_call_is_made_again_under_another_id_with_the_answers_and_the_state() {
        let text = r#"{"id":"a","jsonrpc":"2.0","method":"tools/call","params":{"name":"u__x","arguments":{"n":1e2}}}"#;
        let answers = [("k", r#"{"action":"accept"}"#), ("l", r#"{"roots":[]}"#)];
        assert_eq!(
            made_again(text, &answers, Some(r#""s\u00e9""#)),
            r#"{"id":9,"jsonrpc":"2.0","method":"tools/call","params":{"inputResponses":{"k":{"action":"accept"},"l":{"roots":[]}},"requestState":"s\u00e9","name":"u__x","arguments":{"n":1e2}}}"#
        );
        assert!(!made_again(text, &answers, None).contains("requestState"));
        assert!(!made_again(text, &[], Some("\"s\"")).contains("inputResponses"));
    }

    #[test]
    fn an_answer_is_its_result_and_a_refusal_says_why() {
        let read = |text: &str| read_answer(text.as_bytes()).map_err(|unasked| unasked.0);
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":3,"result":{"n":1e2}}"#),
            Ok((3, r#"{"n":1e2}"#.to_owned()))
        );
        let refused = read(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-1,"message":"no\nway"}}"#);
        assert_eq!(refused.unwrap_err(), r"the client answered with an error: no\nway");
        for odd in [r#"{"id":3}"#, r#"{"id":3,"result":1}"#, r#"{"id":"x","result":{}}"#] {
            assert_eq!(read(odd).unwrap_err(), "the client's answer cannot be read");
        }
    }
}
