//! State that outlives a process. For now that is a folder of small files: the last known catalog.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest file that is read back.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A folder of files by key. Writing is atomic: a reader sees the old content or the new one,
/// whole, whoever writes at the same time.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
    /// No two writes of one process share a draft.
    drafts: Arc<AtomicU64>,
}

impl Files {
    /// Files below `folder`, which is made when something is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), drafts: Arc::default() }
    }

    /// The content of a key; `None` if it was never written or is too large to be ours.
    pub fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match std::fs::File::open(self.path(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        let fits = u64::try_from(content.len()).is_ok_and(|len| len <= FILE_BYTES_MAX);
        Ok(fits.then_some(content))
    }

    /// Writes the content of a key. Only its owner may read it: tool lists can tell a lot.
    pub fn put(&self, key: &str, content: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.path(key);
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = path.with_extension(format!("{}.{number}.tmp", std::process::id()));
        let written = write_private(&draft, content).and_then(|()| std::fs::rename(&draft, &path));
        if written.is_err() {
            // What is left of the draft is of no use to anybody.
            drop(std::fs::remove_file(&draft));
        }
        written
    }

    fn path(&self, key: &str) -> PathBuf {
        let safe =
            |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        self.folder.join(format!("{}.json", key.chars().map(safe).collect::<String>()))
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got_and_keys_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("made/later"));
        assert_eq!(files.get("a").unwrap(), None);
        files.put("a", b"one").unwrap();
        files.put("a", b"two").unwrap();
        assert_eq!(files.get("a").unwrap().unwrap(), b"two");
        files.put("../../evil", b"x").unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path().join("made/later"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
