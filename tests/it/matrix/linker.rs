//! A small server that names a resource which it does not list, behind a URL or as a child.

use serde_json::{Value, json};

use crate::support::toml::{command, url};
use crate::support::{Era, Fake, Over};

use super::cell::Side;

/// The server; it has one tool, `link`.
pub(super) enum Linker {
    Url(Fake),
    /// A loop of a shell, which finds the id of a request in its text.
    Child(tempfile::NamedTempFile),
}

impl Linker {
    /// One that is reached like this.
    pub(super) fn start((era, over): Side) -> Self {
        match over {
            Over::Http => Self::Url(behind_a_url(era)),
            Over::Stdio => {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), script(era)).unwrap();
                Self::Child(file)
            }
        }
    }

    /// The keys of its replica.
    pub(super) fn replica(&self) -> String {
        match self {
            Self::Url(fake) => url(&fake.url),
            Self::Child(file) => command(&["sh", file.path().to_str().unwrap()]),
        }
    }
}

/// What it answers to each method.
fn answers(era: Era) -> Vec<(&'static str, Value)> {
    let info = json!({"name": "linker", "version": "1"});
    let can = json!({"tools": {}, "resources": {}});
    let tool = json!({"name": "link", "inputSchema": {"type": "object"}});
    let link = json!({"type": "resource_link", "uri": "linked://one", "name": "one"});
    let read = json!({"uri": "linked://one", "text": "what the link leads to"});
    let legacy = json!({"protocolVersion": "2025-11-25", "capabilities": can, "serverInfo": info});
    let modern = json!({"supportedVersions": ["2026-07-28"], "capabilities": can});
    let mut all = vec![
        ("tools/list", json!({"tools": [tool]})),
        ("resources/list", json!({"resources": []})),
        ("resources/templates/list", json!({"resourceTemplates": []})),
        ("tools/call", json!({"content": [link]})),
        ("resources/read", json!({"contents": [read]})),
    ];
    match era {
        Era::Legacy => all.extend([("initialize", legacy), ("ping", json!({}))]),
        Era::Modern => {
            all.push(("server/discover", modern));
            for (_, result) in &mut all {
                result["resultType"] = json!("complete");
                result["ttlMs"] = json!(0);
                result["cacheScope"] = json!("private");
            }
        }
    }
    all
}

fn no_method() -> Value {
    json!({"code": -32601, "message": "Method not found"})
}

fn behind_a_url(era: Era) -> Fake {
    let answers = answers(era);
    Fake::start(move |message| {
        let Some(method) = message["method"].as_str().filter(|_| !message["id"].is_null()) else {
            return Some((202, String::new()));
        };
        let known = answers.iter().find(|(known, _)| *known == method);
        let (status, key, value) = match (known, era) {
            (Some((_, result)), _) => (200, "result", result.clone()),
            (None, Era::Modern) => (404, "error", no_method()),
            (None, Era::Legacy) => (400, "error", no_method()),
        };
        Some((status, json!({"jsonrpc": "2.0", "id": message["id"], key: value}).to_string()))
    })
}

fn script(era: Era) -> String {
    let case = |text: &str, key: &str, value: &Value| {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":%s,"{key}":%s}}\n"#);
        format!("*'{text}'*) printf '{answer}' \"$id\" '{value}';;\n")
    };
    let known: Vec<String> = answers(era)
        .iter()
        .map(|(method, result)| case(&format!(r#""method":"{method}""#), "result", result))
        .collect();
    let (known, unknown) = (known.concat(), case(r#""method":"#, "error", &no_method()));
    format!(
        r#"while IFS= read -r line; do
id=${{line#*'"id":'}}
id=${{id%%[,\}}]*}}
case $line in
*'"method":"notifications/'*) ;;
{known}{unknown}esac
done
"#
    )
}
