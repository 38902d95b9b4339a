//! Pure: what is wrong with a configuration, where, and what to do about it; for people and for
//! programs. A finding never holds the value of a variable, a header or a key.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Value, json};

use super::text::Bad;

/// Where a finding comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The configuration file.
    File {
        /// The file as it was named.
        file: String,
        /// Line and column from 1, columns in characters; `None` = the file as a whole.
        place: Option<(usize, usize)>,
    },
    /// A variable of the environment.
    Environment,
    /// An argument of the command line.
    CommandLine,
}

/// One problem or warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where it comes from.
    pub origin: Origin,
    /// The path of the key, the name of the variable, or the argument; may be empty.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What does not keep a configuration from being used.
pub type Warning = Finding;

impl Finding {
    /// The finding on one line, and its hint on a second one. `severity` stands before what is
    /// wrong, if it is not empty.
    fn render(&self, f: &mut fmt::Formatter<'_>, severity: &str) -> fmt::Result {
        match &self.origin {
            Origin::File { file, place: Some((line, column)) } => {
                write!(f, "{file}:{line}:{column}: ")?;
            }
            Origin::File { file, place: None } => write!(f, "{file}: ")?,
            Origin::Environment => f.write_str("environment: ")?,
            Origin::CommandLine => f.write_str("command line: ")?,
        }
        if !severity.is_empty() {
            write!(f, "{severity}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }

    /// The finding for programs.
    pub fn to_json(&self) -> Value {
        let (origin, file, place) = match &self.origin {
            Origin::File { file, place } => ("file", Some(file), *place),
            Origin::Environment => ("environment", None, None),
            Origin::CommandLine => ("command_line", None, None),
        };
        json!({
            "origin": origin,
            "file": file,
            "line": place.map(|(line, _)| line),
            "column": place.map(|(_, column)| column),
            "key": self.key,
            "message": self.what,
            "hint": self.hint,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(f, "")
    }
}

/// A finding as a warning on paper.
pub(super) struct AsWarning<'a>(pub(super) &'a Finding);

impl fmt::Display for AsWarning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render(f, "warning")
    }
}

/// Everything that keeps a configuration from being used. There is at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// In the order of the file.
    pub problems: Vec<Finding>,
    /// What was noticed besides.
    pub warnings: Vec<Warning>,
}

impl Problems {
    /// One problem with the file at `path` as a whole.
    pub(super) fn of_file(file: String, what: String) -> Self {
        let origin = Origin::File { file, place: None };
        let problem = Finding { origin, key: String::new(), what, hint: None };
        Self { problems: vec![problem], warnings: Vec::new() }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

// === gathering ===

/// Where a value stands in the file, as byte offsets.
#[derive(Debug)]
pub(super) struct Place {
    /// Its key; for an item of a list, the item.
    pub(super) key: usize,
    /// The value itself.
    pub(super) value: usize,
    /// What stands there, if variables were filled in.
    pub(super) raw: Option<String>,
}

/// Which part of the configuration a finding is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    /// A key of the file, or what is missing below it.
    Key(&'a str),
    /// The value of a key of the file.
    Value(&'a str),
    /// A variable of the environment.
    Variable(&'a str),
    /// An argument of the command line.
    Argument(&'a str),
}

/// Collects what is found while a file is read and compiled.
pub(super) struct Findings<'a> {
    file: &'a str,
    text: &'a str,
    places: HashMap<String, Place>,
    /// Table and key of each value that is left out of the file's data.
    dropped: HashSet<(String, String)>,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in `text`, which is shown as `file`.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            places: HashMap::new(),
            dropped: HashSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes where the value of a path stands.
    pub(super) fn place(&mut self, path: &str, place: Place) {
        self.places.insert(path.to_owned(), place);
    }

    /// Notes that the value of `key` in `table` is left out, so that nothing more is said about
    /// its absence.
    pub(super) fn drop_key(&mut self, table: &str, key: String) {
        self.dropped.insert((table.to_owned(), key));
    }

    /// Whether a value right below `table` was left out.
    pub(super) fn dropped_in(&self, table: &str) -> bool {
        self.dropped.iter().any(|(parent, _)| parent == table)
    }

    /// A value as it may be shown: as it stands in the file, never with a variable filled in.
    pub(super) fn shown<'v>(&'v self, path: &str, value: &'v str) -> &'v str {
        self.places.get(path).and_then(|place| place.raw.as_deref()).unwrap_or(value)
    }

    /// Adds a problem.
    pub(super) fn problem(&mut self, at: At<'_>, what: impl Into<String>, hint: Option<String>) {
        let finding = self.finding(at, what.into(), hint);
        self.problems.push(finding);
    }

    /// Adds a problem with the text of a value.
    pub(super) fn bad(&mut self, at: At<'_>, bad: Bad) {
        self.problem(at, bad.what, bad.hint);
    }

    /// Adds a problem with the syntax of the file.
    pub(super) fn syntax(&mut self, offset: Option<usize>, what: String) {
        let place = offset.map(|offset| self.line_and_column(offset));
        let origin = Origin::File { file: self.file.to_owned(), place };
        self.problems.push(Finding { origin, key: String::new(), what, hint: None });
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, at: At<'_>, what: impl Into<String>, hint: Option<String>) {
        let finding = self.finding(at, what.into(), hint);
        self.warnings.push(finding);
    }

    /// `good` with the warnings, or every problem.
    pub(super) fn finish<T>(self, good: Option<T>) -> Result<(T, Vec<Warning>), Problems> {
        let (mut problems, mut warnings) = (self.problems, self.warnings);
        for found in [&mut problems, &mut warnings] {
            found.sort();
            found.dedup();
        }
        match good {
            Some(good) if problems.is_empty() => Ok((good, warnings)),
            _ => Err(Problems { problems, warnings }),
        }
    }

    fn finding(&self, at: At<'_>, what: String, hint: Option<String>) -> Finding {
        let (origin, key) = match at {
            At::Key(path) => (self.origin(path, |place| place.key), path),
            At::Value(path) => (self.origin(path, |place| place.value), path),
            At::Variable(name) => (Origin::Environment, name),
            At::Argument(name) => (Origin::CommandLine, name),
        };
        Finding { origin, key: key.to_owned(), what, hint }
    }

    /// Where a path stands, or else the nearest table around it that stands in the file.
    fn origin(&self, path: &str, offset: impl Fn(&Place) -> usize) -> Origin {
        let mut path = path;
        let place = loop {
            if let Some(place) = self.places.get(path) {
                break Some(self.line_and_column(offset(place)));
            }
            match path.rfind(['.', '[']).and_then(|end| path.get(..end)) {
                Some(around) => path = around,
                None => break None,
            }
        };
        Origin::File { file: self.file.to_owned(), place }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}
