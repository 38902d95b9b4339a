//! What goes before what: arguments, variables, file, defaults.

use std::time::Duration;

use super::*;
use crate::builtin::spec::CONTEXT7_URL;
use crate::telemetry::spec::Level;

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a CliOverrides, &'a str, u16);
    let file = "[server]\nhost = \"127.0.0.2\"\nport = 2\n";
    let variables = [("MCP_SERVER_HOST", "127.0.0.3"), ("MCP_SERVER_PORT", "3")];
    let flags =
        CliOverrides { host: Some("127.0.0.4".to_owned()), port: Some(4), insecure_public: false };
    let table: [Row<'_>; 6] = [
        ("", &[], &CliOverrides::default(), "127.0.0.1", 8000),
        (file, &[], &CliOverrides::default(), "127.0.0.2", 2),
        ("", &variables, &CliOverrides::default(), "127.0.0.3", 3),
        (file, &variables, &CliOverrides::default(), "127.0.0.3", 3),
        (file, &variables, &flags, "127.0.0.4", 4),
        (
            "",
            &[("MCP_SERVER_HOST", ""), ("MCP_SERVER_PORT", "0")],
            &CliOverrides::default(),
            "127.0.0.1",
            0,
        ),
    ];
    for (text, variables, cli, host, port) in table {
        let (spec, _) = load(None, cli, &fixed(text, variables)).unwrap();
        assert_eq!((&*spec.listen.host, spec.listen.port), (host, port), "{text} {variables:?}");
    }
}

#[test]
fn a_public_host_needs_the_flag_wherever_it_comes_from() {
    let problem = |cli: &CliOverrides, variables: &[(&str, &str)]| -> Vec<String> {
        load(None, cli, &fixed("", variables)).map_or_else(|bad| lines(&bad.problems), |_| vec![])
    };
    let public = CliOverrides { host: Some("0.0.0.0".to_owned()), ..CliOverrides::default() };
    let what = "other machines could reach the gateway, and nothing asks who they are";
    assert_eq!(problem(&public, &[]), [format!("command line: --host: {what}")]);
    let variables = [("MCP_SERVER_HOST", "::")];
    assert_eq!(
        problem(&CliOverrides::default(), &variables),
        [format!("environment: MCP_SERVER_HOST: {what}")]
    );
    let accepted = CliOverrides { insecure_public: true, ..public };
    let (spec, _) = load(None, &accepted, &fixed("", &variables)).unwrap();
    assert!(spec.listen.host == "0.0.0.0" && spec.listen.insecure_public);
    let error = load_with("[server]\nhost = \"0.0.0.0\"", &[]).unwrap_err();
    let hint = error.problems[0].hint.as_ref().unwrap();
    assert!(hint.contains("--insecure-public") && hint.contains("[auth] keys"));
}

#[test]
fn loopback_hosts_lose_their_brackets() {
    assert_eq!(good("[server]\nhost = \"[::1]\"").listen.host, "::1");
    assert_eq!(good("[server]\nhost = \"localhost\"").listen.host, "localhost");
}

#[test]
fn mcp_timeout_is_read_in_each_form() {
    let table = [
        ("30", Some((30_000, false))),
        ("30s", Some((30_000, false))),
        ("30000ms", Some((30_000, false))),
        ("999", Some((999_000, false))),
        ("1000", Some((1_000, true))),
        ("30000", Some((30_000, true))),
        (" 5m ", Some((300_000, false))),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("30 s", None),
        ("soon", None),
        ("99999999999999999999", None),
    ];
    for (value, expected) in table {
        let text = format!("[defaults]\ntimeout = \"7s\"\n{REPLICA}");
        let got = load_with(&text, &[("MCP_TIMEOUT", value)]).map(|(spec, warnings)| {
            let pool = &spec.gateway.upstreams[0].pool;
            assert_eq!(pool.timeout, spec.gateway.builtins.echo.tool.timeout, "{value}");
            (pool.timeout.as_millis(), !warnings.is_empty())
        });
        assert_eq!(got.ok(), expected, "{value}");
    }
}

