//! Pure: keys that are accepted and checked, but do nothing yet. They are never ignored in
//! silence: each gives a warning. A key that comes to life leaves this list.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{At, Findings};
use super::text::{item, join};

/// Paths (`*` = any key or every item of a list) and those of their values that hold already.
pub(super) const NO_EFFECT: &[(&str, &[&str])] = &[("upstreams.*.replicas.*.transport", &["http"])];

/// What the warning says.
pub(super) const WHAT: &str = "has no effect yet in this version";

/// Warns of each key of the file that does nothing.
pub(super) fn warn(root: &DeTable<'_>, findings: &mut Findings<'_>) {
    for (pattern, holding) in NO_EFFECT {
        let steps: Vec<&str> = pattern.split('.').collect();
        warn_in_table(root, &steps, "", holding, findings);
    }
}

fn warn_in_table(
    table: &DeTable<'_>,
    steps: &[&str],
    path: &str,
    holding: &[&str],
    findings: &mut Findings<'_>,
) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    for (key, value) in table {
        let key: &str = key.get_ref();
        if *step == "*" || *step == key {
            warn_at(value, rest, &join(path, key), holding, findings);
        }
    }
}

fn warn_at(
    value: &Spanned<DeValue<'_>>,
    steps: &[&str],
    path: &str,
    holding: &[&str],
    findings: &mut Findings<'_>,
) {
    match (steps, value.get_ref()) {
        ([], DeValue::String(text)) if holding.contains(&text.as_ref()) => {}
        ([], DeValue::Boolean(on)) if holding.contains(&if *on { "true" } else { "false" }) => {}
        ([], _) => findings.warn(At::Key(path), WHAT, None),
        (["*", rest @ ..], DeValue::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                warn_at(value, rest, &item(path, index), holding, findings);
            }
        }
        (steps, DeValue::Table(table)) => warn_in_table(table, steps, path, holding, findings),
        _ => {}
    }
}
