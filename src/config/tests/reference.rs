//! Whether the reference file, the schema and the types agree.

use std::collections::BTreeSet;

use super::*;
use crate::fleet::spec::PoolSpec;

/// The reference with its switched-off lines switched on.
fn reference_with_everything() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with([' ', ':']) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    BUILT_IN.lines().map(on).collect()
}

/// What is left of the reference without its examples.
fn without_examples(mut spec: Spec) -> Spec {
    spec.gateway.upstreams.clear();
    spec.listen.auth.keys.clear();
    // Not set it is the limit of the control group.
    spec.listen.limits.memory_bytes_max = None;
    spec
}

#[test]
fn the_reference_is_every_default_and_three_demo_servers() {
    assert!(BUILT_IN.starts_with("#:schema ./gateway.schema.json\n"));
    let spec = good(BUILT_IN);
    let [demo] = &spec.gateway.upstreams[..] else { panic!("one upstream") };
    let launches = children(demo);
    assert_eq!(launches.len(), 3);
    for ((name, launch), expected) in launches.iter().zip(["a", "b", "c"]) {
        let args: Vec<_> = launch.args.iter().map(Secret::expose).collect();
        assert_eq!((*name, &launch.program), (expected, &Program::Waypost));
        assert_eq!(args, ["demo-server", "--stdio", "--name", expected]);
    }
    let bare = good("upstreams.demo.replicas = [{ command = \"x\" }]");
    let bare = UpstreamSpec {
        trust_annotations: true,
        pool: PoolSpec {
            replicas: demo.pool.replicas.clone(),
            ..bare.gateway.upstreams[0].pool.clone()
        },
        ..bare.gateway.upstreams[0].clone()
    };
    assert_eq!(*demo, bare, "each value of the demo upstream is its default");
    assert_eq!(without_examples(spec), Spec::default());
}

#[test]
fn every_line_of_the_reference_can_be_switched_on() {
    let text = reference_with_everything();
    let (spec, warnings) =
        load_with(&text, &[("SEARCH_TOKEN", "x"), ("ALICE_KEY", "0123456789abcdef")])
            .unwrap_or_else(|bad| panic!("{text}\n{bad}"));
    assert_eq!(warnings, []);
    let names: Vec<_> =
        spec.gateway.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    assert_eq!(names, ["demo", "files", "search", "fleet"]);
    assert_eq!(spec.listen.auth.keys.len(), 1);
    assert_eq!(without_examples(spec), Spec::default(), "each value is the default");
}

/// Every key of a schema, as a path with `*` for free keys and items.
fn keys_of_schema(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let at = |key: &str| {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    };
    if let Some(properties) = schema["properties"].as_object() {
        for (key, schema) in properties {
            keys.insert(at(key));
            keys_of_schema(schema, &at(key), keys);
        }
    }
    for free in [&schema["additionalProperties"], &schema["items"]] {
        if free["type"] == "object" {
            keys_of_schema(free, &at("*"), keys);
        }
    }
}

/// Every key of a file that stands in the schema, as the same paths.
fn keys_of_file(value: &toml::Value, schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let at = |key: &str| {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    };
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let named = &schema["properties"][key];
                if named.is_object() {
                    keys.insert(at(key));
                    keys_of_file(value, named, &at(key), keys);
                } else {
                    keys_of_file(value, &schema["additionalProperties"], &at("*"), keys);
                }
            }
        }
        toml::Value::Array(items) => {
            for value in items {
                keys_of_file(value, &schema["items"], &at("*"), keys);
            }
        }
        _ => {}
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let mut known = BTreeSet::new();
    keys_of_schema(&schema::SCHEMA, "", &mut known);
    let mut there = BTreeSet::new();
    let file: toml::Value = toml::from_str(&reference_with_everything()).unwrap();
    keys_of_file(&file, &schema::SCHEMA, "", &mut there);
    assert!(there.is_subset(&known));
    let missing: Vec<_> = known.difference(&there).collect();
    assert_eq!(missing, [""; 0], "keys that the reference lacks");
}

#[test]
fn the_reference_names_every_variable() {
    for name in [
        "MCP_SERVER_HOST",
        "MCP_SERVER_PORT",
        "MCP_LOG_LEVEL",
        "MCP_TIMEOUT",
        "MCP_MAX_RETRIES",
        "CONTEXT7_API_KEY",
        "CONTEXT7_API_URL",
        "RUST_LOG",
    ] {
        assert!(BUILT_IN.contains(name), "{name}");
    }
}

