//! `[auth]`: keys come by reference, and are told apart without being told.

use super::*;
use crate::front::spec::ShareSpec;

const ALICE: &str = "alices-key-0123456789";
const BOB: &str = "bobs-key-0123456789";

fn environment(text: &str, variables: &[(&str, &str)]) -> Environment {
    fixed(text, variables).with_file("/run/secrets/bob", &format!("{BOB}\n"))
}

fn load_keys(text: &str) -> Result<(Spec, Vec<Warning>), Problems> {
    let variables = [
        ("ALICE", ALICE),
        ("BOB", BOB),
        ("SHORT", "0123456789abcde"),
        ("SPACE", "a key with spaces in it"),
    ];
    load(None, &CliOverrides::default(), &environment(text, &variables))
}

/// The problems of one list of keys, each without its place.
fn problems(keys: &str) -> Vec<String> {
    let bad = load_keys(&format!("[auth]\nkeys = {keys}\n")).unwrap_err();
    let shown = format!("{bad} {bad:?}");
    for secret in [ALICE, BOB, "literal-0123456789", "0123456789abcde", "spaces in it"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let what = |line: &String| line.split_once(": ").unwrap().1.to_owned();
    lines(&bad.problems).iter().map(what).collect()
}

#[test]
fn keys_come_from_variables_and_files() {
    let text = r#"
[auth]
keys = [{ name = "alice", key = "${ALICE}" }, { name = "ci-1.x_y", key = "${file:/run/secrets/bob}" }]
inflight = 1
rate = 2
burst = 3
sessions = 4
streams = 5
"#;
    let (spec, warnings) = load_keys(text).unwrap();
    assert_eq!(warnings, []);
    let auth = &spec.listen.auth;
    let keys: Vec<_> = auth.keys.iter().map(|key| (key.name.as_str(), key.key.expose())).collect();
    assert_eq!(keys, [("alice", ALICE), ("ci-1.x_y", BOB)]);
    let share = ShareSpec { inflight_max: 1, rate: 2, burst: 3, sessions_max: 4, streams_max: 5 };
    assert_eq!(auth.share, share);
    assert!(!format!("{spec:?}").contains("0123456789"), "{spec:?}");
    let defaults = good("[auth]\nkeys = []").listen.auth;
    assert_eq!((defaults.keys.len(), defaults.share), (0, ShareSpec::default()));
}

#[test]
fn a_key_that_stands_in_the_file_is_refused() {
    let stands = "auth.keys[0].key: a key must not stand in the file";
    for key in [
        "literal-0123456789",
        "${NONE:-literal-0123456789}",
        "literal-${ALICE}",
        "${ALICE}${BOB}",
        "$$literal-0123456789",
    ] {
        assert_eq!(problems(&format!("[{{ name = \"a\", key = \"{key}\" }}]")), [stands], "{key}");
    }
}

#[test]
fn every_problem_with_keys_is_told() {
    let list = r#"[
{ name = "short", key = "${SHORT}" },
{ name = "space", key = "${SPACE}" },
{ name = "a b", key = "${ALICE}" },
{ name = "alice", key = "${ALICE}" },
{ name = "alice", key = "${BOB}" },
{ name = "bob", key = "${BOB}" },
{ key = "${ALICE}" },
{ name = "nobody" },
{},
{ name = "${SHORT} x", key = "${ALICE}" },
{ name = "", key = "${ALICE}" },
]"#;
    assert_eq!(
        problems(list),
        [
            "auth.keys[0].key: the key is short enough to be guessed",
            "auth.keys[1].key: the key holds a character that keys cannot have",
            "auth.keys[2].name: ` ` is not allowed in a name: use letters, digits, `-`, `_` and `.`",
            "auth.keys[4].name: another key has the same name",
            "auth.keys[5].key: another name has the same key",
            "auth.keys[6]: name is missing",
            "auth.keys[6].key: another name has the same key",
            "auth.keys[7]: key is missing",
            "auth.keys[8]: key is missing",
            "auth.keys[8]: name is missing",
            "auth.keys[9].name: not a name",
            "auth.keys[9].key: another name has the same key",
            "auth.keys[10].name: the name is empty",
            "auth.keys[10].key: another name has the same key",
        ]
    );
    let many: Vec<String> =
        (0..257).map(|n| format!("{{ name = \"n{n}\", key = \"${{K{n}:-}}\" }}")).collect();
    assert_eq!(
        problems(&format!("[{}]", many.join(", "))).first().unwrap(),
        "auth.keys: 257 keys are too many"
    );
}

#[test]
fn a_variable_that_is_missing_is_an_error_and_not_an_open_door() {
    assert_eq!(
        problems(
            r#"[{ name = "alice", key = "${ALICE}" }, { name = "b", key = "${NONE}" }, { name = "c", key = "${file:/none}" }]"#
        ),
        [
            "auth.keys[1].key: the variable NONE is not set",
            "auth.keys[2].key: the file /none cannot be read (entity not found)",
        ]
    );
}

#[test]
fn nobody_is_told_to_write_a_key_into_the_file() {
    let text =
        "[auth]\nkeys = [{ name = \"alice\", key = \"${NONE}\" }]\n[server]\nhost = \"${NONE}\"";
    let bad = load_keys(text).unwrap_err();
    let hints: Vec<_> =
        bad.problems.iter().map(|problem| problem.hint.as_deref().unwrap()).collect();
    assert_eq!(
        hints,
        ["set it where waypost is started", "set it, or give a default: ${VAR:-default}"]
    );
}

#[test]
fn with_keys_a_public_host_needs_no_flag() {
    let public = "[server]\nhost = \"0.0.0.0\"\n[auth]\nkeys = ";
    let (spec, warnings) =
        load_keys(&format!("{public}[{{ name = \"alice\", key = \"${{ALICE}}\" }}]")).unwrap();
    assert_eq!(
        (&*spec.listen.host, spec.listen.insecure_public, warnings),
        ("0.0.0.0", false, vec![])
    );
    let open = load_keys(&format!("{public}[]")).unwrap_err();
    assert_eq!(
        lines(&open.problems),
        [
            "gateway.toml:2:8: server.host: other machines could reach the gateway, and nothing asks who they are"
        ]
    );
    let missing =
        load_keys(&format!("{public}[{{ name = \"alice\", key = \"${{NONE}}\" }}]")).unwrap_err();
    assert_eq!(
        lines(&missing.problems),
        ["gateway.toml:4:33: auth.keys[0].key: the variable NONE is not set"],
        "one problem is enough"
    );
}
