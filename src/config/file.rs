//! Pure: the shape of `gateway.toml` as plain data. What the values mean is `compile`'s part. The
//! JSON Schema made from these types is what editors use, and what `shape` checks a file against:
//! the keys and the types of values are written down here and nowhere else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::text;

/// The configuration of a waypost gateway.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "gateway.toml")]
pub(super) struct File {
    /// Where the gateway listens, and whom it lets in.
    #[serde(default)]
    pub(super) server: Server,
    /// Who may call over HTTP, and how much each of them gets.
    #[serde(default)]
    pub(super) auth: Auth,
    /// How the names of tools, prompts and resources are made.
    #[serde(default)]
    pub(super) catalog: Catalog,
    /// How host names are looked up whose addresses are replicas.
    #[serde(default)]
    pub(super) dns: Dns,
    /// What holds for every upstream that does not say otherwise.
    #[serde(default)]
    pub(super) defaults: Defaults,
    /// The tools that run inside the gateway.
    #[serde(default)]
    pub(super) tools: Tools,
    /// How much is kept of good results, for fallbacks with `cached`.
    #[serde(default)]
    pub(super) fallback: Keep,
    /// The MCP servers behind the gateway, by name.
    #[serde(default)]
    pub(super) upstreams: Named<Upstream>,
}

/// `[server]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// The address to listen on. Anything but a loopback address needs `[auth] keys` or
    /// `--insecure-public`.
    #[schemars(extend("default" = "127.0.0.1"))]
    pub(super) host: Option<String>,
    /// The port to listen on; 0 takes any free one.
    #[schemars(extend("default" = 8000))]
    pub(super) port: Option<u16>,
    /// Names accepted in `Host`, besides localhost, 127.0.0.1, `[::1]` and `host`; without port.
    #[schemars(extend("default" = []))]
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// Values accepted in `Origin`, besides those of an allowed host with our port.
    #[schemars(extend("default" = []))]
    pub(super) allowed_origins: Option<Vec<String>>,
    /// How long a stop waits for calls in flight.
    #[schemars(extend("default" = "30s"))]
    pub(super) grace: Option<Time>,
    /// A session of a legacy client that was not used for so long, and has no stream open, is
    /// forgotten: 1 s to 24 h.
    #[schemars(extend("default" = "30m"))]
    pub(super) session_idle: Option<Time>,
    /// Memory in bytes that the gateway may use: 16 MiB or more, or 0 for no limit. Nearing it, it
    /// takes less and less. Without it the limit of the control group it runs in.
    #[schemars(range(max = 1_125_899_906_842_624_u64))]
    pub(super) max_memory_bytes: Option<u64>,
}

/// `[dns]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    /// The name server to ask, as an address or `ADDRESS:PORT`. Without it those of the system, and
    /// its table of hosts.
    #[schemars(extend("default" = ""))]
    pub(super) server: Option<String>,
    /// Most addresses of one name that become replicas.
    #[schemars(range(min = 1, max = 256), extend("default" = 32))]
    pub(super) addresses_max: Option<u32>,
}

/// `[auth]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    /// Clients must show one of these keys as `Authorization: Bearer KEY`. None = nobody is asked.
    #[schemars(length(max = 256), extend("default" = []))]
    pub(super) keys: Option<Vec<Key>>,
    /// Most calls of one principal in flight.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 64))]
    pub(super) inflight: Option<u32>,
    /// Requests of one principal a second, over a longer time.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 50))]
    pub(super) rate: Option<u32>,
    /// Requests of one principal at once, after a rest.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 100))]
    pub(super) burst: Option<u32>,
    /// Most legacy sessions of one principal.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 64))]
    pub(super) sessions: Option<u32>,
    /// Most open streams of one principal.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 64))]
    pub(super) streams: Option<u32>,
}

/// An item of `[auth] keys`: whoever shows `key` is `name`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// Who it is. Each name once: letters, digits, `-`, `_` and `.`.
    #[schemars(required, regex(pattern = r"^[A-Za-z0-9._-]{1,64}$|\$\{"))]
    pub(super) name: Option<String>,
    /// The key, by reference: `${VAR}` or `${file:PATH}`. 16 bytes or more of visible ASCII.
    #[schemars(required, regex(pattern = r"^\$\{[^{}]+\}$"))]
    pub(super) key: Option<String>,
}

