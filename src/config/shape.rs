//! Pure: checks a parsed file against the JSON Schema of its types, and takes out what does not
//! fit, so that one run names every wrong key and value, and the rest can still be compiled.
//! Serde alone would stop at the first one.

use std::borrow::Cow;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeTable, DeValue};

use super::file::{POSITIVE_TIME_TITLE, TIME_TITLE};
use super::problem::{At, Findings};
use super::text::{self, item, join, nearest};

/// Checks the table at `path` and takes out every key that does not fit `schema`.
pub(super) fn check(
    table: &mut DeTable<'_>,
    schema: &Value,
    path: &str,
    findings: &mut Findings<'_>,
) {
    let mut misfits = Vec::new();
    for (key, value) in table.iter_mut() {
        let key: &str = key.get_ref();
        let path_of_key = join(path, key);
        let fits = if let Some(schema) = schema_of(schema, key) {
            check_value(value, schema, &path_of_key, findings)
        } else {
            unknown_key(key, schema, &path_of_key, findings);
            false
        };
        if !fits {
            misfits.push(key.to_owned());
        }
    }
    for key in misfits {
        table.remove(key.as_str());
        findings.drop_key(path, key);
    }
}

fn schema_of<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|free| free.is_object()))
}

fn unknown_key(key: &str, schema: &Value, path: &str, findings: &mut Findings<'_>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let known: Vec<&str> = properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let what = match nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean \"{near}\"?"),
        None => "unknown key".to_owned(),
    };
    findings.problem(At::Key(path), what, Some(format!("known here: {}", known.join(", "))));
}

fn check_value(
    value: &mut Spanned<DeValue<'_>>,
    schema: &Value,
    path: &str,
    findings: &mut Findings<'_>,
) -> bool {
    let wanted = schema.get("type").map(|wanted| one_of(wanted, value.get_ref()));
    let wanted = wanted.unwrap_or_default();
    match (wanted, value.get_mut()) {
        ("object", DeValue::Table(table)) => {
            check(table, schema, path, findings);
            true
        }
        ("array", DeValue::Array(items)) => check_items(items, schema, path, findings),
        ("string", DeValue::String(text)) => check_text(text, schema, path, findings),
        ("integer" | "number", DeValue::Integer(number)) => {
            check_range(integer(number), &number.to_string(), schema, path, findings)
        }
        ("number", DeValue::Float(number)) => {
            check_range(number.as_str().parse().ok(), number.as_str(), schema, path, findings)
        }
        ("boolean", DeValue::Boolean(_)) => true,
        (_, found) => {
            let (what, hint) = wrong_type(found, wanted, schema, path);
            findings.problem(At::Value(path), what, hint);
            false
        }
    }
}

/// The type that a value must have; of several the one that it has, else the first.
fn one_of<'s>(wanted: &'s Value, found: &DeValue<'_>) -> &'s str {
    let Some(several) = wanted.as_array() else { return wanted.as_str().unwrap_or_default() };
    let of_value = match found {
        DeValue::Integer(_) | DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        _ => "string",
    };
    let mut words = several.iter().filter_map(Value::as_str);
    let first = words.clone().next().unwrap_or_default();
    words.find(|word| *word == of_value).unwrap_or(first)
}

/// Checks every item. A list with a wrong item is left out whole: its other items would move.
fn check_items(
    items: &mut DeArray<'_>,
    schema: &Value,
    path: &str,
    findings: &mut Findings<'_>,
) -> bool {
    let Some(schema) = schema.get("items") else {
        return true;
    };
    let mut all_fit = true;
    for (index, value) in items.iter_mut().enumerate() {
        all_fit &= check_value(value, schema, &item(path, index), findings);
    }
    all_fit
}

fn check_text(
    text: &DeString<'_>,
    schema: &Value,
    path: &str,
    findings: &mut Findings<'_>,
) -> bool {
    let time = match schema.get("title").and_then(Value::as_str) {
        Some(TIME_TITLE) => text::time(text),
        Some(POSITIVE_TIME_TITLE) => text::positive_time(text),
        _ => return check_word(text, schema, path, findings),
    };
    match time {
        Ok(_) => true,
        Err(bad) => {
            let what = format!("{:?}: {}", findings.shown(path, text), bad.what);
            findings.problem(At::Value(path), what, bad.hint);
            false
        }
    }
}

