//! Keys that do nothing yet, and say so.

use super::*;

#[test]
fn each_key_without_effect_is_told() {
    let text = r#"
[[upstreams.a.replicas]]
url = "http://h/"
transport = "sse"
"#;
    let what = "has no effect yet in this version";
    let expected = ["4:1: upstreams.a.replicas[0].transport"];
    assert_eq!(warnings_with(text, &[]), expected.map(|line| format!("{line}: {what}")));
    assert_eq!(expected.len(), crate::config::no_effect::NO_EFFECT.len(), "the list is all here");
}

#[test]
fn values_that_hold_already_are_no_warning() {
    good(
        "[catalog]\ncache = false\n[upstreams.a]\nisolation = \"shared\"\n\
         replicas = [{ url = \"http://h/\", transport = \"http\" }]\n",
    );
}
