//! Metric handles. Each part of the gateway binds its own once, and then only adds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use parking_lot::Mutex;

use crate::base::{Fault, Kind};

use super::names::{self, Lookup, MetricKind, OTHER_REPLICA, Reloaded, STATUSES, Status};

/// Most names of replicas of one upstream that have labels of their own, since the start; each costs
/// about twenty series.
const REPLICA_LABELS_MAX: usize = 512;

const METADATA: Metadata<'static> = Metadata::new("waypost", Level::INFO, None);

/// The names of replicas that have labels of their own.
#[derive(Default)]
struct Apart {
    /// By upstream.
    names: HashMap<Box<str>, HashSet<Box<str>>>,
}

impl Apart {
    /// Whether a replica has: the first [`REPLICA_LABELS_MAX`] names of an upstream have.
    fn tells(&mut self, upstream: &str, replica: &str) -> bool {
        let names = self.names.entry(upstream.into()).or_default();
        if names.len() < REPLICA_LABELS_MAX {
            names.insert(replica.into());
        }
        names.contains(replica)
    }
}

/// Where all metrics live. One for the process; not global, so that tests can have their own.
#[derive(Clone)]
pub struct Meters {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// Whose labels are bounded.
    replicas: Arc<Mutex<Apart>>,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

impl Meters {
    /// An empty registry that knows every help text.
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for name in [names::DURATION, names::UPSTREAM_DURATION, names::QUEUE_WAIT] {
            let matcher = Matcher::Full(name.to_owned());
            // Only an empty list of buckets is refused.
            builder = match builder.set_buckets_for_metric(matcher, &names::DURATION_BUCKETS) {
                Ok(builder) => builder,
                Err(_) => PrometheusBuilder::new(),
            };
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let meters = Self { recorder: Arc::new(recorder), handle, replicas: Arc::default() };
        meters.describe();
        meters
            .gauge(names::BUILD_INFO, vec![Label::new("version", env!("CARGO_PKG_VERSION"))])
            .set(1.0);
        meters
    }

    fn describe(&self) {
        for (name, kind, help) in names::METRICS {
            let (name, help) = ((*name).into(), (*help).into());
            match kind {
                MetricKind::Counter => self.recorder.describe_counter(name, None, help),
                MetricKind::Gauge => self.recorder.describe_gauge(name, None, help),
                MetricKind::Histogram => self.recorder.describe_histogram(name, None, help),
            }
        }
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
    }

    /// All metrics as Prometheus text.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Folds what was recorded into the histograms; call it every few seconds, so that memory
    /// stays bounded without a scrape.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The handles of one tool.
    pub fn tool(&self, name: &str) -> ToolMeters {
        let label = || Label::new("tool_name", name.to_owned());
        let ends = STATUSES.map(|status| {
            self.counter(names::REQUESTS, vec![label(), Label::new("status", status.as_str())])
        });
        ToolMeters {
            ends: Arc::new(ends),
            duration: self.histogram(names::DURATION, vec![label()]),
        }
    }

    /// The handles of one replica. Those of one name share their values. Where addresses are
    /// replicas, names come and go for as long as the gateway runs: beyond a bound they are counted
    /// together, and of those together it is not said whether they are up.
    pub fn replica(&self, upstream: &str, replica: &str) -> ReplicaMeters {
        let apart = self.replicas.lock().tells(upstream, replica);
        let replica = if apart { replica } else { OTHER_REPLICA };
        let labels = || {
            vec![
                Label::new("upstream", upstream.to_owned()),
                Label::new("replica", replica.to_owned()),
            ]
        };
        let outcome = |outcome: &'static str| {
            let mut labels = labels();
            labels.push(Label::new("outcome", outcome));
            self.counter(names::UPSTREAM_REQUESTS, labels)
        };
        let own = |name| if apart { self.gauge(name, labels()) } else { Gauge::noop() };
        let (up, gate) = (own(names::UPSTREAM_UP), own(names::BREAKER_STATE));
        ReplicaMeters {
            up,
            asleep: self.gauge(names::UPSTREAM_ASLEEP, labels()),
            gate,
            answered: outcome("answered"),
            failed: outcome("failed"),
            given_up: outcome("given_up"),
            duration: self.histogram(names::UPSTREAM_DURATION, labels()),
            inflight: self.gauge(names::UPSTREAM_INFLIGHT, labels()),
            meters: self.clone(),
            upstream: upstream.into(),
        }
    }

