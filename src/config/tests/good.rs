//! What good configurations become.

use std::time::Duration;

use super::*;
use crate::builtin::spec::{GEOCODING_URL, WEATHER_URL};
use crate::fleet::spec::{Balance, BreakerSpec, Effect, HashOn, RetrySpec};
use crate::gateway::spec::DnsSpec;
use crate::upstream::spec::{EraPolicy, HealthSpec, Transport};

#[test]
fn an_empty_file_is_every_default() {
    assert_eq!(good(""), Spec::default());
}

#[test]
fn upstreams_and_replicas_keep_their_order_and_get_their_names() {
    let spec = good(
        r#"
upstreams.c.replicas = [{ command = "npx" }, { command = "x", count = 2 }, { command = "x" }]
upstreams.a.replicas = [{ command = "x", name = "n", count = 2 }, { command = "x", name = "m", count = 1 }, { command = "x" }]
upstreams."b.x".replicas = [{ url = "https://h/mcp" }]
"#,
    );
    let upstreams: Vec<_> =
        spec.gateway.upstreams.iter().map(|u| (u.name.as_str(), u.offer.prefix.as_str())).collect();
    assert_eq!(upstreams, [("c", "c"), ("a", "a"), ("b.x", "b_x")]);
    let names = |index: usize| -> Vec<String> {
        let replicas = &spec.gateway.upstreams[index].pool.replicas;
        replicas.iter().map(|replica| replica.name.to_string()).collect()
    };
    assert_eq!(names(0), ["0", "1", "2", "3"]);
    assert_eq!(names(1), ["n-0", "n-1", "m", "3"]);
    let starts: Vec<_> = children(&spec.gateway.upstreams[0])
        .iter()
        .map(|(_, launch)| launch.start_timeout.as_secs())
        .collect();
    assert_eq!(starts, [120, 30, 30, 30]);
}

#[test]
fn every_key_of_an_upstream_arrives() {
    let upstreams = full();
    let [a, b] = &upstreams[..] else { panic!("two upstreams") };
    assert!(a.required && a.off.is_none());
    assert_eq!(a.pool.balance, Balance::RoundRobin);
    assert_eq!((a.pool.timeout.as_secs(), a.pool.timeout_max.as_secs()), (20, 40));
    assert_eq!(
        (a.pool.limits.inflight, a.pool.limits.inflight_http, a.pool.limits.inflight_child),
        (50, 7, 7)
    );
    assert_eq!(
        (&*a.offer.prefix, &*a.offer.include, &*a.offer.exclude),
        ("p", &["a*".to_owned()][..], &["ab".to_owned()][..])
    );
    assert_eq!((&*a.offer.rename["a"], &*a.offer.describe["a"]), ("b", "words"));
    assert!(a.pool.replicas.iter().all(|replica| replica.era == EraPolicy::Legacy));
    assert_eq!((b.pool.timeout.as_secs(), b.pool.timeout_max.as_secs()), (5, 5));
}

#[test]
fn every_key_of_a_replica_arrives() {
    let upstreams = full();
    let [a, b] = &upstreams[..] else { panic!("two upstreams") };
    let launch = children(a)[0].1;
    assert_eq!(launch.program, Program::Named("run".to_owned()));
    let args: Vec<_> = launch.args.iter().map(Secret::expose).collect();
    assert_eq!((&args[..], launch.env["KEY"].expose()), (&["-x", "$1", "hunter2"][..], "ahunter2"));
    assert_eq!(launch.cwd.as_deref(), Some(Path::new("etc/sub")));
    let ReplicaKind::Http(http) = &a.pool.replicas[1].kind else { panic!("a server") };
    assert_eq!(http.url, "http://h:9000/mcp?k=hunter2");
    assert_eq!(
        (http.headers[0].0.as_str(), http.headers[0].1.as_bytes()),
        ("authorization", &b"Bearer hunter2"[..])
    );
    assert!(http.headers[0].1.is_sensitive());
    let cwds: Vec<_> = children(b).iter().map(|(_, launch)| launch.cwd.clone().unwrap()).collect();
    assert_eq!(cwds, [Path::new("/home/me/b"), Path::new("/abs")]);
    assert_eq!(children(b)[0].1.program, Program::Waypost);
}

