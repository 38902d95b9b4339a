//! Looks whether the configuration file says something else. It is asked for rather than told of:
//! that works on every file system, and with editors that write beside the file and rename.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::{Environment, Text};
use crate::base::clock;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A file that changed is read when it has been at rest for so long: an editor may still write.
const REST: Duration = Duration::from_millis(200);

/// What shows that a file may have changed. `None`: there is none.
type Stamp = Option<(Option<SystemTime>, u64, u64)>;

/// A configuration file that is looked at.
pub struct Watch {
    path: PathBuf,
    stamp: Stamp,
    text: Option<Text>,
    /// When it is looked at next: who gives up waiting and comes back does not put it off.
    next: Option<Instant>,
}

impl Watch {
    /// Watches the file that a text was read from; `None` if it was read from none.
    pub fn new(text: &Text) -> Option<Self> {
        let path = text.file()?.to_owned();
        // The first look reads the file: it may have changed since.
        Some(Self { path, stamp: None, text: Some(text.clone()), next: None })
    }

    /// Resolves when the file says something else than it did last time, or can be read no longer.
    /// Nothing is lost when it is dropped before.
    pub async fn changed(&mut self) {
        loop {
            let next = *self.next.get_or_insert_with(|| clock::now() + LOOK);
            tokio::time::sleep_until(next.into()).await;
            let mut stamp = self.look().await;
            if stamp == self.stamp {
                self.next = None;
                continue;
            }
            loop {
                tokio::time::sleep(REST).await;
                let again = self.look().await;
                if again == stamp {
                    break;
                }
                stamp = again;
            }
            (self.stamp, self.next) = (stamp, None);
            if self.see(Text::open(Some(&self.path), &Environment::process()).ok()) {
                return;
            }
        }
    }

    /// This is what the file says now. Answers whether that is news.
    pub fn see(&mut self, text: Option<Text>) -> bool {
        // By name a file may differ that is the same: what it says counts.
        let said = |text: &Option<Text>| text.as_ref().map(|text| text.content.clone());
        let news = said(&self.text) != said(&text);
        self.text = text;
        news
    }

    async fn look(&self) -> Stamp {
        let found = tokio::fs::metadata(&self.path).await.ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let inode = 0;
        Some((found.modified().ok(), found.len(), inode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a change is seen within a few looks; time is paused, so that takes none.
    async fn sees(watch: &mut Watch) -> bool {
        tokio::time::timeout(LOOK * 5, watch.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_file_says_counts_not_that_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("[server]\n");
        let text = Text::open(Some(&file), &Environment::process()).unwrap();
        let mut watch = Watch::new(&text).unwrap();
        assert!(!sees(&mut watch).await, "nothing has changed");
        write("[server]\nport = 1\n");
        assert!(sees(&mut watch).await, "written in place");
        let other = folder.path().join(".gateway.toml.swp");
        std::fs::write(&other, "[server]\nport = 2\n").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(sees(&mut watch).await, "renamed over it, with the same size");
        write("[server]\nport = 2\n");
        assert!(!sees(&mut watch).await, "it says the same");
        std::fs::remove_file(&file).unwrap();
        assert!(sees(&mut watch).await, "it is gone");
        assert!(!sees(&mut watch).await, "which is told once");
        write("[server]\nport = 3\n");
        assert!(sees(&mut watch).await, "it is back");
        assert!(!watch.see(Text::open(Some(&file), &Environment::process()).ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_does_not_put_a_look_off() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, "[server]\n").unwrap();
        let text = Text::open(Some(&file), &Environment::process()).unwrap();
        let mut watch = Watch::new(&text).unwrap();
        std::fs::write(&file, "[server]\nport = 1\n").unwrap();
        let mut briefly = async || {
            for _ in 0..10 {
                if tokio::time::timeout(LOOK / 2, watch.changed()).await.is_ok() {
                    return true;
                }
            }
            false
        };
        assert!(briefly().await);
    }

    #[test]
    fn the_built_in_text_is_not_watched() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = Environment::fixed([]);
        assert!(Watch::new(&Text::open(None, &nothing).unwrap()).is_none());
        let file = folder.path().join("x.toml");
        assert!(Text::open(Some(&file), &nothing).is_err());
    }
}