    /// The handles of one upstream.
    pub fn pool(&self, upstream: &str) -> PoolMeters {
        let label = || Label::new("upstream", upstream.to_owned());
        PoolMeters {
            failovers: self.counter(names::FAILOVERS, vec![label()]),
            shed: self.shed("upstream"),
            waited: self.histogram(names::QUEUE_WAIT, vec![label()]),
            meters: self.clone(),
            upstream: upstream.into(),
        }
    }

    /// How many calls wait for answers of their clients now.
    pub fn parked_now(&self, calls: u32) {
        self.gauge(names::PARKED, Vec::new()).set(f64::from(calls));
    }

    /// What an upstream has now: calls in its line, its retry budget, and whether it panics.
    pub fn pool_now(&self, upstream: &str, numbers: [f64; 3]) {
        for (name, number) in
            [names::QUEUE_DEPTH, names::RETRY_BUDGET, names::PANIC].into_iter().zip(numbers)
        {
            self.gauge(name, vec![Label::new("upstream", upstream.to_owned())]).set(number);
        }
    }

    /// How slow a replica is now beside what is usual. Of those that are counted together it is not
    /// said.
    pub fn replica_now(&self, upstream: &str, replica: &str, slowness: f64) {
        if !self.replicas.lock().tells(upstream, replica) {
            return;
        }
        let labels = vec![
            Label::new("upstream", upstream.to_owned()),
            Label::new("replica", replica.to_owned()),
        ];
        self.gauge(names::RELATIVE_LATENCY, labels).set(slowness);
    }

    /// Requests of one method other than `tools/call`.
    pub fn method(&self, method: &'static str, status: Status) -> Counter {
        let labels = vec![Label::new("method", method), Label::new("status", status.as_str())];
        self.counter(names::METHOD_REQUESTS, labels)
    }

    /// Client connections.
    pub fn connections(&self) -> Gauge {
        self.gauge(names::CONNECTIONS, Vec::new())
    }

    /// How near its limit the memory is, 0 to 4.
    pub fn memory_pressure(&self) -> Gauge {
        self.gauge(names::MEMORY_PRESSURE, Vec::new())
    }

    /// Client sessions of one era.
    pub fn sessions(&self, era: &'static str) -> Gauge {
        self.gauge(names::SESSIONS, vec![Label::new("era", era)])
    }

    /// Items on offer of one kind.
    pub fn catalog_items(&self, kind: &'static str) -> Gauge {
        self.gauge(names::CATALOG_ITEMS, vec![Label::new("kind", kind)])
    }

    /// Requests that showed no key of ours.
    pub fn auth_fail(&self, why: &'static str) -> Counter {
        self.counter(names::AUTH_FAIL, vec![Label::new("why", why)])
    }

    /// Reloads of the configuration that ended in this way.
    pub fn reloads(&self, result: Reloaded) -> Counter {
        self.counter(names::CONFIG_RELOADS, vec![Label::new("result", result.as_str())])
    }

    /// Which configuration is in force.
    pub fn config_generation(&self) -> Gauge {
        self.gauge(names::CONFIG_GENERATION, Vec::new())
    }

    /// Tools that not all replicas of an upstream offer alike.
    pub fn catalog_skew(&self, upstream: &str) -> Gauge {
        self.gauge(names::CATALOG_SKEW, vec![Label::new("upstream", upstream.to_owned())])
    }

    /// Lookups of the host names of an upstream that ended in this way.
    pub fn lookups(&self, upstream: &str, result: Lookup) -> Counter {
        let upstream = Label::new("upstream", upstream.to_owned());
        self.counter(names::DNS_LOOKUPS, vec![upstream, Label::new("result", result.as_str())])
    }

    /// Calls refused at a bound.
    pub fn shed(&self, stage: &'static str) -> Counter {
        self.counter(names::SHED, vec![Label::new("stage", stage)])
    }
}

/// The handles of one tool.
#[derive(Clone, Debug)]
pub struct ToolMeters {
    ends: Arc<[Counter; STATUSES.len()]>,
    duration: Histogram,
}

impl ToolMeters {
    /// A call ended.
    pub fn ended(&self, status: Status, took: Duration) {
        let place = STATUSES.iter().position(|known| *known == status);
        if let Some(counter) = place.and_then(|place| self.ends.get(place)) {
            counter.increment(1);
        }
        self.duration.record(took.as_secs_f64());
    }
}

/// The handles of one upstream.
#[derive(Clone, Debug)]
pub struct PoolMeters {
    failovers: Counter,
    /// Calls that were refused at a bound.
    pub shed: Counter,
    /// How long calls waited in line.
    pub waited: Histogram,
    meters: Meters,
    upstream: Box<str>,
}

