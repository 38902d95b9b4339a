//! Pure: what a client is told when a call fails. One table from facts to codes, and the truth
//! about delivery in every row.

use serde_json::json;

use crate::base::{Fault, Kind, Sent, Side};
use crate::proto::error::{
    DEADLINE, DELIVERY_UNKNOWN, ErrorBody, OVERLOADED, SESSION_LOST, TOO_LARGE, UNAVAILABLE,
};
use crate::telemetry::Status;

/// The code and the kind of a fault.
fn row(fault: &Fault) -> (i64, &'static str) {
    match (fault.kind, fault.sent) {
        (Kind::Overloaded, Sent::No) => (OVERLOADED, "overloaded"),
        (Kind::RateLimited, _) => (OVERLOADED, "rate_limited"),
        (Kind::TooLarge, _) => (TOO_LARGE, "too_large"),
        (Kind::SessionLost | Kind::StateLost, _) => (SESSION_LOST, "session_lost"),
        (Kind::Timeout, Sent::Maybe) => (DEADLINE, "deadline"),
        (_, Sent::No | Sent::Rejected) => (UNAVAILABLE, "unavailable"),
        (_, Sent::Maybe) => (DELIVERY_UNKNOWN, "delivery_unknown"),
    }
}

/// What a client is told about a fault.
pub fn error(fault: &Fault, upstream: Option<&str>) -> ErrorBody {
    let (code, kind) = row(fault);
    let delivery = fault.sent.as_str();
    // An upstream that rejects our credentials will do so again; all else that did not run may.
    let refused = fault.sent == Sent::Rejected && matches!(fault.kind, Kind::Status(_));
    let retryable = fault.sent != Sent::Maybe && !refused && fault.kind != Kind::TooLarge;
    let mut data = json!({
        "source": "gateway",
        "kind": kind,
        "delivery": delivery,
        "retryable": retryable,
    });
    if let Some(object) = data.as_object_mut() {
        if let Some(wait) = fault.retry_after {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            object.insert("retryAfterMs".to_owned(), millis.into());
        }
        if let Some(upstream) = upstream {
            object.insert("upstream".to_owned(), upstream.into());
        }
    }
    let message = match fault.sent {
        Sent::Maybe => format!("{fault}; the call may have run"),
        Sent::No | Sent::Rejected => format!("{fault}; the call did not run"),
    };
    ErrorBody::new(code, message).with(data)
}

/// How a fault counts in the metrics.
pub fn status(fault: &Fault) -> Status {
    match (fault.kind, fault.side) {
        (Kind::Timeout, _) => Status::Timeout,
        (Kind::RateLimited, _) => Status::RateLimited,
        (Kind::Cancelled, Side::Client) => Status::Cancelled,
        (
            Kind::Connect
            | Kind::NoReplica
            | Kind::Overloaded
            | Kind::SessionLost
            | Kind::StateLost,
            _,
        ) => Status::Unavailable,
        _ => Status::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_row_tells_the_truth_about_delivery() {
        let table = [
            (Kind::Connect, Sent::No, -31002, "not_sent", true),
            (Kind::NoReplica, Sent::No, -31002, "not_sent", true),
            (Kind::Closed, Sent::No, -31002, "not_sent", true),
            (Kind::Closed, Sent::Maybe, -31003, "unknown", false),
            (Kind::Protocol, Sent::Maybe, -31003, "unknown", false),
            (Kind::Status(500), Sent::Maybe, -31003, "unknown", false),
            (Kind::Status(401), Sent::Rejected, -31002, "rejected", false),
            (Kind::Timeout, Sent::Maybe, -31004, "unknown", false),
            (Kind::SessionLost, Sent::Rejected, -31005, "rejected", true),
            (Kind::TooLarge, Sent::Maybe, -31007, "unknown", false),
            (Kind::Overloaded, Sent::No, -31001, "not_sent", true),
            (Kind::RateLimited, Sent::No, -31001, "not_sent", true),
        ];
        for (kind, sent, code, delivery, retryable) in table {
            let fault = Fault::upstream(kind, sent, "x").retry_after(Some(Duration::from_secs(2)));
            let body = error(&fault, Some("u"));
            let data = body.data.unwrap();
            assert_eq!(
                (body.code, data["delivery"].as_str().unwrap()),
                (code, delivery),
                "{kind:?} {sent:?}"
            );
            assert_eq!(data["retryable"], retryable, "{kind:?} {sent:?}");
            assert_eq!(
                (data["source"].as_str(), data["upstream"].as_str()),
                (Some("gateway"), Some("u"))
            );
            assert_eq!(data["retryAfterMs"], 2_000);
        }
    }
}
