//! Documentation of libraries from Context7: three tools over one service.
//!
//! An answer comes from the first of these that has one: the shelf, if fresh; the service; the
//! shelf, however old. Each answer says which, and what was tried before it. There is no fourth:
//! without an answer the tool says so, and makes nothing up.

mod api;
mod resolve;
mod show;
#[cfg(test)]
mod tests;
mod tools;
mod verdict;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::clock;

use super::ToolReply;
use super::cache::{Bounds, Held, Life};
use super::reply;
use super::shared::{Fetched, Shared};
use super::spec::Context7Spec;
use super::standing::Standing;

use self::api::{Api, Found};
use self::verdict::Trouble;
use self::wire::Search;

pub(super) use self::tools::{GetDocumentation, GetExamples, SearchLibraries};

/// The tools in their order.
pub(super) const NAMES: [&str; 3] =
    [tools::SEARCH_LIBRARIES, tools::GET_DOCUMENTATION, tools::GET_EXAMPLES];

/// Answers are new for so long, and kept for when there are no new ones.
const LIFE: Life = Life { fresh: Duration::from_hours(6), keep: Duration::from_hours(7 * 24) };
/// What is not there is not asked for again so soon.
const MISSING_LIFE: Life = Life { fresh: Duration::from_mins(10), keep: Duration::from_mins(10) };
const INDEXING_LIFE: Life = Life { fresh: Duration::from_mins(1), keep: Duration::from_mins(1) };
const SEARCH_BOUNDS: Bounds = Bounds { entries_max: 256, bytes_max: 1 << 20 };
const CONTEXT_BOUNDS: Bounds = Bounds { entries_max: 256, bytes_max: 8 << 20 };

/// The service with what is remembered of it.
#[derive(Debug)]
pub(super) struct Context7 {
    api: Api,
    timeout: Duration,
    searches: Shared<Kept<Arc<Search>>, Trouble>,
    contexts: Shared<Kept<Arc<Found>>, Trouble>,
}

/// What is kept: an answer with the time it came (RFC 3339), or that there is none.
#[derive(Clone, Debug)]
enum Kept<A> {
    Found { value: A, fetched_at: Arc<str> },
    Not(Trouble),
}

/// An answer and how it was had.
#[derive(Debug)]
struct Given<A> {
    value: A,
    /// `live`, `anonymous` or `cache`.
    source: &'static str,
    fetched_at: Arc<str>,
    age: Duration,
    /// Older than it should be: a new one could not be had.
    stale: bool,
    attempted: Vec<Attempt>,
}

