//! An append-only file of JSON lines: what was run (`--journal`), what arrived (`--record`).
//!
//! Several processes may share one file: each line is one write to a file opened for appending.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

/// The open file.
#[derive(Debug)]
pub(super) struct Journal(File);

// === impl Journal ===

impl Journal {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| format!("cannot open {}", path.display()))?))
    }

    /// One line, handed to the system before this returns: a crash right after is still counted.
    pub(super) fn append(&self, entry: &Value) -> std::io::Result<()> {
        (&self.0).write_all(format!("{entry}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_writers_append_whole_lines_to_one_file() {
        let path = std::env::temp_dir().join(format!("demo-journal-{}", std::process::id()));
        let (one, two) = (Journal::open(&path).unwrap(), Journal::open(&path).unwrap());
        one.append(&json!({"line": "a\nb"})).unwrap();
        two.append(&json!({"run": 2})).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "{\"line\":\"a\\nb\"}\n{\"run\":2}\n");
    }
}
