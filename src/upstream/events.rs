//! What a server tells of itself outside any call: lists that changed, resources that changed. Whoever
//! reads its messages puts them in; its keeper takes them out. Many changes of one thing are one.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::proto::answer::About;
use crate::proto::listen::{URI_BYTES_MAX, URIS_MAX};
use crate::proto::scan::{member, unquote};
use crate::proto::{Level, Lists, Method, id, meta};

use super::followers::Followers;
use super::lobby::Lobby;

/// What happened since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Lists that changed.
    pub lists: Lists,
    /// Resources that changed.
    pub uris: BTreeSet<String>,
    /// A question came that could have been meant for the client of either of two calls.
    pub crowded: bool,
    /// The newest subscription that stands by the word of its server: the number of its request.
    pub acknowledged: Option<u64>,
}

/// Where it is gathered.
#[derive(Debug, Default)]
pub struct Events {
    news: Mutex<News>,
    arrived: Notify,
    /// Who may be meant by log messages.
    pub lobby: Arc<Lobby>,
    /// Who made tasks there.
    pub followers: Followers,
}

impl Events {
    /// Takes a notification in that belongs to no call: a change, a log message, or the state of a
    /// task.
    pub fn note(&self, text: &[u8], method: Method, about: About) {
        if matches!(method, Method::TaskStatus | Method::Progress) {
            return self.followers.note(text, method, about);
        }
        if method == Method::LogMessage {
            if let Some(level) = about.level.and_then(|span| Level::read(span.of(text))) {
                self.lobby.log(text, level);
            }
            return;
        }
        if method == Method::Acknowledged {
            let mut news = self.news.lock();
            news.acknowledged = news.acknowledged.max(Some(subscription(text)));
            drop(news);
            self.arrived.notify_one();
            return;
        }
        let lists = Lists::changed_by(method);
        if !lists.is_empty() {
            return self.lists(lists);
        }
        let uri = about.uri.filter(|_| method == Method::ResourceUpdated);
        if let Some(uri) = uri.and_then(|span| unquote(span.of(text))) {
            let mut news = self.news.lock();
            if news.uris.len() < URIS_MAX && uri.len() <= URI_BYTES_MAX {
                news.uris.insert(uri.into_owned());
                drop(news);
                self.arrived.notify_one();
            }
        }
    }

    /// These lists changed, or may have.
    pub fn lists(&self, lists: Lists) {
        let mut news = self.news.lock();
        news.lists = news.lists.or(lists);
        drop(news);
        self.arrived.notify_one();
    }

    /// A question came that could have been meant for either of two calls.
    pub fn crowded(&self) {
        self.news.lock().crowded = true;
        self.arrived.notify_one();
    }

    /// These resources may have changed while nobody listened.
    pub fn uris(&self, uris: &BTreeSet<String>) {
        self.news.lock().uris.extend(uris.iter().cloned());
        self.arrived.notify_one();
    }

    /// Resolves when there is news, and takes it.
    pub async fn next(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.news.lock());
            if news != News::default() {
                return news;
            }
            self.arrived.notified().await;
        }
    }

    /// Takes what has come since, without waiting.
    pub fn more(&self) -> News {
        std::mem::take(&mut *self.news.lock())
    }
}

/// The request of ours that a server acknowledges; 0 if it does not say.
fn subscription(text: &[u8]) -> u64 {
    let params = member(text, "params").and_then(|params| member(params, "_meta"));
    let id = params.and_then(|about| member(about, meta::SUBSCRIPTION_ID));
    id.and_then(id::number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::answer::{Incoming, read};

    #[tokio::test]
    async fn many_changes_of_one_thing_are_one() {
        let events = Events::default();
        let tell = |text: &str| {
            let Ok(Incoming::Note { method, about }) = read(text.as_bytes()) else { panic!() };
            events.note(text.as_bytes(), method, about);
        };
        for _ in 0..3 {
            tell(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
            tell(
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#,
            );
            tell(
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}"#,
            );
        }
        let news = events.next().await;
        assert_eq!(news.lists, Lists { tools: true, ..Lists::NONE });
        assert_eq!(news.uris.into_iter().collect::<Vec<_>>(), ["a:b"]);
        assert_eq!(events.more(), News::default());
    }
}
