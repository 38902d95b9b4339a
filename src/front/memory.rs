//! How much memory there is and how much is used, as Linux tells it.
//!
//! With a limit of our own it is our resident memory that counts. Else it is that of the control
//! groups (version 2) that we are in, with all that runs there: our children stand in it too, and
//! the kernel ends all of it together. Files that it only caches do not count: it gives them up.

use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Deepest nesting of groups that is looked at.
const DEPTH_MAX: usize = 32;

/// Used and limit in bytes; a limit of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use.
    pub used: u64,
    /// The most there may be; 0 = no limit.
    pub limit: u64,
}

/// What is looked at.
#[derive(Debug)]
pub enum Gauge {
    /// Our own memory against a limit of the configuration.
    Own(u64),
    /// The groups that we are in, the innermost first.
    Groups(Vec<PathBuf>),
}

impl Gauge {
    /// With the limit of the configuration: `None` = that of our control group, 0 = none.
    pub async fn find(limit: Option<u64>) -> Self {
        if let Some(limit) = limit {
            return Self::Own(limit);
        }
        let own = tokio::fs::read_to_string("/proc/self/cgroup").await.unwrap_or_default();
        Self::Groups(groups(Path::new(GROUPS), &own))
    }

    /// How it is now. What cannot be read counts as no limit.
    pub async fn read(&self) -> Memory {
        match self {
            Self::Own(0) => Memory::default(),
            Self::Own(limit) => {
                let status = tokio::fs::read_to_string("/proc/self/status").await;
                Memory { used: resident(&status.unwrap_or_default()), limit: *limit }
            }
            Self::Groups(groups) => {
                let mut tightest = Memory::default();
                for group in groups {
                    if let Some(memory) = of_group(group).await {
                        tightest = tighter(tightest, memory);
                    }
                }
                tightest
            }
        }
    }
}

/// The one that is fuller.
fn tighter(one: Memory, other: Memory) -> Memory {
    let full =
        |memory: Memory, against: Memory| u128::from(memory.used) * u128::from(against.limit);
    if one.limit == 0 || full(other, one) > full(one, other) { other } else { one }
}

/// The folders of our group and those around it.
fn groups(root: &Path, own: &str) -> Vec<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let inner = root.join(path);
    inner
        .ancestors()
        .take(DEPTH_MAX)
        .take_while(|group| group.starts_with(root))
        .map(Path::to_owned)
        .collect()
}

async fn of_group(group: &Path) -> Option<Memory> {
    let text = async |file: &str| tokio::fs::read_to_string(group.join(file)).await.ok();
    // Without a limit it says "max", which is no number.
    let limit = text("memory.max").await?.trim().parse().ok()?;
    let current: u64 = text("memory.current").await?.trim().parse().ok()?;
    let stat = text("memory.stat").await.unwrap_or_default();
    let cached = number_of(&stat, "inactive_file ") + number_of(&stat, "active_file ");
    Some(Memory { used: current.saturating_sub(cached), limit })
}

/// Our resident memory by `/proc/self/status`, in bytes.
fn resident(status: &str) -> u64 {
    number_of(status, "VmRSS:") * 1_024
}

/// The number behind this word at the start of a line; 0 if there is none.
fn number_of(text: &str, word: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_ours_and_those_around_it() {
        let root = Path::new("/sys/fs/cgroup");
        let found = groups(root, "1:name=x:/other\n0::/system.slice/waypost.service\n");
        let wanted = ["system.slice/waypost.service", "system.slice", ""];
        assert_eq!(found, wanted.map(|path| root.join(path)));
        assert_eq!(groups(root, ""), [root.join("")]);
    }

    #[tokio::test]
    async fn a_group_without_a_limit_is_passed_over_and_caches_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let write = |group: &Path, max: &str| {
            std::fs::write(group.join("memory.max"), max).unwrap();
            std::fs::write(group.join("memory.current"), "900\n").unwrap();
            std::fs::write(
                group.join("memory.stat"),
                "anon 5\ninactive_file 150\nactive_file 50\n",
            )
            .unwrap();
        };
        write(&inner, "max\n");
        write(folder.path(), "1000\n");
        let gauge = Gauge::Groups(groups(folder.path(), "0::/inner"));
        assert_eq!(gauge.read().await, Memory { used: 700, limit: 1_000 });
        write(&inner, "800\n");
        assert_eq!(gauge.read().await, Memory { used: 700, limit: 800 });
        std::fs::write(inner.join("memory.max"), "5000\n").unwrap();
        assert_eq!(gauge.read().await, Memory { used: 700, limit: 1_000 });
    }

    #[tokio::test]
    async fn our_own_memory_is_counted_against_a_limit_of_ours() {
        let memory = Gauge::find(Some(1 << 40)).await.read().await;
        assert!(memory.used > 1 << 20 && memory.used < 1 << 40, "{memory:?}");
        assert_eq!(memory.limit, 1 << 40);
        assert_eq!(Gauge::find(Some(0)).await.read().await, Memory::default());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_no_limit() {
        let gauge = Gauge::Groups(vec![PathBuf::from("/there/is/no/such/group")]);
        assert_eq!(gauge.read().await, Memory::default());
    }
}
