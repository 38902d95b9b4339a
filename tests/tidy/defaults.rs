//! docs/defaults.md names every key with the type, the bounds and the default of the schema, and the
//! fixed bounds with the values of the code.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{bites, nothing};

/// The head of a table of keys.
const KEYS: [&str; 5] = ["key", "type", "bounds", "default", "means"];
/// The head of a table of fixed bounds.
const BOUNDS: [&str; 4] = ["what", "value", "constant", "in"];

/// What a word behind a number on the page is worth.
const UNITS: [(&str, f64); 8] = [
    ("", 1.0),
    ("KiB", 1_024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("ms", 1.0),
    ("s", 1_000.0),
    ("min", 60_000.0),
    ("h", 3_600_000.0),
];
/// What makes a duration in the code, in milliseconds.
const MAKERS: [(&str, f64); 4] = [
    ("Duration::from_millis(", 1.0),
    ("Duration::from_secs(", 1_000.0),
    ("Duration::from_mins(", 60_000.0),
    ("Duration::from_hours(", 3_600_000.0),
];

/// A row of a table on the page.
struct Row<'p> {
    /// Counted from 1.
    line: usize,
    /// What stands in backticks in the heading above it.
    under: Vec<&'p str>,
    /// The head of its table.
    head: Vec<&'p str>,
    cells: Vec<&'p str>,
}

impl<'p> Row<'p> {
    fn cell(&self, place: usize) -> &'p str {
        self.cells.get(place).copied().unwrap_or_default()
    }

    fn complain(&self, what: &str) -> String {
        format!("docs/defaults.md:{}: {what}", self.line)
    }
}

/// Every row of every table, heads left out.
fn rows(page: &str) -> Vec<Row<'_>> {
    let (mut found, mut under, mut head) = (Vec::new(), Vec::new(), Vec::new());
    for (nth, text) in page.lines().enumerate() {
        if text.starts_with('#') {
            under = text.split('`').skip(1).step_by(2).collect();
        }
        let Some(inner) = text.strip_prefix('|').and_then(|text| text.strip_suffix('|')) else {
            head.clear();
            continue;
        };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        if head.is_empty() {
            head = cells;
        } else if !inner.starts_with("---") {
            found.push(Row { line: nth + 1, under: under.clone(), head: head.clone(), cells });
        }
    }
    found
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

// === keys ===

/// The schema of what stands under a free key or in a list.
fn inner(schema: &Value) -> Option<&Value> {
    let inner = schema.get("additionalProperties").or_else(|| schema.get("items"))?;
    inner.is_object().then_some(inner)
}

/// Every key that has a value of its own, by its path; `NAME` stands for a free key.
fn keys<'s>(schema: &'s Value, path: &str, found: &mut BTreeMap<String, &'s Value>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, schema) in properties.into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let below = |schema: &Value| schema.get("properties").is_some();
        match inner(schema) {
            _ if below(schema) => keys(schema, &path, found),
            Some(inner) if below(inner) && schema.get("items").is_some() => {
                keys(inner, &path, found);
            }
            Some(inner) if below(inner) => keys(inner, &format!("{path}.NAME"), found),
            _ => {
                found.insert(path, schema);
            }
        }
    }
}

fn kind(schema: &Value) -> &'static str {
    let text = |key| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let words = |schema: &Value| schema.get("enum").is_some();
    let several = |schema: &Value| schema.get("type").is_some_and(Value::is_array);
    match text("type") {
        _ if words(schema) => "word",
        "string" if text("title").starts_with("duration") => "duration",
        "string" => "text",
        "integer" => "whole number",
        "number" => "number",
        "boolean" => "boolean",
        "array" => "texts",
        "object" if inner(schema).is_some_and(words) => "words by name",
        "object" if inner(schema).is_some_and(several) => "values by name",
        "object" => "texts by name",
        _ => "a type that this test does not know",
    }
}