/// `[catalog]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalog {
    /// Between the prefix of an upstream and the name of a tool.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,4}$|\$\{"), extend("default" = "__"))]
    pub(super) separator: Option<String>,
    /// Longest exposed name in bytes; longer ones are cut and get a stable hash.
    #[schemars(range(min = 16, max = 128), extend("default" = 48))]
    pub(super) name_max: Option<u32>,
    /// Keep the last known catalog on disk, and answer from it before the upstreams are up.
    #[schemars(extend("default" = true))]
    pub(super) cache: Option<bool>,
    /// Where that catalog is kept; empty = the user's cache folder.
    #[schemars(extend("default" = ""))]
    pub(super) cache_dir: Option<String>,
}

/// `[fallback]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those of the file")]
pub(super) struct Keep {
    /// Most results that are kept, of all tools and principals together.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1000))]
    pub(super) cache_entries: Option<u32>,
    /// Most bytes of one result with its arguments; larger ones are not kept.
    #[schemars(range(min = 1024, max = 262_144), extend("default" = 65_536))]
    pub(super) cache_entry_bytes: Option<u32>,
    /// Most bytes of all of them.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = 16_777_216))]
    pub(super) cache_bytes: Option<u32>,
}

/// `[defaults]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    /// Longest silence of a call, for upstreams and built-in tools without a `timeout` of their own.
    pub(super) timeout: Option<PositiveTime>,
    /// When a call is tried again.
    #[serde(default)]
    pub(super) retry: Retry,
    /// When a replica gets no calls for a while.
    #[serde(default)]
    pub(super) breaker: Breaker,
    /// How replicas are probed.
    #[serde(default)]
    pub(super) health: Health,
    /// When a slow call is asked a second time.
    #[serde(default)]
    pub(super) hedge: Hedge,
    /// How much an upstream gets at once.
    #[serde(default)]
    pub(super) limits: Limits,
}

/// `[tools]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tools {
    /// Says back what it was told.
    #[serde(default)]
    pub(super) echo: Echo,
    /// Weather by Open-Meteo.
    #[serde(default)]
    pub(super) weather: Weather,
    /// Documentation of libraries by Context7.
    #[serde(default)]
    pub(super) context7: Context7,
    /// The tools that show the gateway and call through it: `gateway_status` and its sisters.
    #[serde(default)]
    pub(super) gateway: Coordination,
}

/// `[tools.gateway]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Coordination {
    /// Whether the tools are offered.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Option<bool>,
    /// Calls a minute; 0 = no limit.
    #[schemars(range(max = 1_000_000), extend("default" = 0))]
    pub(super) rate_limit: Option<u32>,
    /// Longest duration of a call, all the calls that it makes included. Without it
    /// `[defaults] timeout`, else 60s.
    #[schemars(extend("default" = "60s"))]
    pub(super) timeout: Option<PositiveTime>,
    /// Most calls of one `gateway_aggregate`.
    #[schemars(range(min = 1, max = 100), extend("default" = 100))]
    pub(super) max_calls: Option<u32>,
    /// Most of them at once.
    #[schemars(range(min = 1, max = 32), extend("default" = 16))]
    pub(super) max_concurrency: Option<u32>,
    /// Most bytes of results in one answer of `gateway_aggregate`; what has no room is named.
    #[schemars(range(min = 1024, max = 16_777_216), extend("default" = 1_048_576))]
    pub(super) max_answer_bytes: Option<u32>,
}

/// `[tools.echo]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Echo {
    /// Whether the tool is offered.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Option<bool>,
    /// Calls a minute; 0 = no limit.
    #[schemars(range(max = 1_000_000), extend("default" = 0))]
    pub(super) rate_limit: Option<u32>,
    /// Longest duration of a call. Without it `[defaults] timeout`, else 30s.
    #[schemars(extend("default" = "30s"))]
    pub(super) timeout: Option<PositiveTime>,
    /// Longest message in characters.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1000))]
    pub(super) max_message_length: Option<u32>,
}

/// `[tools.weather]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Weather {
    /// Whether the tool is offered.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Option<bool>,
    /// Calls a minute; 0 = no limit.
    #[schemars(range(max = 1_000_000), extend("default" = 0))]
    pub(super) rate_limit: Option<u32>,
    /// Longest duration of a call. Without it `[defaults] timeout`, else 30s.
    #[schemars(extend("default" = "30s"))]
    pub(super) timeout: Option<PositiveTime>,
    /// Units when the caller names none.
    #[schemars(extend("default" = "metric"))]
    pub(super) default_units: Option<Units>,
    /// The forecast service.
    #[schemars(extend("default" = crate::builtin::spec::WEATHER_URL))]
    pub(super) base_url: Option<String>,
    /// The geocoding service. Without it the service's own, or `base_url` if that is set.
    #[schemars(extend("default" = crate::builtin::spec::GEOCODING_URL))]
    pub(super) geocoding_url: Option<String>,
    /// The key of a commercial plan.
    #[schemars(extend("default" = ""))]
    pub(super) api_key: Option<String>,
}

