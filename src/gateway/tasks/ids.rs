//! Pure: the names that clients know tasks by. A name carries where its task is, and whose it is, so
//! that any gateway with the same key finds it, and nobody can make one up (2025-11-25,
//! basic/utilities/tasks, "Task Isolation and Access Control"; tasks extension, "Security").

use crate::base::{Sealer, UpstreamName, hash};
use crate::proto::Era;

/// How names of tasks begin.
const PREFIX: &str = "wt1.";
/// What they are sealed for.
const PURPOSE: &str = "waypost task";
/// Longest name that a server may give a task in bytes.
pub(super) const OWN_BYTES_MAX: usize = 512;
/// Longest name that is looked at in bytes: one that we could have made.
const NAME_BYTES_MAX: usize = 2_048;

/// Where a task is, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// The era in which it was made. Tasks of one era are none in the other.
    pub(super) era: Era,
    /// Its upstream's name, hashed: it may be renamed only with its tasks lost.
    pub(super) upstream: u64,
    /// Whose it is: a principal's key; 0 = who has the name, where nobody is asked.
    pub(super) holder: u64,
    /// The replica that holds it; empty where a session has a replica of its own.
    pub(super) replica: String,
    /// Its name at the upstream.
    pub(super) own: String,
}

/// What an upstream is called in the names of its tasks.
pub(super) fn upstream(name: &UpstreamName) -> u64 {
    hash::stable(name.as_str().as_bytes())
}

impl Task {
    /// Its name for clients; `None` if it cannot be named.
    pub(super) fn seal(&self, sealer: &Sealer) -> Option<String> {
        let replica = u8::try_from(self.replica.len()).ok()?;
        if self.own.is_empty() || self.own.len() > OWN_BYTES_MAX {
            return None;
        }
        let mut content = vec![u8::from(self.era == Era::Modern)];
        content.extend(self.upstream.to_be_bytes());
        content.extend(self.holder.to_be_bytes());
        content.push(replica);
        content.extend(self.replica.as_bytes());
        content.extend(self.own.as_bytes());
        Some(format!("{PREFIX}{}", sealer.seal(PURPOSE, &content)?))
    }

    /// The task of a name; `None` if it is none of ours.
    pub(super) fn open(name: &str, sealer: &Sealer) -> Option<Self> {
        let sealed = name.strip_prefix(PREFIX).filter(|_| name.len() <= NAME_BYTES_MAX)?;
        let content = sealer.open(PURPOSE, sealed)?;
        let (era, rest) = content.split_first()?;
        let (upstream, rest) = rest.split_first_chunk()?;
        let (holder, rest) = rest.split_first_chunk()?;
        let (replica, rest) = rest.split_first()?;
        let (replica, own) = rest.split_at_checked(usize::from(*replica))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            era: if *era == 1 { Era::Modern } else { Era::Legacy },
            upstream: u64::from_be_bytes(*upstream),
            holder: u64::from_be_bytes(*holder),
            replica: text(replica)?,
            own: text(own)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(own: &str) -> Task {
        let replica = "a".to_owned();
        Task { era: Era::Modern, upstream: 7, holder: u64::MAX, replica, own: own.to_owned() }
    }

    #[test]
    fn a_name_leads_back_to_its_task_and_to_no_other() {
        let sealer = Sealer::random();
        for one in [task("786512e2"), task("ä \"\n"), Task { replica: String::new(), ..task("x") }]
        {
            let name = one.seal(&sealer).unwrap();
            assert_eq!(Task::open(&name, &sealer), Some(one));
            assert!(name.bytes().all(|b| b.is_ascii_graphic()), "fits a header: {name}");
        }
        let longest = task(&"x".repeat(OWN_BYTES_MAX)).seal(&sealer).unwrap();
        assert!(longest.len() <= NAME_BYTES_MAX && Task::open(&longest, &sealer).is_some());
        assert_eq!(task(&"x".repeat(OWN_BYTES_MAX + 1)).seal(&sealer), None);
        assert_eq!(task("").seal(&sealer), None);
    }

    #[test]
    fn what_is_none_of_our_names_leads_nowhere() {
        let sealer = Sealer::random();
        let name = task("t").seal(&sealer).unwrap();
        assert_eq!(Task::open(&name, &Sealer::random()), None);
        let (bare, cut) = (name.split_at(4).1, name.split_at(name.len() - 2).0);
        for odd in ["t", "wt1.", bare, cut, &format!("{name}A")] {
            assert_eq!(Task::open(odd, &sealer), None, "{odd}");
        }
    }
}
