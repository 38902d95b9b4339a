//! Variables in values: missing ones, and secret ones.

use super::*;

#[test]
fn a_missing_variable_switches_its_owner_off_and_nothing_else() {
    let text = r#"
[tools.context7]
api_key = "${KEY}"
[upstreams.a]
required = true
replicas = [{ command = "x", env = { A = "${ONE}", B = "${TWO}${ONE}" } }, { command = "y" }]
[upstreams."b.c"]
replicas = [{ url = "${URL}" }]
[upstreams.d]
replicas = [{ url = "${URL:-http://h/}" }]
"#;
    let (spec, warnings) = load_with(text, &[]).unwrap();
    assert_eq!(
        lines(&warnings),
        [
            "gateway.toml:3:11: tools.context7.api_key: the variable KEY is not set; the tool is switched off",
            "gateway.toml:6:42: upstreams.a.replicas[0].env.A: the variable ONE is not set; the upstream is switched off",
            "gateway.toml:6:56: upstreams.a.replicas[0].env.B: the variable ONE is not set; the upstream is switched off",
            "gateway.toml:6:56: upstreams.a.replicas[0].env.B: the variable TWO is not set; the upstream is switched off",
            "gateway.toml:8:21: upstreams.\"b.c\".replicas[0].url: the variable URL is not set; the upstream is switched off",
        ]
    );
    let off: Vec<_> =
        spec.gateway.upstreams.iter().map(|upstream| upstream.off.as_deref()).collect();
    assert_eq!(
        off,
        [
            Some("the variable ONE is not set; the variable TWO is not set"),
            Some("the variable URL is not set"),
            None
        ]
    );
    let builtins = &spec.gateway.builtins;
    assert_eq!(builtins.context7.tool.off.as_deref(), Some("the variable KEY is not set"));
    assert!(builtins.context7.tool.enabled && builtins.echo.tool.off.is_none());
    // A variable that goes before the file makes the missing one harmless.
    let (spec, _) = load_with(text, &[("CONTEXT7_API_KEY", "of-env")]).unwrap();
    assert_eq!(spec.gateway.builtins.context7.tool.off, None);
    assert_eq!(problems_with("[server]\nhost = \"${H}\"", &[("MCP_SERVER_HOST", "::1")]), [""; 0]);
}

#[test]
fn secrets_are_neither_in_debug_nor_in_findings() {
    let variables = [("KEY", "hunter2"), ("CONTEXT7_API_KEY", "hunter2")];
    let good = r#"
[tools.weather]
api_key = "hunter2"
[upstreams.a]
replicas = [
  { command = "x", args = ["--key=${KEY}"], env = { KEY = "${KEY}" } },
  { url = "https://h/${KEY}?k=${KEY}", headers = { Authorization = "Bearer ${KEY}" } },
]
"#;
    let (spec, warnings) = load_with(good, &variables).unwrap();
    assert!(!format!("{spec:?} {warnings:?}").contains("hunter2"));
    let bad = r#"
[server]
host = "${KEY} x"
allowed_hosts = ["${KEY} x"]
grace = "${KEY}"
[tools.weather]
default_units = "${KEY}"
api_key = "hunter2 x"
[catalog]
separator = "${KEY}:"
[upstreams.a]
prefix = "${KEY}"
balance = "${KEY}"
timeout = "${KEY}"
hash_on = "${KEY}"
replicas = [
  { name = "${KEY}", command = "x", args = ["${KEY}\u0000"], env = { KEY = "${KEY}\u0000" } },
  { name = "${KEY}", url = "https://u:${KEY}@h/", headers = { Authorization = "${KEY}\n" } },
  { url = "hunter2://h" },
]
[upstreams.b]
prefix = "${KEY}"
replicas = [{ command = "x" }]
"#;
    let problems = load_with(bad, &variables).unwrap_err();
    assert!(problems.problems.len() >= 16, "{problems}");
    assert!(!format!("{problems} {problems:?}").contains("hunter2"), "{problems}");
}