impl PoolMeters {
    /// A call is sent again after this fault, to another replica or to the same one.
    pub fn again(&self, fault: &Fault, elsewhere: bool) {
        if elsewhere {
            self.failovers.increment(1);
        }
        self.by(names::RETRIES, "reason", fault.kind.as_str()).increment(1);
    }

    /// A call that failed is not sent again.
    pub fn refused(&self, why: &'static str) {
        self.by(names::RETRIES_DENIED, "why", why).increment(1);
    }

    /// The gate of a replica shut.
    pub fn ejected(&self, why: &'static str) {
        self.by(names::EJECTIONS, "reason", why).increment(1);
    }

    /// A call was asked a second time.
    pub fn hedged(&self, result: &'static str) {
        self.by(names::HEDGES, "result", result).increment(1);
    }

    /// A call failed where a fallback is declared: the step that answered it, or `none`.
    pub fn fell_back(&self, step: &'static str) {
        self.by(names::FALLBACKS, "step", step).increment(1);
    }

    /// What belonged to a client session was lost; `dirty` = its client was told.
    pub fn session_lost(&self, dirty: bool) {
        let dirty = if dirty { "true" } else { "false" };
        self.by(names::SESSIONS_LOST, "dirty", dirty).increment(1);
    }

    /// Failures are rare enough to look their counter up.
    fn by(&self, name: &'static str, label: &'static str, value: &'static str) -> Counter {
        let upstream = Label::new("upstream", self.upstream.to_string());
        self.meters.counter(name, vec![upstream, Label::new(label, value)])
    }
}

/// The handles of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaMeters {
    /// `mcp_upstream_up`
    pub up: Gauge,
    /// `mcp_upstream_asleep`
    pub asleep: Gauge,
    /// Requests that were answered.
    pub answered: Counter,
    /// Requests that failed.
    pub failed: Counter,
    /// Requests that the client gave up.
    pub given_up: Counter,
    /// Durations.
    pub duration: Histogram,
    /// Requests in flight.
    pub inflight: Gauge,
    /// What its gate answers.
    pub gate: Gauge,
    meters: Meters,
    upstream: Box<str>,
}

impl ReplicaMeters {
    /// A child that was up ended.
    pub fn restarted(&self, kind: Kind) {
        let reason = match kind {
            Kind::Closed => "exited",
            Kind::Protocol => "protocol",
            Kind::TooLarge => "too_large",
            _ => "other",
        };
        let labels =
            vec![Label::new("upstream", self.upstream.to_string()), Label::new("reason", reason)];
        self.meters.counter(names::CHILD_RESTARTS, labels).increment(1);
    }

    /// A child was stopped because nobody used it.
    pub fn stopped_idle(&self) {
        let labels =
            vec![Label::new("upstream", self.upstream.to_string()), Label::new("reason", "idle")];
        self.meters.counter(names::CHILD_STOPS, labels).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_come_and_go_for_ever_do_not_grow_the_metrics_for_ever() {
        let meters = Meters::new();
        for n in 0..2 * REPLICA_LABELS_MAX {
            let replica = meters.replica("u", &format!("r{n}"));
            replica.up.set(1.0);
            replica.answered.increment(1);
        }
        meters.replica("u", "r0").answered.increment(1);
        meters.replica("v", "r").up.set(1.0);
        let text = meters.render();
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("mcp_upstream_up{upstream=\"u\""), REPLICA_LABELS_MAX);
        assert_eq!(series("mcp_upstream_up{upstream=\"v\""), 1, "each upstream has its own");
        let answered = |replica: &str, count: usize| {
            let labels = format!(r#"upstream="u",replica="{replica}",outcome="answered""#);
            text.contains(&format!("mcp_upstream_requests_total{{{labels}}} {count}\n"))
        };
        assert!(answered("_other", REPLICA_LABELS_MAX) && answered("r0", 2), "{text}");
    }

    #[test]
    fn durations_are_histograms_with_the_exact_buckets_and_names() {
        let meters = Meters::new();
        meters.tool("echo").ended(Status::Success, Duration::from_millis(7));
        let text = meters.render();
        assert!(text.contains("# TYPE mcp_requests_total counter"), "{text}");
        assert!(
            text.contains(r#"mcp_requests_total{tool_name="echo",status="success"} 1"#),
            "{text}"
        );
        assert!(text.contains("# TYPE mcp_request_duration_seconds histogram"), "{text}");
        assert!(
            text.contains(r#"mcp_request_duration_seconds_bucket{tool_name="echo",le="0.005"} 0"#),
            "{text}"
        );
        assert!(
            text.contains(r#"mcp_request_duration_seconds_bucket{tool_name="echo",le="0.01"} 1"#),
            "{text}"
        );
    }
}