#[test]
fn a_server_is_spoken_to_as_its_transport_says() {
    for (key, transport) in [
        ("", Transport::Auto),
        (", transport = \"http\"", Transport::Http),
        (", transport = \"sse\"", Transport::Sse),
    ] {
        let text = format!("upstreams.a.replicas = [{{ url = \"http://h/sse\"{key} }}]\n");
        let spec = good(&text);
        let ReplicaKind::Http(http) = &spec.gateway.upstreams[0].pool.replicas[0].kind else {
            panic!("a server")
        };
        assert_eq!(http.transport, transport, "{key}");
    }
}

/// Two upstreams with every key that has an effect.
fn full() -> Vec<UpstreamSpec> {
    let text = r#"
[defaults]
timeout = "10s"
limits.inflight = 100
limits.inflight_replica = 7
[upstreams.a]
prefix = "p"
required = true
era = "legacy"
balance = "round_robin"
timeout = "20s"
timeout_max = "40s"
tools.include = ["a*"]
tools.exclude = ["ab"]
tools.rename = { a = "b" }
tools.describe = { a = "words" }
limits.inflight = 50
[[upstreams.a.replicas]]
command = "${CMD}"
args = ["-x", "$$1", "${file:token}"]
env = { KEY = "a${KEY}" }
cwd = "sub"
[[upstreams.a.replicas]]
url = "http://h:9000/mcp?k=${KEY}"
headers = { Authorization = "Bearer ${KEY}" }
[upstreams.b]
timeout_max = "5s"
replicas = [{ command = "waypost", cwd = "~/b" }, { command = "waypost", cwd = "/abs" }]
"#;
    let environment =
        Environment::fixed([("CMD", "run"), ("KEY", "hunter2"), ("HOME", "/home/me")])
            .with_file("etc/gateway.toml", text)
            .with_file("etc/token", "hunter2\n");
    let (spec, warnings) =
        load(Some(Path::new("etc/gateway.toml")), &CliOverrides::default(), &environment).unwrap();
    assert_eq!(warnings, []);
    spec.gateway.upstreams
}

#[test]
fn the_geocoding_service_follows_a_stand_in_of_its_sister() {
    let urls = |keys: &str| {
        let weather = good(&format!("[tools.weather]\n{keys}")).gateway.builtins.weather;
        (weather.base_url, weather.geocoding_url)
    };
    let owned = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(urls(""), owned(WEATHER_URL, GEOCODING_URL));
    assert_eq!(urls(&format!("base_url = \"{WEATHER_URL}/\"")), owned(WEATHER_URL, GEOCODING_URL));
    assert_eq!(urls("base_url = \"http://h:1\""), owned("http://h:1", "http://h:1"));
    assert_eq!(
        urls("base_url = \"http://h:1\"\ngeocoding_url = \"http://g:2/\""),
        owned("http://h:1", "http://g:2")
    );
}

#[test]
fn every_policy_arrives_and_an_upstreams_own_key_goes_before_the_common_one() {
    let upstreams = good(POLICIES).gateway.upstreams;
    let [a, b] = &upstreams[..] else { panic!("two upstreams") };
    let seconds = Duration::from_secs;
    let retry = RetrySpec {
        max_attempts: 7,
        backoff_base: seconds(1),
        backoff_factor: 3.0,
        backoff_max: seconds(9),
        budget_ratio: 0.5,
        retry_after_max: seconds(11),
        on_server_error: true,
    };
    assert_eq!(b.pool.retry, retry);
    assert_eq!(a.pool.retry, RetrySpec { max_attempts: 1, ..retry });
    let breaker = BreakerSpec {
        consecutive: 2,
        window: seconds(60),
        success_rate: 0.9,
        min_requests: 3,
        eject_base: seconds(2),
        eject_max: seconds(20),
        eject_max_percent: 40,
        panic_percent: 10,
    };
    assert_eq!(b.pool.breaker, breaker);
    assert_eq!(a.pool.breaker, BreakerSpec { consecutive: 1, ..breaker });
    let health = HealthSpec {
        interval: seconds(20),
        fast_interval: seconds(2),
        down_interval: seconds(9),
        timeout: seconds(4),
        timeout_child: seconds(4),
        fall: 6,
        rise: 5,
        skip_if_traffic: false,
        tool: Some("whoami".to_owned()),
    };
    assert_eq!(b.pool.health, health);
    assert_eq!(a.pool.health, HealthSpec { tool: None, ..health });
    assert!(a.trust_annotations && !b.trust_annotations);
    let effects: Vec<_> = a.effects.values().copied().collect();
    assert_eq!(effects, [Effect::ReadOnly, Effect::Idempotent, Effect::Unsafe]);
    check_choice(a, b);
}

