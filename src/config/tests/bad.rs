//! What is said about configurations that cannot be used.

use super::*;

#[test]
fn each_bad_configuration_is_told_exactly() {
    let cases = include_str!("bad.txt").split("\n\n").filter(|case| !case.trim().is_empty());
    for case in cases {
        let lines = || case.lines().filter(|line| !line.starts_with("# "));
        let text: Vec<&str> = lines().filter(|line| !line.starts_with("=> ")).collect();
        let text = text.join("\n");
        let expected: Vec<&str> = lines().filter_map(|line| line.strip_prefix("=> ")).collect();
        assert_eq!(problems_with(&text, &[]), expected, "{case}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = r#"
[server]
port = 70000
grace = 30

[catalog]
separator = "::"

[tools.wether]

[upstreams.search]
balanse = "auto"
timeout = "1 minute"

[[upstreams.search.replicas]]
url = "ftp://example.com"

[[upstreams.search.replicas]]
name = "b"
command = "x"
url = "http://example.com"

[upstreams.search.retry]
max_attempts = 0
"#;
    assert_eq!(
        problems_with(text, &[("MCP_SERVER_HOST", "a b"), ("MCP_TIMEOUT", "soon")]),
        [
            "3:8: server.port: 70000 is out of range",
            "4:9: server.grace: expected a duration as text, found a whole number",
            "7:13: catalog.separator: ':' is not allowed in names of tools",
            "9:8: tools.wether: unknown key; did you mean \"weather\"?",
            "12:1: upstreams.search.balanse: unknown key; did you mean \"balance\"?",
            "13:11: upstreams.search.timeout: \"1 minute\": not a duration",
            "16:7: upstreams.search.replicas[0].url: the URL does not begin with http:// or https://",
            "18:1: upstreams.search.replicas[1]: command and url: a replica is a child process or a server, not both",
            "24:16: upstreams.search.retry.max_attempts: 0 is out of range",
            "environment: MCP_SERVER_HOST: not a host",
            "environment: MCP_TIMEOUT: not a duration",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_a_problem_only_if_it_was_named() {
    let empty = Environment::fixed([]);
    let cli = CliOverrides::default();
    let named = load(Some(Path::new("etc/x.toml")), &cli, &empty).unwrap_err();
    assert_eq!(named.to_string(), "etc/x.toml: cannot be read: entity not found");
    let (spec, warnings) = load(None, &cli, &empty).unwrap();
    assert_eq!((spec, warnings), (good(BUILT_IN), Vec::new()));
}

#[test]
fn a_report_is_text_and_json() {
    let cli = CliOverrides::default();
    let environment =
        fixed("[server]\nport = 70000\n[tools.context7]\napi_key_required = true\n", &[]);
    let report = check(None, &cli, &environment);
    assert!(!report.is_good());
    assert_eq!(
        report.to_text(),
        "gateway.toml:2:8: server.port: 70000 is out of range\n  hint: from 0 to 65535\n\
         gateway.toml:4:1: warning: tools.context7.api_key_required: there is no key, so the service is never called\n  \
         hint: set CONTEXT7_API_KEY or tools.context7.api_key\n\
         gateway.toml: 1 problem, 1 warning\n"
    );
    assert_eq!(
        report.to_json(),
        json!({
            "ok": false,
            "file": "gateway.toml",
            "problems": [{
                "origin": "file", "file": "gateway.toml", "line": 2, "column": 8,
                "key": "server.port", "message": "70000 is out of range", "hint": "from 0 to 65535",
            }],
            "warnings": [{
                "origin": "file", "file": "gateway.toml", "line": 4, "column": 1,
                "key": "tools.context7.api_key_required",
                "message": "there is no key, so the service is never called",
                "hint": "set CONTEXT7_API_KEY or tools.context7.api_key",
            }],
        })
    );
    let report = check(None, &cli, &Environment::fixed([]));
    assert!(report.is_good());
    assert_eq!(
        report.to_text(),
        "built-in gateway.toml: good (1 upstream, 3 replicas, 0 warnings)\n"
    );
    let report = check(Some(Path::new("no.toml")), &cli, &Environment::fixed([]));
    assert_eq!(
        report.to_text(),
        "no.toml: cannot be read: entity not found\nno.toml: 1 problem, 0 warnings\n"
    );
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        problems_with("server = { host = \"ä${A:-ü}\", port = 70000 }", &[]),
        ["1:19: server.host: not a host", "1:38: server.port: 70000 is out of range"]
    );
}
