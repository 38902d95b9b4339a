//! Which configuration is in force, and whether the last one was refused.

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::base::clock;
use crate::telemetry::names::Reloaded;

/// Written by whoever reloads, read by `GET /health`.
#[derive(Debug)]
pub struct ConfigStanding {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    generation: u32,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    result: Reloaded,
    at: String,
    reason: Option<String>,
}

impl Default for ConfigStanding {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { generation: 1, last: None }) }
    }
}

impl ConfigStanding {
    /// A reload brought a new configuration. Answers its number.
    pub fn applied(&self) -> u32 {
        self.ended(Reloaded::Applied, None);
        let mut inner = self.inner.lock();
        inner.generation = inner.generation.saturating_add(1);
        inner.generation
    }

    /// A reload ended. `reason`: why it was refused, if it was.
    pub fn ended(&self, result: Reloaded, reason: Option<String>) {
        self.inner.lock().last = Some(Last { result, at: clock::wall_rfc3339(), reason });
    }

    /// What is told if the last reload was refused: until one succeeds, what runs is not what the
    /// file says.
    pub(super) fn refused(&self) -> Option<Value> {
        let inner = self.inner.lock();
        let last = inner.last.as_ref()?;
        let reason = last.reason.as_deref()?;
        Some(json!({
            "generation": inner.generation,
            "last_reload": { "result": last.result.as_str(), "timestamp": last.at, "reason": reason },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_was_refused_is_told_of_until_one_is_not() {
        let standing = ConfigStanding::default();
        assert_eq!(standing.refused(), None);
        assert_eq!(standing.applied(), 2);
        assert_eq!(standing.refused(), None);
        standing.ended(Reloaded::Invalid, Some("3 problems".to_owned()));
        let told = standing.refused().unwrap();
        assert_eq!(told["generation"], 2);
        let last = &told["last_reload"];
        assert_eq!((&last["result"], &last["reason"]), (&json!("invalid"), &json!("3 problems")));
        standing.ended(Reloaded::Unchanged, None);
        assert_eq!(standing.refused(), None);
    }
}
