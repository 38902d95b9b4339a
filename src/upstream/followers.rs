//! Legacy clients that made tasks at a server, and so are told how these are doing: what a server says
//! of a task belongs to no call any more (2025-11-25, basic/utilities/tasks, "Task Notifications",
//! "Task Progress Notifications").

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::proto::answer::About;
use crate::proto::scan::{Span, says, within};
use crate::proto::splice::Splice;
use crate::proto::{Method, id};

use super::lobby::Mailbox;

/// Most tasks of one server whose clients are told of them; the oldest gives way.
pub const FOLLOWED_MAX: usize = 1_024;

/// One client of one task.
#[derive(Clone, Debug)]
pub struct Follower {
    /// What the server calls the task.
    pub own: String,
    /// What the client calls it: a raw string.
    pub name: Bytes,
    /// The progress token that the server knows the call by, and the client's own, raw.
    pub token: Option<(u64, Bytes)>,
    /// Where the client hears of it.
    pub mail: Weak<Mailbox>,
}

/// The clients of the tasks of one server, the oldest first.
#[derive(Debug, Default)]
pub struct Followers(Mutex<VecDeque<Follower>>);

impl Followers {
    /// A client made a task.
    pub fn add(&self, follower: Follower) {
        let mut all = self.0.lock();
        // A server that names two tasks alike speaks of the newer one.
        all.retain(|one| one.mail.strong_count() > 0 && one.own != follower.own);
        if all.len() >= FOLLOWED_MAX {
            all.pop_front();
        }
        all.push_back(follower);
    }

    /// The server says something of a task: its client is told, under its own names.
    pub(super) fn note(&self, text: &[u8], method: Method, about: About) {
        let Some((mail, message)) = self.meant(text, method, about) else { return };
        mail.put(message);
    }

    fn meant(&self, text: &[u8], method: Method, about: About) -> Option<(Arc<Mailbox>, Bytes)> {
        let all = self.0.lock();
        let (span, follower, word) = if method == Method::Progress {
            let span = about.token?;
            let number = id::number(span.of(text))?;
            let own = |one: &&Follower| one.token.as_ref().is_some_and(|token| token.0 == number);
            let follower = all.iter().find(own)?;
            (span, follower, &follower.token.as_ref()?.1)
        } else {
            let whole = Span { start: 0, end: text.len() };
            let params = within(text, whole, "params")?.value;
            let span = within(text, params, "taskId")?.value;
            let follower = all.iter().find(|one| says(span.of(text), &one.own))?;
            (span, follower, &follower.name)
        };
        let mut splice = Splice::new(text);
        splice.put(span, word);
        Some((follower.mail.upgrade()?, Bytes::from(splice.apply(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::answer::{Incoming, read};

    fn said(followers: &Followers, text: &str) -> Option<String> {
        let Ok(Incoming::Note { method, about }) = read(text.as_bytes()) else { panic!("{text}") };
        let (_, message) = followers.meant(text.as_bytes(), method, about)?;
        Some(String::from_utf8(message.to_vec()).unwrap())
    }

    #[test]
    fn only_the_client_of_a_task_is_told_under_its_own_names() {
        let (followers, mail) = (Followers::default(), Arc::new(Mailbox::default()));
        let follower = |own: &str, token| Follower {
            own: own.to_owned(),
            name: Bytes::from(format!("\"client's {own}\"")),
            token,
            mail: Arc::downgrade(&mail),
        };
        followers.add(follower("a", Some((7, Bytes::from_static(b"\"7\"")))));
        followers.add(follower("b", None));
        let status = |task: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{{"taskId":"{task}","status":"working"}}}}"#
            )
        };
        assert_eq!(said(&followers, &status("b")), Some(status("client's b")));
        assert_eq!(said(&followers, &status("c")), None);
        let progress = |token: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
            )
        };
        assert_eq!(said(&followers, &progress("7")), Some(progress("\"7\"")));
        assert_eq!(said(&followers, &progress("\"7\"")), None);
        for number in 0..FOLLOWED_MAX {
            followers.add(follower(&number.to_string(), None));
        }
        assert_eq!(said(&followers, &status("a")), None, "the oldest gave way");
        drop(mail);
        assert_eq!(said(&followers, &status("5")), None, "its client is gone");
    }
}
