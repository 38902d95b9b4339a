//! Pure: `[auth]`.

use super::{Context, size};
use crate::base::{PrincipalName, Secret};
use crate::config::env::is_reference;
use crate::config::file;
use crate::config::problem::{At, Findings};
use crate::config::text::{item, join};
use crate::front::spec::{AuthSpec, KEY_BYTES_MAX, KEY_BYTES_MIN, KEYS_MAX, KeySpec, ShareSpec};

const KEYS: &str = "auth.keys";

/// Compiles `[auth]`.
pub(super) fn compile(context: &Context<'_>, findings: &mut Findings<'_>) -> AuthSpec {
    let auth = &context.read.file.auth;
    let default = ShareSpec::default();
    AuthSpec {
        keys: keys(auth.keys.as_deref().unwrap_or_default(), findings),
        share: ShareSpec {
            inflight_max: auth.inflight.map_or(default.inflight_max, size),
            rate: auth.rate.unwrap_or(default.rate),
            burst: auth.burst.unwrap_or(default.burst),
            sessions_max: auth.sessions.map_or(default.sessions_max, size),
            streams_max: auth.streams.map_or(default.streams_max, size),
        },
    }
}

fn keys(all: &[file::Key], findings: &mut Findings<'_>) -> Vec<KeySpec> {
    if all.len() > KEYS_MAX {
        let what = format!("{} keys are too many", all.len());
        findings.problem(At::Value(KEYS), what, Some(format!("{KEYS_MAX} at most")));
    }
    let mut checked: Vec<KeySpec> = Vec::new();
    for (index, entry) in all.iter().take(KEYS_MAX).enumerate() {
        let path = item(KEYS, index);
        let name = name(entry.name.as_deref(), &path, &checked, findings);
        let key = key(entry.key.as_deref(), &path, &checked, findings);
        checked.extend(name.zip(key).map(|(name, key)| KeySpec { name, key }));
    }
    checked
}

/// Who shows the key: a name that no other key has.
fn name(
    text: Option<&str>,
    path: &str,
    others: &[KeySpec],
    findings: &mut Findings<'_>,
) -> Option<PrincipalName> {
    let Some(text) = text else {
        missing("name", r#"write whose key it is: name = "alice""#, path, findings);
        return None;
    };
    let path = join(path, "name");
    let name = match PrincipalName::new(text) {
        Ok(name) => name,
        Err(error) => {
            // A name from a variable stays unsaid.
            let plain = findings.shown(&path, text) == text;
            let what = if plain { error.to_string() } else { "not a name".to_owned() };
            let hint = "up to 64 letters, digits, `-`, `_` and `.`".to_owned();
            findings.problem(At::Value(&path), what, Some(hint));
            return None;
        }
    };
    if others.iter().any(|other| other.name == name) {
        let hint = "one name, one key: \"alice-laptop\" and \"alice-ci\" are two".to_owned();
        findings.problem(At::Value(&path), "another key has the same name", Some(hint));
    }
    Some(name)
}

/// The key itself. It is never shown, and must not stand in the file.
fn key(
    text: Option<&str>,
    path: &str,
    others: &[KeySpec],
    findings: &mut Findings<'_>,
) -> Option<Secret> {
    const HOW: &str = "write key = \"${ALICE_KEY}\" or \"${file:/run/secrets/alice}\", and nothing \
                       before or after it";
    let Some(text) = text else {
        missing("key", HOW, path, findings);
        return None;
    };
    let path = join(path, "key");
    let at = At::Value(&path);
    if !is_reference(findings.shown(&path, text)) {
        let what = "a key must not stand in the file";
        findings.problem(at, what, Some(HOW.to_owned()));
        return None;
    }
    if text.len() < KEY_BYTES_MIN || text.len() > KEY_BYTES_MAX {
        let what = if text.len() < KEY_BYTES_MIN {
            "the key is short enough to be guessed"
        } else {
            "the key is too long"
        };
        let hint = format!(
            "{KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes; `openssl rand -hex 24` makes a good one"
        );
        findings.problem(at, what, Some(hint));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = "letters, digits and signs of ASCII, without spaces".to_owned();
        findings.problem(at, "the key holds a character that keys cannot have", Some(hint));
    }
    let key = Secret::new(text);
    if others.iter().any(|other| other.key == key) {
        let hint = "make one for each name: `openssl rand -hex 24`".to_owned();
        findings.problem(at, "another name has the same key", Some(hint));
    }
    Some(key)
}

fn missing(what: &str, hint: &str, path: &str, findings: &mut Findings<'_>) {
    if !findings.dropped_in(path) {
        findings.problem(At::Key(path), format!("{what} is missing"), Some(hint.to_owned()));
    }
}