/// `[tools.context7]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Context7 {
    /// Whether the tools are offered.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Option<bool>,
    /// Calls a minute; 0 = no limit.
    #[schemars(range(max = 1_000_000), extend("default" = 100))]
    pub(super) rate_limit: Option<u32>,
    /// Longest duration of a call. Without it `[defaults] timeout`, else 30s.
    #[schemars(extend("default" = "30s"))]
    pub(super) timeout: Option<PositiveTime>,
    /// The base of the API; the variable `CONTEXT7_API_URL` goes before it.
    #[schemars(extend("default" = crate::builtin::spec::CONTEXT7_URL))]
    pub(super) base_url: Option<String>,
    /// The key of the API; the variable `CONTEXT7_API_KEY` goes before it. Anonymous without one.
    #[schemars(extend("default" = ""))]
    pub(super) api_key: Option<String>,
    /// Never call the service without a key.
    #[schemars(extend("default" = false))]
    pub(super) api_key_required: Option<bool>,
}

/// Units of weather values.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Units {
    Metric,
    Imperial,
}

/// `[upstreams.NAME]`: one MCP server.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// Before the names of its tools. Without it the upstream's name; "" = no prefix.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]*$|\$\{"))]
    pub(super) prefix: Option<String>,
    /// The gateway is not ready until this upstream is.
    #[schemars(extend("default" = false))]
    pub(super) required: Option<bool>,
    /// Which protocol generation it speaks.
    #[schemars(extend("default" = "auto"))]
    pub(super) era: Option<Era>,
    /// Whether clients share its children and sessions.
    #[schemars(extend("default" = "shared"))]
    pub(super) isolation: Option<Isolation>,
    /// What becomes of its questions to modern clients, where it is of the legacy era.
    #[schemars(extend("default" = "park"))]
    pub(super) interactive_bridge: Option<Bridge>,
    /// When its child processes are started.
    #[schemars(extend("default" = "eager"))]
    pub(super) start: Option<Start>,
    /// A child process that clients share is stopped when it was not used for so long, and started
    /// by the next call; "0s" = never.
    #[schemars(extend("default" = "10m"))]
    pub(super) idle_stop: Option<Time>,
    /// Whether its annotations may make retries and hedges legal.
    #[schemars(extend("default" = false))]
    pub(super) trust_annotations: Option<bool>,
    /// How a replica is chosen for a call.
    #[schemars(extend("default" = "auto"))]
    pub(super) balance: Option<Balance>,
    /// `balance = "consistent_hash"`: what is hashed (`client`, `arg:NAME`, `header:NAME`).
    #[schemars(regex(pattern = r"^(client|arg:.+|header:.+)$|\$\{"), extend("default" = "client"))]
    pub(super) hash_on: Option<String>,
    /// `balance = "expression"`: the replica with the lowest value wins.
    #[schemars(extend("default" = ""))]
    pub(super) expression: Option<String>,
    /// Longest silence of a call; progress resets it. Without it `[defaults] timeout`, else 60s.
    #[schemars(extend("default" = "60s"))]
    pub(super) timeout: Option<PositiveTime>,
    /// Longest duration of a call in all.
    #[schemars(extend("default" = "15m"))]
    pub(super) timeout_max: Option<PositiveTime>,
    /// Which of its tools are offered, and how.
    #[serde(default)]
    pub(super) tools: Offer,
    /// The running copies of it.
    #[serde(default)]
    pub(super) replicas: Vec<Replica>,
    /// When a call is tried again.
    #[serde(default)]
    pub(super) retry: Retry,
    /// When a replica gets no calls for a while.
    #[serde(default)]
    pub(super) breaker: Breaker,
    /// How replicas are probed.
    #[serde(default)]
    pub(super) health: Health,
    /// When a slow call is asked a second time.
    #[serde(default)]
    pub(super) hedge: Hedge,
    /// How much it gets at once.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Its own tool name → what answers in place of the tool while it is away.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) fallback: Named<Fallback>,
}

/// `[upstreams.NAME.fallback.TOOL]`: the steps are taken in this order.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fallback {
    /// The exposed name of another tool. "" = none.
    #[schemars(extend("default" = ""))]
    pub(super) tool: Option<String>,
    /// The name of an argument → its name at the other tool, "" = left out. Others keep theirs.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) arguments: Named<String>,
    /// The name of an argument of the other tool → its value in every call.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) constants: Named<Constant>,
    /// The last good result, if it is no older than this. Only for tools that only read.
    pub(super) cached: Option<PositiveTime>,
    /// A text instead of a result. "" = none.
    #[schemars(extend("default" = ""))]
    pub(super) text: Option<String>,
}

