//! Keys that do nothing yet, and say so.

use super::*;

#[test]
fn each_key_without_effect_is_told() {
    let text = r#"
[defaults]
retry.max_attempts = 3
breaker.consecutive = 5
health.interval = "10s"
hedge.enabled = "auto"
limits = { queue = 5, sessions_replica = 5, inflight = 9 }
[upstreams.a]
isolation = "session"
trust_annotations = true
balance = "weighted"
hash_on = "client"
expression = "busy"
tools.effect = { x = "read_only" }
retry = {}
breaker = {}
health = {}
hedge = {}
limits = { queue = 5, sessions_replica = 5 }
[[upstreams.a.replicas]]
url = "http://h/"
transport = "sse"
weight = 1
tier = 1
labels = { a = "b" }
"#;
    let what = "has no effect yet in this version";
    let expected = [
        "3:1: defaults.retry",
        "4:1: defaults.breaker",
        "5:1: defaults.health",
        "6:1: defaults.hedge",
        "7:12: defaults.limits.queue",
        "7:23: defaults.limits.sessions_replica",
        "9:1: upstreams.a.isolation",
        "10:1: upstreams.a.trust_annotations",
        "11:1: upstreams.a.balance",
        "12:1: upstreams.a.hash_on",
        "13:1: upstreams.a.expression",
        "14:7: upstreams.a.tools.effect",
        "15:1: upstreams.a.retry",
        "16:1: upstreams.a.breaker",
        "17:1: upstreams.a.health",
        "18:1: upstreams.a.hedge",
        "19:12: upstreams.a.limits.queue",
        "19:23: upstreams.a.limits.sessions_replica",
        "22:1: upstreams.a.replicas[0].transport",
        "23:1: upstreams.a.replicas[0].weight",
        "24:1: upstreams.a.replicas[0].tier",
        "25:1: upstreams.a.replicas[0].labels",
    ];
    assert_eq!(warnings_with(text, &[]), expected.map(|line| format!("{line}: {what}")));
    assert_eq!(expected.len(), crate::config::no_effect::NO_EFFECT.len(), "the list is all here");
}

#[test]
fn values_that_hold_already_are_no_warning() {
    good(
        "[catalog]\ncache = false\n[upstreams.a]\nisolation = \"shared\"\ntrust_annotations = false\n\
         balance = \"round_robin\"\nreplicas = [{ url = \"http://h/\", transport = \"http\" }]\n",
    );
}