/// The bounds that the schema tells; `None` = the page says them in words, if there are any.
fn bounds(schema: &Value) -> Option<String> {
    let words = |schema: &Value| {
        let words = schema.get("enum")?.as_array()?.iter().filter_map(Value::as_str);
        Some(words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
    };
    let range = |schema: &Value| {
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        Some(format!("{} to {}", thousands(bound("minimum")?), thousands(bound("maximum")?)))
    };
    let title = schema.get("title").and_then(Value::as_str).unwrap_or_default();
    match title {
        "duration" => Some(String::new()),
        "duration above zero" => Some("above 0".to_owned()),
        _ => words(schema).or_else(|| words(inner(schema)?)).or_else(|| range(schema)),
    }
}

/// A number with commas.
fn thousands(number: f64) -> String {
    let text = number.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let mut shown = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if part.is_empty() { shown } else { format!("{shown}.{part}") }
}

/// What the page must say of a key; a default that the schema does not tell begins with `none`.
fn wanted(schema: &Value) -> (&'static str, Option<String>, String) {
    let default =
        schema.get("default").map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
    (kind(schema), bounds(schema), default)
}

/// Keys of the page that are not those of the schema, and the other way round.
fn wrong_keys(page: &str, schema: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut known = BTreeMap::new();
    keys(schema, "", &mut known);
    let mut missing = known.clone();
    for row in rows(page).iter().filter(|row| row.head == KEYS) {
        for table in &row.under {
            let path = format!("{}.{}", table.trim_matches(['[', ']']), code(row.cell(0)));
            let Some(schema) = known.get(&path) else {
                complaints.push(row.complain(&format!("there is no key {path}")));
                continue;
            };
            if missing.remove(&path).is_none() {
                complaints.push(row.complain(&format!("{path} stands here twice")));
            }
            let (kind, bounds, default) = wanted(schema);
            let told = row.cell(3);
            let same = told == default || default == "none" && told.starts_with("none: ");
            let bounds = bounds.unwrap_or_else(|| row.cell(2).to_owned());
            if (row.cell(1), row.cell(2)) != (kind, bounds.as_str()) || !same {
                let what = format!("{path} is | {kind} | {bounds} | {default} |");
                complaints.push(row.complain(&what));
            }
            if row.cell(4).is_empty() {
                complaints.push(row.complain(&format!("nobody says what {path} means")));
            }
        }
    }
    for (path, schema) in missing {
        let (kind, bounds, default) = wanted(schema);
        let bounds = bounds.unwrap_or_default();
        complaints.push(format!(
            "docs/defaults.md: {path} is missing: | {kind} | {bounds} | {default} |"
        ));
    }
    complaints
}

// === fixed bounds ===

/// A value of the page: a number and perhaps a unit.
fn told(cell: &str) -> Option<f64> {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let (_, factor) = UNITS.iter().find(|(known, _)| *known == unit)?;
    Some(number.replace(',', "").parse::<f64>().ok()? * factor)
}

/// A value of the code: a product of numbers, or a duration.
fn value(expression: &str) -> Option<f64> {
    let expression = expression.trim();
    for (maker, factor) in MAKERS {
        if let Some(rest) = expression.strip_prefix(maker) {
            return Some(value(rest.strip_suffix(')')?)? * factor);
        }
    }
    if expression.contains('*') {
        return expression.split('*').map(value).product();
    }
    expression.replace('_', "").parse().ok()
}

/// What a constant is in a file, or a field of a type (`Type::field`) by default.
fn value_of(text: &str, name: &str) -> Option<f64> {
    let Some((of, field)) = name.split_once("::") else {
        let (_, rest) = text.split_once(&format!("const {name}: "))?;
        let (_, rest) = rest.split_once('=')?;
        return value(rest.split(';').next()?);
    };
    let (_, rest) = text.split_once(&format!("impl Default for {of} "))?;
    let (_, rest) = rest.split_once(&format!(" {field}: "))?;
    value(rest.split([',', '}']).next()?)
}

/// Fixed bounds of the page that are not those of the code. `read` gives the text of a file.
fn wrong_bounds(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut any = false;
    for row in rows(page).iter().filter(|row| row.head == BOUNDS) {
        any = true;
        let (shown, name, file) = (row.cell(1), code(row.cell(2)), code(row.cell(3)));
        let Some(value) = read(file).and_then(|text| value_of(&text, name)) else {
            complaints.push(row.complain(&format!("no value of {name} in src/{file}")));
            continue;
        };
        if told(shown).is_none_or(|told| (told - value).abs() > 1e-9) {
            let what = format!("{name} of src/{file} is {}, not {shown}", thousands(value));
            complaints.push(row.complain(&what));
        }
    }
    if !any {
        complaints.push("docs/defaults.md: there are no fixed bounds".to_owned());
    }
    complaints
}

// === the page keeps the rules ===

fn file(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

#[test]
fn the_page_of_defaults_says_what_the_schema_says() {
    let schema = serde_json::from_str(&file("gateway.schema.json").unwrap()).unwrap();
    let mut known = BTreeMap::new();
    keys(&schema, "", &mut known);
    assert!(known.len() > 100, "only {} keys", known.len());
    nothing(&wrong_keys(&file("docs/defaults.md").unwrap(), &schema));
}

#[test]
fn the_fixed_bounds_of_the_page_are_those_of_the_code() {
    let page = file("docs/defaults.md").unwrap();
    nothing(&wrong_bounds(&page, |path| file(&format!("src/{path}"))));
}

// === the rules bite ===

const PAGE: &str = "\
### `[a]`, `[u.NAME.a]`

| key | type | bounds | default | means |
|---|---|---|---|---|
| `n` | whole number | 1 to 1,000 | `5` | a number |
| `t` | duration | above 0 | none: 2 s | a time |
| `w` | word | `x`, `y` | `\"x\"` | a word |

### `[[u.NAME.r]]`

| key | type | bounds | default | means |
|---|---|---|---|---|
| `s` | text | visible | none | a text |
";

fn schema() -> Value {
    let a = serde_json::json!({ "type": "object", "properties": {
        "n": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 5 },
        "t": { "type": "string", "title": "duration above zero" },
        "w": { "type": "string", "enum": ["x", "y"], "default": "x" },
    } });
    let r = serde_json::json!({ "type": "array", "items": { "type": "object", "properties": {
        "s": { "type": "string", "pattern": "^[!-~]*$" },
    } } });
    serde_json::json!({ "properties": {
        "a": a,
        "u": { "additionalProperties": { "properties": { "a": a, "r": r } } },
    } })
}

#[test]
fn a_key_that_the_page_tells_wrong_is_found() {
    let find = |from: &str, to: &str| {
        assert!(PAGE.contains(from), "{from}");
        wrong_keys(&PAGE.replacen(from, to, 1), &schema())
    };
    bites(&wrong_keys(PAGE, &schema()), &[]);
    let n = "is | whole number | 1 to 1,000 | `5` |";
    for (from, to) in [("`5`", "`6`"), ("1,000", "100"), ("whole number", "number")] {
        bites(&find(from, to), &[&format!(":5: a.n {n}"), &format!(":5: u.NAME.a.n {n}")]);
    }
    bites(&find("none: 2 s", "`\"2s\"`"), &["a.t is | duration | above 0 | none |", "u.NAME.a.t"]);
    bites(&find("above 0", ""), &["a.t is", "u.NAME.a.t is"]);
    bites(&find("`x`, `y`", "`x`"), &["a.w is | word | `x`, `y` | `\"x\"` |", "u.NAME.a.w"]);
    bites(&find("| a text |", "| |"), &[":13: nobody says what u.NAME.r.s means"]);
    bites(
        &find("| `s`", "| `z`"),
        &["there is no key u.NAME.r.z", "u.NAME.r.s is missing: | text |"],
    );
    bites(
        &find(", `[u.NAME.a]`", ""),
        &["NAME.a.n is missing", "a.t is missing", "a.w is missing"],
    );
    bites(&find("`[a]`", "`[a]`, `[a]`"), &["a.n stands", "a.t stands", "a.w stands"]);
}

#[test]
fn a_fixed_bound_that_the_page_tells_wrong_is_found() {
    let source = "const A_MAX: usize = 16 * 1024 * 1024;\npub const B: Duration =\n    \
                  Duration::from_hours(30 * 24);\nconst C: f64 = 0.1;\n\
                  impl Default for R { Self { d_max: 7 } }\n\
                  impl Default for S { Self { d_max: 10_000, e: Duration::from_millis(500) } }\n";
    let find = |shown: &str, name: &str| {
        let head = "| what | value | constant | in |\n|---|---|---|---|\n";
        let page = format!("{head}| it | {shown} | `{name}` | `f.rs` |\n");
        wrong_bounds(&page, |file| (file == "f.rs").then(|| source.to_owned()))
    };
    for (shown, name) in [
        ("16 MiB", "A_MAX"),
        ("720 h", "B"),
        ("0.1", "C"),
        ("10,000", "S::d_max"),
        ("0.5 s", "S::e"),
    ] {
        bites(&find(shown, name), &[]);
        bites(&find("7", name), &[&format!("docs/defaults.md:3: {name} of src/f.rs is ")]);
    }
    bites(&find("16 MB", "A_MAX"), &["A_MAX of src/f.rs is 16,777,216, not 16 MB"]);
    bites(&find("1", "F"), &["no value of F in src/f.rs"]);
    bites(&wrong_bounds("no table", |_| None), &["no fixed bounds"]);
}