#[test]
fn the_nearest_timeout_wins() {
    let table: [(&str, &str, u64, u64); 5] = [
        ("", "", 60, 30),
        ("", "9", 9, 9),
        ("[defaults]\ntimeout = \"7s\"\n", "", 7, 7),
        ("[defaults]\ntimeout = \"7s\"\n", "9", 9, 9),
        (
            "[defaults]\ntimeout = \"7s\"\n[tools.echo]\ntimeout = \"5s\"\n[upstreams.a]\ntimeout = \"6s\"\n",
            "9",
            6,
            5,
        ),
    ];
    for (text, variable, upstream, tool) in table {
        let text = format!("{text}{REPLICA}");
        let (spec, _) = load_with(&text, &[("MCP_TIMEOUT", variable)]).unwrap();
        assert_eq!(spec.gateway.upstreams[0].pool.timeout, Duration::from_secs(upstream), "{text}");
        assert_eq!(spec.gateway.builtins.echo.tool.timeout, Duration::from_secs(tool), "{text}");
    }
    // A long silence makes the whole call longer, unless the file bounds it.
    let (spec, _) = load_with(REPLICA, &[("MCP_TIMEOUT", "1h")]).unwrap();
    assert_eq!(spec.gateway.upstreams[0].pool.timeout_max, Duration::from_hours(1));
}

#[test]
fn max_retries_is_one_less_than_the_attempts_and_an_upstreams_own_number_goes_first() {
    let attempts = |text: &str, variable: &str| {
        let (spec, _) = load_with(&format!("{text}{REPLICA}"), &[("MCP_MAX_RETRIES", variable)])
            .unwrap_or_else(|bad| panic!("{bad}"));
        spec.gateway.upstreams[0].pool.retry.max_attempts
    };
    assert_eq!(attempts("", "0"), 1);
    assert_eq!(attempts("[defaults.retry]\nmax_attempts = 9\n", "4"), 5);
    assert_eq!(attempts("[upstreams.a.retry]\nmax_attempts = 9\n", "4"), 9);
    for bad in ["-1", "20", "x", "1.5"] {
        assert_eq!(
            problems_with("", &[("MCP_MAX_RETRIES", bad)]),
            ["environment: MCP_MAX_RETRIES: not a number of retries"]
        );
    }
}

#[test]
fn log_levels_have_pythons_names_and_ours() {
    let table = [
        ("DEBUG", Level::Debug),
        ("info", Level::Info),
        ("Warning", Level::Warn),
        ("warn", Level::Warn),
        ("ERROR", Level::Error),
        ("critical", Level::Error),
        ("trace", Level::Trace),
        ("", Level::Info),
    ];
    for (name, level) in table {
        let (spec, _) = load_with("", &[("MCP_LOG_LEVEL", name)]).unwrap();
        assert_eq!((spec.log.level, spec.log.directives), (level, None), "{name}");
    }
    assert_eq!(
        problems_with("", &[("MCP_LOG_LEVEL", "loud")]),
        ["environment: MCP_LOG_LEVEL: not a log level"]
    );
    let variables = [("MCP_LOG_LEVEL", "ERROR"), ("RUST_LOG", "waypost=debug,warn")];
    let (spec, _) = load_with("", &variables).unwrap();
    assert_eq!(spec.log.directives.as_deref(), Some("waypost=debug,warn"));
    assert_eq!(
        warnings_with("", &[("RUST_LOG", "a=b=c")]),
        ["environment: RUST_LOG: not a log filter; it is ignored"]
    );
}

#[test]
fn context7_variables_go_before_the_file() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>, &'a str);
    let file = "[tools.context7]\napi_key = \"of-file\"\nbase_url = \"http://file/\"\n";
    let variables = [("CONTEXT7_API_KEY", "of-env"), ("CONTEXT7_API_URL", "http://env/api")];
    let table: [Row<'_>; 4] = [
        ("", &[], None, CONTEXT7_URL),
        (file, &[], Some("of-file"), "http://file"),
        (file, &variables, Some("of-env"), "http://env/api"),
        ("", &variables, Some("of-env"), "http://env/api"),
    ];
    for (text, variables, key, url) in table {
        let context7 = load_with(text, variables).unwrap().0.gateway.builtins.context7;
        let got = context7.api_key.as_ref().map(Secret::expose);
        assert_eq!((got, &*context7.base_url), (key, url), "{text} {variables:?}");
    }
    assert_eq!(
        problems_with("", &[("CONTEXT7_API_URL", "context7.com")]),
        ["environment: CONTEXT7_API_URL: the URL does not begin with http:// or https://"]
    );
    assert_eq!(
        warnings_with("[tools.context7]\napi_key_required = true\n", &[]),
        ["2:1: tools.context7.api_key_required: there is no key, so the service is never called"]
    );
}
