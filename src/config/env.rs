//! The only reader of the environment: variables of the process, and files named in values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::text::Folders;

/// The largest file that is read: configurations and keys are far smaller.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where variables and files come from. The process, or fixed values in tests.
pub struct Environment {
    source: Source,
}

enum Source {
    Process,
    Fixed { variables: BTreeMap<String, String>, files: BTreeMap<PathBuf, String> },
}

impl Environment {
    /// The environment of this process.
    pub fn process() -> Self {
        Self { source: Source::Process }
    }

    /// These variables and no other ones, and no file but those of [`Environment::with_file`].
    pub fn fixed<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let variables = variables.into_iter().map(owned).collect();
        Self { source: Source::Fixed { variables, files: BTreeMap::new() } }
    }

    /// The same environment with a file in it. The environment of the process stays as it is.
    #[must_use]
    pub fn with_file(mut self, path: &str, text: &str) -> Self {
        if let Source::Fixed { files, .. } = &mut self.source {
            files.insert(PathBuf::from(path), text.to_owned());
        }
        self
    }

    /// A variable. One that is empty, or not UTF-8, counts as not set.
    pub fn var(&self, name: &str) -> Option<String> {
        let value = match &self.source {
            Source::Process => process_variable(name),
            Source::Fixed { variables, .. } => variables.get(name).cloned(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// Every variable, for what children may inherit; empty where the values are fixed.
    pub fn all(&self) -> Vec<(OsString, OsString)> {
        match &self.source {
            Source::Process => std::env::vars_os().collect(),
            Source::Fixed { .. } => Vec::new(),
        }
    }

    /// The text of a file of at most 1 MiB.
    pub(super) fn read(&self, path: &Path) -> io::Result<String> {
        match &self.source {
            Source::Process => read_file(path),
            Source::Fixed { files, .. } => {
                files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }

    /// Where the paths of a file in `base` start.
    pub(super) fn folders<'a>(&self, base: &'a Path) -> Folders<'a> {
        Folders { base, home: self.var("HOME").map(PathBuf::from) }
    }
}

/// Values may be secret: only the source is shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Process => "Environment(process)",
            Source::Fixed { .. } => "Environment(fixed)",
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

/// A text after its variables were filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There was nothing to fill in.
    Same,
    /// The new text; it may be secret.
    Text(String),
    /// Why it cannot be filled in: what is not there, for people.
    Missing(Vec<String>),
    /// The reference itself is wrong.
    Wrong(&'static str),
}

/// Fills `${VAR}`, `${VAR:-default}` and `${file:PATH}` into a text; `$$` is a dollar, and so is
/// one before anything but `{` and `$`.
pub(super) fn fill(text: &str, folders: &Folders<'_>, environment: &Environment) -> Filled {
    if !text.contains('$') {
        return Filled::Same;
    }
    let mut filled = String::with_capacity(text.len());
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let Some((reference, after)) = after.split_once('}') else {
                return Filled::Wrong("`${` without `}`");
            };
            match resolve(reference, folders, environment) {
                Ok(value) => filled.push_str(&value),
                Err(Unresolved::Missing(reason)) => missing.push(reason),
                Err(Unresolved::Wrong(what)) => return Filled::Wrong(what),
            }
            rest = after;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    if missing.is_empty() { Filled::Text(filled) } else { Filled::Missing(missing) }
}

/// Whether a text of the file is one reference and nothing else, so that its value does not stand in
/// the file: `${VAR}` or `${file:PATH}`, without a default.
pub(super) fn is_reference(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| {
        !inner.contains(['{', '}']) && (inner.starts_with("file:") || !inner.contains(":-"))
    })
}

enum Unresolved {
    Missing(String),
    Wrong(&'static str),
}

/// The value of what stands between `${` and `}`.
fn resolve<'r>(
    reference: &'r str,
    folders: &Folders<'_>,
    environment: &Environment,
) -> Result<Cow<'r, str>, Unresolved> {
    if let Some(path) = reference.strip_prefix("file:") {
        let text = environment.read(&folders.resolve(path)).map_err(|error| {
            let why = error.kind();
            Unresolved::Missing(format!("the file {path} cannot be read ({why})"))
        })?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(Unresolved::Missing(format!("the file {path} is empty")));
        }
        return Ok(Cow::Owned(text.to_owned()));
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let mut letters = name.chars();
    let first_fits = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first_fits || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Unresolved::Wrong("not a reference to a variable or a file"));
    }
    match (environment.var(name), default) {
        (Some(value), _) => Ok(Cow::Owned(value)),
        (None, Some(default)) => Ok(Cow::Borrowed(default)),
        (None, None) => Err(Unresolved::Missing(format!("the variable {name} is not set"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Filled {
        let environment = Environment::fixed([("A", "one"), ("B_2", "two"), ("EMPTY", "")])
            .with_file("conf/key", "secret\n")
            .with_file("/run/key", "absolute\r\n")
            .with_file("conf/empty", "\n");
        fill(text, &environment.folders(Path::new("conf")), &environment)
    }

    #[test]
    fn variables_and_files_are_filled_in() {
        for (text, expected) in [
            ("${A}", "one"),
            ("x${A}y${B_2}z", "xoneytwoz"),
            ("${NONE:-none}", "none"),
            ("${NONE:-}", ""),
            ("${EMPTY:-none}", "none"),
            ("${A:-none}", "one"),
            ("${NONE:-http://x:1/-y}", "http://x:1/-y"),
            ("Bearer ${file:key}", "Bearer secret"),
            ("${file:/run/key}", "absolute"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$${A}", "$one"),
            ("a $ b", "a $ b"),
            ("$A", "$A"),
        ] {
            assert_eq!(filled(text), Filled::Text(expected.to_owned()), "{text}");
        }
        assert_eq!(filled("plain"), Filled::Same);
    }

    #[test]
    fn what_is_missing_is_named_and_all_of_it() {
        assert_eq!(
            filled("${NONE} ${A} ${EMPTY} ${file:gone} ${file:empty}"),
            Filled::Missing(vec![
                "the variable NONE is not set".to_owned(),
                "the variable EMPTY is not set".to_owned(),
                "the file gone cannot be read (entity not found)".to_owned(),
                "the file empty is empty".to_owned(),
            ])
        );
    }

    #[test]
    fn a_reference_alone_keeps_its_value_out_of_the_file() {
        for text in ["${A}", "${file:/run/key}", "${file:a:-b}"] {
            assert!(is_reference(text), "{text}");
        }
        for text in
            ["", "plain", "x${A}", "${A}x", "${A}${B}", "${A:-secret}", "$${A}", "$$", "${A"]
        {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn wrong_references_are_wrong() {
        for text in ["${A", "${}", "${A-b}", "${1}", "${env:A}", "${a b}"] {
            assert!(matches!(filled(text), Filled::Wrong(_)), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::fixed([("TOKEN", "hunter2")]);
        assert!(!format!("{environment:?}").contains("hunter2"));
    }

    #[test]
    fn the_process_reads_files_of_a_sane_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let read = || Environment::process().read(&path);
        assert_eq!(read().unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "secret").unwrap();
        assert_eq!(read().unwrap(), "secret");
        std::fs::write(&path, "x".repeat(1024 * 1024 + 1)).unwrap();
        assert_eq!(read().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
