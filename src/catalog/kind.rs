//! Pure: the four lists that a server has, and one value for each of them.

use std::ops::{Index, IndexMut};

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

impl Kind {
    /// Every list, in the order in which they are merged and reported.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The member of the result that holds the list.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// One of it, for people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Tools => "tool",
            Self::Prompts => "prompt",
            Self::Resources => "resource",
            Self::Templates => "resource template",
        }
    }
}

/// One value for each list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PerKind<T> {
    /// Of [`Kind::Tools`].
    pub tools: T,
    /// Of [`Kind::Prompts`].
    pub prompts: T,
    /// Of [`Kind::Resources`].
    pub resources: T,
    /// Of [`Kind::Templates`].
    pub templates: T,
}

impl<T> PerKind<T> {
    /// What `make` answers for each list.
    pub fn from_fn(mut make: impl FnMut(Kind) -> T) -> Self {
        Self {
            tools: make(Kind::Tools),
            prompts: make(Kind::Prompts),
            resources: make(Kind::Resources),
            templates: make(Kind::Templates),
        }
    }
}

impl<T> Index<Kind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }
}

impl<T> IndexMut<Kind> for PerKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Tools => &mut self.tools,
            Kind::Prompts => &mut self.prompts,
            Kind::Resources => &mut self.resources,
            Kind::Templates => &mut self.templates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_its_own_place() {
        let mut each = PerKind::from_fn(Kind::member);
        assert_eq!(
            Kind::ALL.map(|kind| each[kind]),
            ["tools", "prompts", "resources", "resourceTemplates"]
        );
        each[Kind::Resources] = "x";
        assert_eq!(each, PerKind { resources: "x", ..PerKind::from_fn(Kind::member) });
    }
}
