//! Pure: a list in the order that clients see, with a table to find its entries by key.

use std::collections::HashMap;
use std::sync::Arc;

use super::item::{Item, Owner};

/// Entries of one kind. No two have the same key.
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    items: Vec<T>,
    places: HashMap<Arc<str>, usize>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Item> List<T> {
    /// The entries in order.
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    /// The entry of this key: one look into the table.
    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.items.get(*self.places.get(key)?)
    }

    /// Adds an entry, unless its key is taken; then answers whose it is.
    pub(super) fn add(&mut self, item: T) -> Result<(), Owner> {
        if let Some(first) = self.get(item.key()) {
            return Err(first.owner());
        }
        self.places.insert(Arc::clone(item.key()), self.items.len());
        self.items.push(item);
        Ok(())
    }
}
