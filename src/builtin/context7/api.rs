//! The API itself: two questions, asked over HTTP, with the service's wishes kept: no calls while
//! it limits us, none at all with a key that it refuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::base::clock;
use crate::builtin::cache::{Bounds, Life, Shelf};
use crate::builtin::fetch::{Fetcher, unix_now};
use crate::builtin::spec::Context7Spec;
use crate::builtin::standing::{Gate, Shut, Standing};
use crate::builtin::url;

use super::resolve::{split_id, with_version};
use super::verdict::{Trouble, Verdict, verdict};
use super::wire::{Context, Search};

/// Redirects followed for one question.
const HOPS_MAX: u32 = 2;
/// How many new ids are remembered, and for how long.
const MOVED_BOUNDS: Bounds = Bounds { entries_max: 256, bytes_max: 128 << 10 };
const MOVED_LIFE: Life =
    Life { fresh: Duration::from_hours(7 * 24), keep: Duration::from_hours(7 * 24) };

/// The service.
#[derive(Debug)]
pub(super) struct Api {
    base_url: String,
    fetcher: Fetcher,
    /// What answers of this service are called: `live` with a key, else `anonymous`.
    label: &'static str,
    gate: Mutex<Gate>,
    /// Old id → new id, both without version.
    moved: Mutex<Shelf<String>>,
    prompted: AtomicBool,
}

/// The documentation of a library, under the id that it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) context: Context,
}

/// A parsed answer and the size of its text in bytes.
type Sized<T> = (T, usize);

enum Got {
    Body(Bytes),
    Moved(String),
}

impl Api {
    pub(super) fn new(spec: &Context7Spec) -> Self {
        let mut gate = Gate::default();
        let bearer = spec.api_key.as_ref().map(|key| format!("Bearer {}", key.expose()));
        let authorization = match bearer.map(HeaderValue::try_from).transpose() {
            Ok(authorization) => authorization,
            Err(_unsendable) => {
                gate.shut("the configured API key holds characters that no header can carry", None);
                None
            }
        };
        if spec.api_key.is_none() && spec.api_key_required {
            gate.shut("there is no API key, and api_key_required is set", None);
        }
        Self {
            base_url: spec.base_url.clone(),
            fetcher: Fetcher::new(authorization, Duration::ZERO),
            label: if spec.api_key.is_some() { "live" } else { "anonymous" },
            gate: Mutex::new(gate),
            moved: Mutex::new(Shelf::new(MOVED_BOUNDS)),
            prompted: AtomicBool::new(false),
        }
    }

    pub(super) fn label(&self) -> &'static str {
        self.label
    }

    pub(super) fn standing(&self) -> Standing {
        self.gate.lock().standing()
    }

    /// Libraries for a name, in the light of a question.
    pub(super) async fn search(
        &self,
        name: &str,
        question: &str,
        deadline: Instant,
    ) -> Result<Sized<Search>, Trouble> {
        let query = [("libraryName", name), ("query", question)];
        match self.ask("/v2/libs/search", &query, deadline).await {
            Ok(Got::Body(body)) => self.parse(&body),
            Ok(Got::Moved(_)) => Err(self.garbled("a redirect in answer to a search")),
            Err(trouble) => Err(trouble),
        }
    }

    /// The documentation of a library for a question. A library that moved is followed.
    pub(super) async fn context(
        &self,
        id: &str,
        question: &str,
        deadline: Instant,
    ) -> Result<Sized<Found>, Trouble> {
        let (base, version) = split_id(id);
        let known = self.moved.lock().get(base, clock::now());
        let mut id = known.map_or_else(|| id.to_owned(), |held| placed(&held.value, version));
        for _hop in 0..=HOPS_MAX {
            let query = [("libraryId", id.as_str()), ("query", question), ("type", "json")];
            match self.ask("/v2/context", &query, deadline).await? {
                Got::Body(body) => {
                    let (context, bytes) = self.parse::<Context>(&body)?;
                    return Ok((Found { id, context }, bytes));
                }
                Got::Moved(to) => {
                    self.moved.lock().put(base, to.clone(), to.len(), MOVED_LIFE, clock::now());
                    id = placed(&to, version);
                }
            }
        }
        Err(self.garbled("more redirects than are followed"))
    }

    async fn ask(
        &self,
        path: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Got, Trouble> {
        self.gate.lock().check(clock::now()).map_err(Trouble::Shut)?;
        let url = url::with_query(&self.base_url, path, query);
        let answer = self.fetcher.get(&url, deadline).await.map_err(|fault| {
            self.gate.lock().failed(&fault.to_string());
            Trouble::Unreachable(fault)
        })?;
        if answer.headers.contains_key("x-context7-auth-prompt")
            && !self.prompted.swap(true, Ordering::Relaxed)
        {
            tracing::info!("Context7 asks callers without an account to sign in for higher limits");
        }
        let status = answer.status.as_u16();
        let mut gate = self.gate.lock();
        match verdict(status, &answer.headers, &answer.body, unix_now()) {
            Verdict::Good => {
                gate.answered();
                Ok(Got::Body(answer.body))
            }
            Verdict::Moved(id) => {
                gate.answered();
                Ok(Got::Moved(id))
            }
            Verdict::Stop(Shut { why, wait }) => {
                gate.shut(&why, wait.map(|wait| clock::now() + wait));
                Err(Trouble::Shut(Shut { why, wait }))
            }
            Verdict::Bad(trouble) => {
                // An answer about the question is an answer.
                if trouble.old_will_do() {
                    gate.failed(&trouble.text());
                } else {
                    gate.answered();
                }
                Err(trouble)
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, body: &Bytes) -> Result<Sized<T>, Trouble> {
        match serde_json::from_slice(body) {
            Ok(value) => Ok((value, body.len())),
            Err(error) => Err(self.garbled(&error.to_string())),
        }
    }

    fn garbled(&self, what: &str) -> Trouble {
        let trouble = Trouble::Garbled(what.to_owned());
        self.gate.lock().failed(&trouble.text());
        trouble
    }
}

/// The wanted version at the new place; a place that names a version keeps its own.
fn placed(to: &str, version: Option<&str>) -> String {
    match split_id(to) {
        (base, None) => with_version(base, version),
        _ => to.to_owned(),
    }
}