/// A value of an argument.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Constant {
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(String),
}

impl JsonSchema for Constant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Constant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            // What every parser of JSON keeps as it is.
            "minimum": -9_007_199_254_740_991_i64,
            "maximum": 9_007_199_254_740_991_i64,
        })
    }
}

/// Protocol generations.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Era {
    Auto,
    Modern,
    Legacy,
}

/// Whether clients share children and sessions.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Isolation {
    Shared,
    Session,
}

/// What becomes of questions of a legacy server to a modern client.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bridge {
    Park,
    Refuse,
}

/// When child processes are started.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    Eager,
    Lazy,
}

/// Rules that choose a replica.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Balance {
    Auto,
    RoundRobin,
    Weighted,
    LeastBusy,
    P2cEwma,
    Random,
    ConsistentHash,
    Priority,
    Expression,
}

/// `tools.include` and its siblings.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    /// Patterns (`*`, `?`) over its own tool names; a tool must match one of them.
    #[schemars(extend("default" = ["*"]))]
    pub(super) include: Option<Vec<String>>,
    /// Patterns over its own tool names; a tool that matches one is not offered.
    #[schemars(extend("default" = []))]
    pub(super) exclude: Option<Vec<String>>,
    /// Its own tool name → the name to use instead; the prefix still applies.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) rename: Named<String>,
    /// Its own tool name → the description to show.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) describe: Named<String>,
    /// Its own tool name → what a second run of it would do.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) effect: Named<Effect>,
}

/// What a second run of a tool would do.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    ReadOnly,
    Idempotent,
    Unsafe,
}

/// `[[upstreams.NAME.replicas]]`: a child process (`command`) or a server (`url`).
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replica {
    /// Its name; without one its index.
    pub(super) name: Option<String>,
    /// The program of a child process on stdio; `waypost` = the running binary.
    pub(super) command: Option<String>,
    /// Its arguments; no shell reads them.
    #[schemars(extend("default" = []))]
    pub(super) args: Option<Vec<String>>,
    /// Its variables, besides the few that every child inherits.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) env: Named<String>,
    /// Its working directory, relative to the folder of this file. Without it the gateway's own.
    pub(super) cwd: Option<String>,
    /// How many identical children.
    #[schemars(range(min = 1, max = 64), extend("default" = 1))]
    pub(super) count: Option<u32>,
    /// The endpoint of a server.
    pub(super) url: Option<String>,
    /// The transport of a server behind a URL: Streamable HTTP, or HTTP+SSE of 2024-11-05. Without
    /// it HTTP+SSE is tried where a legacy server refuses Streamable HTTP.
    pub(super) transport: Option<Transport>,
    /// Each address of its host name is a replica of its own, looked up so often, 1s at least; 0s =
    /// one replica, whatever its name stands for.
    #[schemars(extend("default" = "0s"))]
    pub(super) resolve: Option<Time>,
    /// Headers sent with every request.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) headers: Named<String>,
    /// Its share of the calls, relative to its siblings; 0 takes no new calls.
    #[schemars(range(max = 1000), extend("default" = 1))]
    pub(super) weight: Option<u32>,
    /// Lower tiers are used first.
    #[schemars(range(max = 1000), extend("default" = 0))]
    pub(super) tier: Option<u32>,
    /// Free labels, for `balance = "expression"`.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub(super) labels: Named<String>,
}

/// HTTP transports.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    Http,
    Sse,
}

/// `[….retry]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those of the file")]
pub(super) struct Retry {
    /// Attempts in all, for calls that may be repeated.
    #[schemars(range(min = 1, max = 20), extend("default" = 3))]
    pub(super) max_attempts: Option<u32>,
    /// The wait before the first repetition.
    #[schemars(extend("default" = "50ms"))]
    pub(super) backoff_base: Option<Time>,
    /// By how much each wait is longer than the one before.
    #[schemars(range(min = 1.0, max = 10.0), extend("default" = 2.0))]
    pub(super) backoff_factor: Option<f64>,
    /// The longest wait.
    #[schemars(extend("default" = "2s"))]
    pub(super) backoff_max: Option<Time>,
    /// Repetitions, as a share of the calls.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.1))]
    pub(super) budget_ratio: Option<f64>,
    /// The longest wait that an upstream may ask for.
    #[schemars(extend("default" = "30s"))]
    pub(super) retry_after_max: Option<Time>,
    /// Whether -32603 and HTTP 500 of read-only calls are tried again, once.
    #[schemars(extend("default" = false))]
    pub(super) on_server_error: Option<bool>,
}