#[test]
fn the_schema_file_is_up_to_date() {
    let file = include_str!("../../../gateway.schema.json");
    assert!(file == schema_json() + "\n", "run `waypost schema > gateway.schema.json`");
}

/// A file with one value at a path of [`keys_of_schema`].
fn file_with(path: &str, value: &str, schema: &Value) -> String {
    match path.split_once('.') {
        None => format!("{path} = {value}"),
        Some((key, rest)) => {
            let inner = inline_with(rest, value, &schema["properties"][key]);
            format!("{key} = {inner}")
        }
    }
}

fn inline_with(path: &str, value: &str, schema: &Value) -> String {
    let Some((step, rest)) = path.split_once('.') else {
        return format!("{{ {path} = {value} }}");
    };
    match step {
        "*" if schema["type"] == "array" => {
            format!("[{}]", inline_with(rest, value, &schema["items"]))
        }
        "*" => {
            let inner = inline_with(rest, value, &schema["additionalProperties"]);
            format!("{{ x = {inner} }}")
        }
        key => {
            let inner = inline_with(rest, value, &schema["properties"][key]);
            format!("{{ {key} = {inner} }}")
        }
    }
}

#[test]
fn whatever_passes_the_schema_fits_the_types() {
    let values = [
        "\"\"",
        "\"x\"",
        "\"5s\"",
        "\"auto\"",
        "0",
        "1",
        "-1",
        "0xffff_ffff_ffff",
        "99999999999999999999",
        "1.5",
        "inf",
        "nan",
        "true",
        "1979-05-27",
        "07:32:00",
        "[]",
        "[1]",
        "[\"a\"]",
        "[{}]",
        "{}",
        "{ a = 1 }",
        "{ a = \"b\" }",
        "{ a = {} }",
    ];
    let mut keys = BTreeSet::new();
    keys_of_schema(&schema::SCHEMA, "", &mut keys);
    assert!(keys.len() > 100, "{}", keys.len());
    for key in &keys {
        for value in values {
            let text = file_with(key, value, &schema::SCHEMA);
            let problems = problems_with(&text, &[]);
            let strange = |line: &&String| line.contains(read::UNCHECKED) || line.contains("TOML");
            assert_eq!(problems.iter().find(strange), None, "{text}");
        }
    }
}

/// A table with the defaults that the schema names for its keys.
fn defaults_of(header: &str, pointer: &str) -> String {
    let schema = schema::SCHEMA.pointer(pointer).unwrap();
    let mut text = format!("{header}\n");
    for (key, schema) in schema["properties"].as_object().unwrap() {
        if let Some(default) = schema.get("default") {
            writeln!(text, "{key} = {default}").unwrap();
        }
    }
    text
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    const UPSTREAM: &str = "/properties/upstreams/additionalProperties";
    let tables = [
        ("[server]", "/properties/server"),
        ("[auth]", "/properties/auth"),
        ("[fallback]", "/properties/fallback"),
        ("[catalog]", "/properties/catalog"),
        ("[dns]", "/properties/dns"),
        ("[defaults.retry]", "/properties/defaults/properties/retry"),
        ("[defaults.breaker]", "/properties/defaults/properties/breaker"),
        ("[defaults.health]", "/properties/defaults/properties/health"),
        ("[defaults.hedge]", "/properties/defaults/properties/hedge"),
        ("[defaults.limits]", "/properties/defaults/properties/limits"),
        ("[tools.echo]", "/properties/tools/properties/echo"),
        ("[tools.weather]", "/properties/tools/properties/weather"),
        ("[tools.context7]", "/properties/tools/properties/context7"),
        ("[upstreams.a]", UPSTREAM),
        ("[upstreams.a.tools]", &format!("{UPSTREAM}/properties/tools")),
        ("[upstreams.a.retry]", &format!("{UPSTREAM}/properties/retry")),
        ("[upstreams.a.breaker]", &format!("{UPSTREAM}/properties/breaker")),
        ("[upstreams.a.health]", &format!("{UPSTREAM}/properties/health")),
        ("[upstreams.a.hedge]", &format!("{UPSTREAM}/properties/hedge")),
        ("[upstreams.a.limits]", &format!("{UPSTREAM}/properties/limits")),
        (
            "[[upstreams.a.replicas]]\ncommand = \"x\"",
            &format!("{UPSTREAM}/properties/replicas/items"),
        ),
    ];
    let text: Vec<String> = tables.map(|(header, pointer)| defaults_of(header, pointer)).into();
    // Some of these keys do nothing yet and warn of it.
    let (all, _) = load_with(&text.concat(), &[]).unwrap();
    assert_eq!(all, good(REPLICA));
}
