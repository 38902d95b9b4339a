//! `[upstreams.NAME.fallback.TOOL]` and `[fallback]` that can be used.

use std::time::Duration;

use super::*;
use crate::gateway::spec::{FallbackSpec, KeepSpec};

#[test]
fn every_step_arrives() {
    let spec = good(
        r#"
[fallback]
cache_entries = 5
cache_entry_bytes = 1024
cache_bytes = 4096
[upstreams.a]
trust_annotations = true
tools.rename = { x = "find" }
replicas = [{ command = "x" }]
[upstreams.a.fallback.x]
tool = "b__search"
arguments = { query = "q", old = "" }
constants = { lang = "en", n = 5, half = 0.5, on = true }
cached = "10m"
text = "It is down."
[upstreams.a.fallback."odd name"]
text = "Down."
[upstreams.b]
replicas = [{ command = "x" }]
"#,
    );
    assert_eq!(spec.gateway.keep, KeepSpec { entries: 5, entry_bytes: 1024, bytes: 4096 });
    let [a, b] = &spec.gateway.upstreams[..] else { panic!("two upstreams") };
    assert!(b.fallbacks.is_empty());
    let full = &a.fallbacks["x"];
    assert_eq!((&*full.exposed, full.cached), ("a__find", Some(Duration::from_mins(10))));
    assert_eq!(full.text.as_deref(), Some("It is down."));
    let stand_in = full.stand_in.as_ref().unwrap();
    assert_eq!(stand_in.tool, "b__search");
    let arguments = stand_in.mapping.apply(br#"{"query":1,"old":2,"x":3}"#).unwrap();
    let arguments: Value = serde_json::from_slice(&arguments).unwrap();
    assert_eq!(arguments, json!({ "half": 0.5, "lang": "en", "n": 5, "on": true, "q": 1, "x": 3 }));
    let text = FallbackSpec {
        exposed: "a__odd_name".to_owned(),
        text: Some("Down.".to_owned()),
        ..FallbackSpec::default()
    };
    assert_eq!(a.fallbacks["odd name"], text);
}

#[test]
fn what_will_not_help_is_told() {
    let upstream =
        |keys: &str| format!("[upstreams.a]\n{keys}\nreplicas = [{{ command = \"x\" }}]\n");
    let unknown = "2:12: upstreams.a.fallback.x.cached: nothing is kept: it is not known that the tool only reads";
    assert_eq!(warnings_with(&upstream("fallback.x.cached = \"1m\""), &[]), [unknown]);
    assert_eq!(
        warnings_with(&upstream("fallback.x.tool = \"a__y\""), &[]),
        [
            "2:19: upstreams.a.fallback.x.tool: a tool of the same upstream will most often be away too"
        ]
    );
    assert_eq!(
        warnings_with(&upstream("fallback.x.tool = \"b__y\""), &[]),
        ["2:19: upstreams.a.fallback.x.tool: no upstream has tools of such names"]
    );
    for fine in [
        "fallback.x.tool = \"echo\"",
        "fallback.x.cached = \"1m\"\ntrust_annotations = true",
        "fallback.x.cached = \"1m\"\ntools.effect = { x = \"read_only\" }",
        "prefix = \"\"\nfallback.x.tool = \"b__y\"",
    ] {
        let about = |line: &String| line.contains("fallback");
        assert!(!warnings_with(&upstream(fine), &[]).iter().any(about), "{fine}");
    }
}