/// `[….breaker]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Breaker {
    /// Failures in a row that shut the gate.
    #[schemars(range(min = 1, max = 1000), extend("default" = 5))]
    pub(super) consecutive: Option<u32>,
    /// The time over which the success rate is taken.
    #[schemars(extend("default" = "30s"))]
    pub(super) window: Option<PositiveTime>,
    /// Below it the gate shuts.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.6))]
    pub(super) success_rate: Option<f64>,
    /// Calls in the window before the rate counts.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 8))]
    pub(super) min_requests: Option<u32>,
    /// The first time a replica is left out; doubled each time.
    #[schemars(extend("default" = "5s"))]
    pub(super) eject_base: Option<PositiveTime>,
    /// The longest time a replica is left out.
    #[schemars(extend("default" = "5m"))]
    pub(super) eject_max: Option<PositiveTime>,
    /// At most so many percent of the replicas are left out.
    #[schemars(range(max = 100), extend("default" = 50))]
    pub(super) eject_max_percent: Option<u32>,
    /// With fewer percent of the replicas up, all of them are used again.
    #[schemars(range(max = 100), extend("default" = 50))]
    pub(super) panic_percent: Option<u32>,
}

/// `[….health]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// Between two probes of a replica that is up.
    #[schemars(extend("default" = "10s"))]
    pub(super) interval: Option<PositiveTime>,
    /// Between two probes of a suspect replica.
    #[schemars(extend("default" = "1s"))]
    pub(super) fast_interval: Option<PositiveTime>,
    /// Between two probes of a replica that is down.
    #[schemars(extend("default" = "5s"))]
    pub(super) down_interval: Option<PositiveTime>,
    /// Longest duration of a probe. Without it 2s, and 5s for a child process.
    pub(super) timeout: Option<PositiveTime>,
    /// Failed probes in a row until a replica is down.
    #[schemars(range(min = 1, max = 100), extend("default" = 3))]
    pub(super) fall: Option<u32>,
    /// Good probes in a row until it is up again.
    #[schemars(range(min = 1, max = 100), extend("default" = 2))]
    pub(super) rise: Option<u32>,
    /// No probe where a call just succeeded.
    #[schemars(extend("default" = true))]
    pub(super) skip_if_traffic: Option<bool>,
    /// A read-only tool to call as the probe.
    #[schemars(extend("default" = ""))]
    pub(super) tool: Option<String>,
}

/// `[….hedge]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hedge {
    /// Whether slow calls are asked a second time.
    #[schemars(extend("default" = "auto"))]
    pub(super) enabled: Option<HedgeMode>,
    /// Second calls, as a share of the calls.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.05))]
    pub(super) budget: Option<f64>,
    /// No second call earlier than this.
    #[schemars(extend("default" = "10ms"))]
    pub(super) delay_min: Option<Time>,
}

/// Whether slow calls are asked a second time.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum HedgeMode {
    Auto,
    Off,
}

/// `[….limits]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Most calls in flight at the upstream.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 512))]
    pub(super) inflight: Option<u32>,
    /// Most calls in flight at one replica. Without it 64, and 16 for a child process.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) inflight_replica: Option<u32>,
    /// Most calls that wait.
    #[schemars(range(max = 1_000_000), extend("default" = 1024))]
    pub(super) queue: Option<u32>,
    /// Most sessions at one replica.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 256))]
    pub(super) sessions_replica: Option<u32>,
}

/// A table with free keys, in the order of the file.
pub(super) struct Named<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// The `title` that marks a duration in the schema.
pub(super) const TIME_TITLE: &str = "duration";
/// The `title` that marks a duration above zero in the schema.
pub(super) const POSITIVE_TIME_TITLE: &str = "duration above zero";

macro_rules! time {
    ($(#[$doc:meta])* $name:ident, $title:expr, $parse:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name(pub(super) Duration);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                $parse(&text).map(Self).map_err(|bad| de::Error::custom(bad.what))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "title": $title,
                    // Text with a variable in it is checked after the variable is filled in.
                    "pattern": r"^[0-9]+(ms|s|m|h)$|\$\{",
                })
            }
        }
    };
}

time! {
    /// A duration as text with a unit.
    Time, TIME_TITLE, text::time
}
time! {
    /// A duration above zero as text with a unit.
    PositiveTime, POSITIVE_TIME_TITLE, text::positive_time
}
