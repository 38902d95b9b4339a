//! A trace as its client reads it, and how it gets onto the answer.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::base::clock;
use crate::fleet::retry::Verdict;
use crate::fleet::trace::{Answer, End, Step, Trace};
use crate::proto::annotate::annotate;
use crate::proto::meta;

use super::call::{Call, Message, Reply};

/// Puts a trace onto an answer: on a result into `_meta`, on an error into `data`. A large answer is
/// gathered first. `about` is what is said of the call beside its tries.
pub(super) async fn traced(
    reply: Reply,
    call: Call<'_>,
    trace: &Trace,
    mut about: Map<String, Value>,
) -> Reply {
    let status = reply.status;
    let message = reply.whole(Some(call.id())).await;
    about.insert("took_ms".to_owned(), millis(trace.took(clock::now())));
    about.insert("attempts".to_owned(), trace.steps().iter().map(step).collect());
    let message = annotate(&message, meta::TRACE, &Value::Object(about).to_string());
    Reply { message: Message::Whole(message), status }
}

/// A time in milliseconds, to the microsecond.
pub(super) fn millis(time: Duration) -> Value {
    rounded(time.as_secs_f64() * 1e3)
}

/// A number with three digits behind the point.
pub(super) fn rounded(number: f64) -> Value {
    Value::from((number * 1e3).round() / 1e3)
}

fn step(step: &Step) -> Value {
    let mut entry = json!({
        "replica": step.replica.as_str(),
        "why": step.why,
        "began_ms": millis(step.began),
    });
    let Some(object) = entry.as_object_mut() else { return entry };
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    if let Some(took) = step.took {
        put("took_ms", millis(took));
    }
    match &step.end {
        None => put("outcome", "given_up".into()),
        Some(End::Answered(answer)) => {
            put("outcome", answer.as_str().into());
            put("delivery", "answered".into());
            if let Answer::Error(code) = answer {
                put("code", (*code).into());
            }
        }
        Some(End::Failed(fault)) => {
            put("outcome", fault.kind.as_str().into());
            put("delivery", fault.sent.as_str().into());
            put("error", fault.message.as_ref().into());
        }
    }
    match step.next {
        None => {}
        Some(Verdict::Again(wait)) => {
            put("retried", true.into());
            put("wait_ms", millis(wait));
        }
        Some(Verdict::Surface(why)) => {
            put("retried", false.into());
            put("why_not", why.as_str().into());
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_microsecond() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)), json!(1.235));
        assert_eq!(millis(Duration::ZERO), json!(0.0));
        assert_eq!(rounded(f64::from(0.1_f32)), json!(0.1));
    }
}