fn check_choice(a: &UpstreamSpec, b: &UpstreamSpec) {
    let Balance::Expression(expression) = &a.pool.balance else { panic!("an expression") };
    assert_eq!(expression.text(), "busy / weight");
    assert_eq!(b.pool.balance, Balance::ConsistentHash);
    assert_eq!(b.pool.hash_on, HashOn::Argument("key".to_owned()));
    let replica = &a.pool.replicas[0];
    assert_eq!((replica.weight, replica.tier, &*replica.labels["a"]), (0, 3, "b"));
}

/// Two upstreams under common policies.
const POLICIES: &str = r#"
[defaults.retry]
max_attempts = 7
backoff_base = "1s"
backoff_factor = 3.0
backoff_max = "9s"
budget_ratio = 0.5
retry_after_max = "11s"
on_server_error = true
[defaults.breaker]
consecutive = 2
window = "1m"
success_rate = 0.9
min_requests = 3
eject_base = "2s"
eject_max = "20s"
eject_max_percent = 40
panic_percent = 10
[defaults.health]
interval = "20s"
fast_interval = "2s"
down_interval = "9s"
timeout = "4s"
fall = 6
rise = 5
skip_if_traffic = false
tool = "whoami"
[upstreams.a]
trust_annotations = true
balance = "expression"
expression = "busy / weight"
tools.effect = { x = "read_only", y = "idempotent", z = "unsafe" }
retry.max_attempts = 1
breaker.consecutive = 1
health.tool = ""
[[upstreams.a.replicas]]
url = "http://h/"
weight = 0
tier = 3
labels = { a = "b" }
[upstreams.b]
balance = "consistent_hash"
hash_on = "arg:key"
replicas = [{ url = "http://h/" }]
"#;

#[test]
fn an_expression_is_read_at_once_and_its_mistakes_are_told() {
    let upstream =
        |keys: &str| format!("[upstreams.a]\n{keys}\nreplicas = [{{ url = \"http://h/\" }}]\n");
    assert_eq!(
        problems_with(&upstream("balance = \"expression\"\nexpression = \"busy *\""), &[]),
        ["3:14: upstreams.a.expression: a value is expected (at character 7)"]
    );
    assert_eq!(
        problems_with(&upstream("balance = \"expression\""), &[]),
        ["2:11: upstreams.a.balance: there is no expression"]
    );
    assert_eq!(
        warnings_with(&upstream("expression = \"busy\""), &[]),
        ["2:1: upstreams.a.expression: it is not used"]
    );
    assert_eq!(
        problems_with(&upstream("hash_on = \"colour\""), &[]),
        ["2:11: upstreams.a.hash_on: not something to hash"]
    );
}

#[test]
fn a_host_name_may_stand_for_as_many_replicas_as_it_has_addresses() {
    let text = r#"
[dns]
server = "127.0.0.1:5353"
addresses_max = 4

[[upstreams.a.replicas]]
url = "http://one.test/"
resolve = "0s"

[[upstreams.a.replicas]]
name = "docs"
url = "https://Docs.test:8443/mcp"
resolve = "30s"
weight = 3

[[upstreams.b.replicas]]
url = "http://docs.test/"
resolve = "1s"
"#;
    let spec = good(text).gateway;
    assert_eq!(spec.dns, DnsSpec { server: "127.0.0.1:5353".parse().ok(), addresses_max: 4 });
    let [a, b] = &spec.upstreams[..] else { panic!("{:?}", spec.upstreams) };
    assert_eq!((a.pool.replicas.len(), b.pool.replicas.len()), (1, 0));
    assert_eq!(a.pool.replicas[0].name.as_str(), "0");
    let [docs] = &a.names[..] else { panic!("{:?}", a.names) };
    assert_eq!(
        (docs.place, docs.every, docs.host()),
        (1, Duration::from_secs(30), "docs.test".into())
    );
    assert_eq!((docs.replica.name.as_str(), docs.replica.weight), ("docs", 3));
    assert_eq!((b.names[0].every, b.names[0].replica.name.as_str()), (Duration::from_secs(1), "0"));
    for (server, expected) in [
        ("10.0.0.2", "10.0.0.2:53"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[::1]:54", "[::1]:54"),
    ] {
        let spec = good(&format!("[dns]\nserver = {server:?}"));
        assert_eq!(spec.gateway.dns.server, expected.parse().ok(), "{server}");
    }
}