/// No answer, why, and what was tried.
#[derive(Debug)]
struct Failure {
    trouble: Trouble,
    attempted: Vec<Attempt>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Attempt {
    /// `search` or `context`.
    step: &'static str,
    /// `live`, `anonymous`, `cache` or `local`.
    provider: &'static str,
    outcome: String,
}

impl Context7 {
    pub(super) fn new(spec: &Context7Spec) -> Self {
        Self {
            api: Api::new(spec),
            timeout: spec.tool.timeout,
            searches: Shared::new(SEARCH_BOUNDS),
            contexts: Shared::new(CONTEXT_BOUNDS),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.api.standing()
    }

    /// When a call that starts now must have its answer: a little before the tool's own time is
    /// over, so that there is time to look for an older one.
    fn deadline(&self) -> Instant {
        clock::now() + self.timeout * 9 / 10
    }

    /// Libraries for a name; none found is an empty list.
    async fn search(
        &self,
        name: &str,
        question: &str,
        deadline: Instant,
    ) -> Result<Given<Arc<Search>>, Failure> {
        let key = format!("{name}\n{question}");
        let fetch = async {
            match self.api.search(name, question, deadline).await {
                Ok((search, bytes)) if search.results.as_ref().is_none_or(Vec::is_empty) => {
                    Ok(found(search, bytes, MISSING_LIFE))
                }
                Ok((search, bytes)) => Ok(found(search, bytes, LIFE)),
                Err(Trouble::Missing { .. }) => {
                    Ok(found(Search { results: None }, 0, MISSING_LIFE))
                }
                Err(trouble) => missing(trouble),
            }
        };
        self.given("search", &self.searches, &key, fetch).await
    }

    /// Documentation of a library (by id) for a question.
    async fn context(
        &self,
        id: &str,
        question: &str,
        deadline: Instant,
    ) -> Result<Given<Arc<Found>>, Failure> {
        let key = format!("{id}\n{question}");
        let fetch = async {
            match self.api.context(id, question, deadline).await {
                Ok((answer, _)) if show::is_empty(&answer.context) => {
                    let message = "the library has nothing on this";
                    missing(Trouble::missing("no_snippets_found", message))
                }
                // Parsed, it takes about twice the room of its text.
                Ok((answer, bytes)) => Ok(found(answer, bytes.saturating_mul(2), LIFE)),
                Err(trouble) => missing(trouble),
            }
        };
        self.given("context", &self.contexts, &key, fetch).await
    }

    async fn given<T>(
        &self,
        step: &'static str,
        shared: &Shared<Kept<Arc<T>>, Trouble>,
        key: &str,
        fetch: impl Future<Output = Result<Fetched<Kept<Arc<T>>>, Trouble>>,
    ) -> Result<Given<Arc<T>>, Failure> {
        let attempt = |provider, outcome| Attempt { step, provider, outcome };
        let trouble = match shared.get(key, fetch).await {
            Ok(held) => {
                let provider = if held.cached { "cache" } else { self.api.label() };
                return given(held, provider, false, |outcome| vec![attempt(provider, outcome)]);
            }
            Err(trouble) => trouble,
        };
        let live = attempt(self.api.label(), trouble.text());
        if let Some(held) = shared.any_age(key).filter(|_| trouble.old_will_do()) {
            let attempts = |outcome| vec![live, attempt("cache", outcome)];
            return given(held, "cache", true, attempts);
        }
        let cache = attempt("cache", "nothing stored".to_owned());
        let outcome = "not available: this version has no local documentation index";
        let local = attempt("local", outcome.to_owned());
        Err(Failure { trouble, attempted: vec![live, cache, local] })
    }
}

fn found<T>(value: T, bytes: usize, life: Life) -> Fetched<Kept<Arc<T>>> {
    let (value, fetched_at) = (Arc::new(value), clock::wall_rfc3339().into());
    Fetched { value: Kept::Found { value, fetched_at }, bytes, life }
}

/// Remembers that there is nothing, where the service said so; other trouble may be over next time.
fn missing<T>(trouble: Trouble) -> Result<Fetched<Kept<Arc<T>>>, Trouble> {
    let life = match &trouble {
        Trouble::Missing { .. } => MISSING_LIFE,
        Trouble::Indexing(_) => INDEXING_LIFE,
        _ => return Err(trouble),
    };
    let bytes = trouble.text().len();
    Ok(Fetched { value: Kept::Not(trouble), bytes, life })
}

fn given<T>(
    held: Held<Kept<Arc<T>>>,
    source: &'static str,
    stale: bool,
    attempts: impl FnOnce(String) -> Vec<Attempt>,
) -> Result<Given<Arc<T>>, Failure> {
    let age = held.age.as_secs();
    match held.value {
        Kept::Found { value, fetched_at } => {
            let outcome = match (held.cached, stale) {
                (false, _) => "ok".to_owned(),
                (true, false) => format!("ok, {age} s old"),
                (true, true) => format!("stale, {age} s old"),
            };
            let attempted = attempts(outcome);
            Ok(Given { value, source, fetched_at, age: held.age, stale, attempted })
        }
        Kept::Not(trouble) => {
            let text = trouble.text();
            let outcome = if held.cached { format!("{text} (as of {age} s ago)") } else { text };
            Err(Failure { attempted: attempts(outcome), trouble })
        }
    }
}

impl Failure {
    /// With what was tried before it came to this.
    fn after(mut self, mut earlier: Vec<Attempt>) -> Self {
        earlier.append(&mut self.attempted);
        Self { attempted: earlier, ..self }
    }

    /// The failure as a result. `what` was asked for.
    fn into_reply(self, what: &str) -> ToolReply {
        let Self { trouble, attempted } = self;
        let cause = trouble.text();
        let tried: Vec<_> = attempted
            .iter()
            .map(|Attempt { step, provider, outcome }| format!("{step}, {provider}: {outcome}"))
            .collect();
        let tried = tried.join("; ");
        let text = match &trouble {
            Trouble::Unreachable(_) => format!(
                "offline: Context7 cannot be reached, and no earlier answer for `{what}` is stored. \
                 The local documentation index is not available. No documentation is made up. \
                 Tried: {tried}"
            ),
            Trouble::Shut(_) | Trouble::Failing { .. } | Trouble::Garbled(_) => format!(
                "no documentation for `{what}`: {cause}. No earlier answer is stored, the local \
                 documentation index is not available, and no documentation is made up. Tried: \
                 {tried}"
            ),
            Trouble::Indexing(_) | Trouble::Missing { .. } | Trouble::Refused { .. } => {
                format!("no documentation for `{what}`: {cause}. Tried: {tried}")
            }
        };
        reply::failure(trouble.status(), &text)
    }
}
