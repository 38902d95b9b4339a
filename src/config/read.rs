//! From text to [`File`]: syntax, variables, shape. What is wrong is noted and left out, and the
//! rest goes on to `compile`, so that one run finds everything.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::env::{Environment, Filled, fill};
use super::file::File;
use super::problem::{At, Findings, Place};
use super::schema::SCHEMA;
use super::shape;
use super::text::{Folders, item, join};

/// What is said if a value passes the schema and not its type.
pub(super) const UNCHECKED: &str = "this value does not fit";

/// A file as data, and what of it is switched off.
#[derive(Default)]
pub(super) struct Read {
    /// What fits.
    pub(super) file: File,
    /// The path of an upstream or a tool → why it is switched off.
    pub(super) off: BTreeMap<String, Vec<String>>,
}

/// Reads the text of a configuration. Values of the `overridden` paths are checked but not used,
/// and a variable that is missing there does no harm. `None`: the syntax is wrong.
pub(super) fn read(
    text: &str,
    folders: &Folders<'_>,
    overridden: &[&str],
    environment: &Environment,
    findings: &mut Findings<'_>,
) -> Option<Read> {
    let (mut root, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in &errors {
        let what = format!("not valid TOML: {}", error.message());
        findings.syntax(error.span().map(|span| span.start), what);
        // After any other error the parser guesses where it is: what follows may not be true.
        if error.message() != "duplicate key" {
            break;
        }
    }
    if !errors.is_empty() {
        return None;
    }
    let mut survey =
        Survey { folders, overridden, environment, findings, owner: None, off: BTreeMap::new() };
    survey.table(root.get_mut(), "");
    let off = survey.off;
    shape::check(root.get_mut(), &SCHEMA, "", findings);
    match File::deserialize(toml::Deserializer::from(root)) {
        Ok(file) => Some(Read { file, off }),
        // `shape` took out what does not fit, so this is a gap between it and the types. Serde's
        // own message may hold the value.
        Err(error) => {
            findings.syntax(error.span().map(|span| span.start), UNCHECKED.to_owned());
            None
        }
    }
}

/// One walk over the whole file: where everything stands, and variables filled in.
struct Survey<'s, 'f> {
    folders: &'s Folders<'s>,
    overridden: &'s [&'s str],
    environment: &'s Environment,
    findings: &'s mut Findings<'f>,
    /// The upstream or tool whose table the walk is in: its path, and what it is.
    owner: Option<(String, &'static str)>,
    off: BTreeMap<String, Vec<String>>,
}

impl Survey<'_, '_> {
    fn table(&mut self, table: &mut DeTable<'_>, path: &str) {
        let word = match path {
            "upstreams" => Some("upstream"),
            "tools" => Some("tool"),
            _ => None,
        };
        let mut unusable = Vec::new();
        for (key, value) in table.iter_mut() {
            let path_of_key = join(path, key.get_ref());
            if let Some(word) = word {
                self.owner = Some((path_of_key.clone(), word));
            }
            if !self.value(value, &path_of_key, key.span().start) {
                unusable.push(key.get_ref().to_string());
            }
        }
        for key in unusable {
            table.remove(key.as_str());
            self.findings.drop_key(path, key);
        }
        if word.is_some() {
            self.owner = None;
        }
    }

    /// Answers whether the value can be used.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, path: &str, key: usize) -> bool {
        let start = value.span().start;
        let mut place = Place { key, value: start, raw: None };
        match value.get_mut() {
            DeValue::Table(table) => {
                self.findings.place(path, place);
                self.table(table, path);
                true
            }
            DeValue::Array(items) => {
                self.findings.place(path, place);
                let mut keep = true;
                for (index, value) in items.iter_mut().enumerate() {
                    let start = value.span().start;
                    keep &= self.value(value, &item(path, index), start);
                }
                keep
            }
            DeValue::String(text) => match fill(text, self.folders, self.environment) {
                Filled::Same => {
                    self.findings.place(path, place);
                    true
                }
                Filled::Text(filled) => {
                    place.raw = Some(text.to_string());
                    self.findings.place(path, place);
                    *text = Cow::Owned(filled);
                    true
                }
                Filled::Missing(reasons) => {
                    self.findings.place(path, place);
                    self.missing(path, reasons);
                    false
                }
                Filled::Wrong(what) => {
                    self.findings.place(path, place);
                    let hint = "write ${VAR}, ${VAR:-default} or ${file:PATH}; $$ is a dollar";
                    self.findings.problem(At::Value(path), what, Some(hint.to_owned()));
                    false
                }
            },
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                self.findings.place(path, place);
                true
            }
        }
    }

    /// A variable or file is missing: that upstream or tool is off; anywhere else it is an error.
    fn missing(&mut self, path: &str, reasons: Vec<String>) {
        if self.overridden.contains(&path) {
            return;
        }
        for reason in reasons {
            let Some((owner, word)) = &self.owner else {
                // A default in the file would be a key in the file.
                let hint = if path.starts_with("auth.") {
                    "set it where waypost is started"
                } else {
                    "set it, or give a default: ${VAR:-default}"
                };
                self.findings.problem(At::Value(path), reason, Some(hint.to_owned()));
                continue;
            };
            let what = format!("{reason}; the {word} is switched off");
            self.findings.warn(At::Value(path), what, None);
            let off = self.off.entry(owner.clone()).or_default();
            if !off.contains(&reason) {
                off.push(reason);
            }
        }
    }
}
