//! Pure: what came of one call of an aggregate.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::builtin::Outcome;

/// -31004 and -31007 as in the documentation of errors.
const DEADLINE: i64 = -31_004;
const TOO_LARGE: i64 = -31_007;

/// Whose turn it was.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Who {
    /// The set of arguments with this number, from 0.
    Index(usize),
    /// The replica of this name.
    Replica(String),
}

/// What came of one call.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) who: Who,
    /// There is a result, and it is no error of the tool.
    pub(super) ok: bool,
    /// `answered`, or what is known of a call that was not.
    delivery: String,
    took_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
}

impl Entry {
    /// Of a call that came to its end.
    pub(super) fn of(who: Who, outcome: Outcome, took_ms: f64) -> Self {
        match outcome {
            Outcome::Result(result, is_error) => Self {
                who,
                ok: !is_error,
                delivery: "answered".to_owned(),
                took_ms,
                result: Some(result),
                error: None,
            },
            Outcome::Error(error) => Self {
                who,
                ok: false,
                delivery: delivery(&error),
                took_ms,
                result: None,
                error: Some(error),
            },
        }
    }

    /// Of a call for which there was no time; `begun` = it was under way and was cancelled.
    pub(super) fn late(who: Who, begun: bool, took_ms: f64) -> Self {
        let delivery = if begun { "unknown" } else { "not_sent" };
        let message = if begun {
            "cancelled at the time limit of the aggregate; the call may have run"
        } else {
            "the time limit of the aggregate was reached before this call; it did not run"
        };
        Self::failed(who, (DEADLINE, "deadline", message), delivery, took_ms)
    }

    /// Of a call whose result has no room in the answer.
    pub(super) fn left_out(who: Who, bytes: usize, took_ms: f64) -> Self {
        let message = format!(
            "its result of {bytes} bytes has no room in this answer \
             (tools.gateway.max_answer_bytes); the call ran: ask for less at once"
        );
        Self::failed(who, (TOO_LARGE, "too_large", &message), "answered", took_ms)
    }

    fn failed(
        who: Who,
        (code, kind, message): (i64, &str, &str),
        delivery: &str,
        took_ms: f64,
    ) -> Self {
        let data = json!({
            "source": "gateway",
            "kind": kind,
            "delivery": delivery,
            "retryable": delivery == "not_sent",
        });
        let error = json!({ "code": code, "message": message, "data": data });
        let error = RawValue::from_string(error.to_string()).ok();
        Self { who, ok: false, delivery: delivery.to_owned(), took_ms, result: None, error }
    }

    /// What its error says, in one line.
    pub(super) fn complaint(&self) -> Option<String> {
        let error: Value = serde_json::from_str(self.error.as_ref()?.get()).ok()?;
        error.get("message").and_then(Value::as_str).map(ToOwned::to_owned)
    }
}

/// What is known of the delivery: the gateway's own errors say it, and an error of the upstream is
/// an answer.
fn delivery(error: &RawValue) -> String {
    let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
    let told = error.pointer("/data/delivery").and_then(Value::as_str);
    told.filter(|_| error.pointer("/data/source").is_some_and(|source| source == "gateway"))
        .unwrap_or("answered")
        .to_owned()
}