/// Checks a text that must be one of a few words.
fn check_word(word: &str, schema: &Value, path: &str, findings: &mut Findings<'_>) -> bool {
    let Some(known) = schema.get("enum").and_then(Value::as_array) else {
        return true;
    };
    let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
    if known.contains(&word) {
        return true;
    }
    let shown = findings.shown(path, word);
    // The nearest word of a value that came from a variable would tell what the variable holds.
    let near = (shown == word).then(|| nearest(word, known.iter().copied())).flatten();
    let what = match near {
        Some(near) => format!("{shown:?} is not known; did you mean {near:?}?"),
        None => format!("{shown:?} is not known"),
    };
    findings.problem(At::Value(path), what, Some(format!("one of {}", known.join(", "))));
    false
}

fn integer(number: &DeInteger<'_>) -> Option<f64> {
    let digits = number.as_str();
    match number.radix() {
        10 => digits.parse().ok(),
        radix => u32::from_str_radix(digits, radix).ok().map(f64::from),
    }
}

/// Checks that a number is within the bounds of its schema. Every bound is far below 2^53, so that
/// floats compare exactly.
fn check_range(
    number: Option<f64>,
    shown: &str,
    schema: &Value,
    path: &str,
    findings: &mut Findings<'_>,
) -> bool {
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let (low, high) = (bound("minimum"), bound("maximum"));
    let above = |number: f64| low.is_none_or(|low| number >= low);
    let below = |number: f64| high.is_none_or(|high| number <= high);
    if number.is_some_and(|number| above(number) && below(number)) {
        return true;
    }
    let range = match (low, high) {
        (Some(low), Some(high)) => format!("from {low} to {high}"),
        (Some(low), None) => format!("{low} or more"),
        (None, Some(high)) => format!("{high} or less"),
        (None, None) => "a number".to_owned(),
    };
    findings.problem(At::Value(path), format!("{shown} is out of range"), Some(range));
    false
}

fn wrong_type(
    found: &DeValue<'_>,
    wanted: &str,
    schema: &Value,
    path: &str,
) -> (Cow<'static, str>, Option<String>) {
    let is_time = schema.get("title").and_then(Value::as_str).is_some_and(is_time_title);
    let wanted_words = match wanted {
        "string" if is_time => "a duration as text",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    };
    let (found_words, plain) = match found {
        DeValue::String(_) => ("text", None),
        DeValue::Integer(number) => ("a whole number", Some(number.as_str())),
        DeValue::Float(number) => ("a number", Some(number.as_str())),
        DeValue::Boolean(true) => ("true", Some("true")),
        DeValue::Boolean(false) => ("false", Some("false")),
        DeValue::Datetime(_) => ("a date or time", None),
        DeValue::Array(_) => ("a list", None),
        DeValue::Table(_) => ("a table", None),
    };
    let hint = match (wanted, found, plain) {
        ("string", DeValue::Integer(number), _) if is_time => {
            Some(format!("write \"{number}s\" or \"{number}ms\""))
        }
        ("string", ..) if is_time => Some(text::TIME_HINT.to_owned()),
        ("string", _, Some(plain)) => Some(format!("write \"{plain}\"")),
        ("array", DeValue::Table(_), _) if holds_tables(schema) => {
            Some(format!("write [[{path}]]"))
        }
        ("array", DeValue::String(_), _) => Some("write it in brackets: [\"…\"]".to_owned()),
        ("integer" | "number", DeValue::String(text), _) if text.parse::<f64>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        ("boolean", DeValue::String(text), _) if text.parse::<bool>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        _ => None,
    };
    (Cow::Owned(format!("expected {wanted_words}, found {found_words}")), hint)
}

fn holds_tables(schema: &Value) -> bool {
    schema.pointer("/items/type").is_some_and(|kind| kind == "object")
}

fn is_time_title(title: &str) -> bool {
    title == TIME_TITLE || title == POSITIVE_TIME_TITLE
}
