//! Pure: what a server says it offers, and of which of its lists a message speaks. Both eras name
//! the same capabilities (2025-11-25, basic/lifecycle; 2026-07-28, server/discover).

use serde_json::{Value, json};

use super::era::Era;
use super::extensions::{Extensions, TASKS};
use super::method::Method;

/// A set of the lists that can change. Templates change with the resources: the protocol has one
/// notification for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lists {
    /// `tools/list`
    pub tools: bool,
    /// `prompts/list`
    pub prompts: bool,
    /// `resources/list` and `resources/templates/list`
    pub resources: bool,
}

impl Lists {
    /// No list.
    pub const NONE: Self = Self { tools: false, prompts: false, resources: false };
    /// Every list.
    pub const ALL: Self = Self { tools: true, prompts: true, resources: true };

    /// The list that a notification says has changed.
    pub fn changed_by(method: Method) -> Self {
        Self {
            tools: method == Method::ToolsChanged,
            prompts: method == Method::PromptsChanged,
            resources: method == Method::ResourcesChanged,
        }
    }

    /// The notifications for these lists.
    pub fn methods(self) -> impl Iterator<Item = Method> {
        let all = [
            (self.tools, Method::ToolsChanged),
            (self.prompts, Method::PromptsChanged),
            (self.resources, Method::ResourcesChanged),
        ];
        all.into_iter().filter_map(|(wanted, method)| wanted.then_some(method))
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// What is in this set or in the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            tools: self.tools || other.tools,
            prompts: self.prompts || other.prompts,
            resources: self.resources || other.resources,
        }
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tools: self.tools && other.tools,
            prompts: self.prompts && other.prompts,
            resources: self.resources && other.resources,
        }
    }
}

/// What a server offers.
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offers {
    /// Which lists it has.
    pub lists: Lists,
    /// Which lists it tells the changes of.
    pub changes: Lists,
    /// It tells when a single resource changes.
    pub subscribe: bool,
    /// It completes arguments.
    pub completions: bool,
    /// It sends log messages.
    pub logging: bool,
    /// It runs calls of tools as tasks, in the way of its era.
    pub tasks: bool,
    /// What it can do beyond the core.
    pub extensions: Extensions,
}

impl Offers {
    /// What is assumed of a server that nobody asked: everything, so that it is tried. A call becomes
    /// a task only by a server's word.
    pub const EVERYTHING: Self = Self {
        lists: Lists::ALL,
        changes: Lists::ALL,
        subscribe: true,
        completions: true,
        logging: true,
        tasks: false,
        extensions: Extensions::NONE,
    };

    /// Reads the `capabilities` object of a server of an era. Each era has tasks of its own, which are
    /// nothing in the other one.
    pub fn read(capabilities: &Value, era: Era) -> Self {
        let has = |key: &str| capabilities.get(key).is_some_and(Value::is_object);
        let flag = |key: &str, flag: &str| {
            capabilities.get(key).and_then(|of| of.get(flag)) == Some(&Value::Bool(true))
        };
        let (mut tasks, mut extensions) = (false, Extensions::read(capabilities));
        match era {
            Era::Legacy => {
                extensions = extensions.without(TASKS);
                let calls = capabilities.pointer("/tasks/requests/tools/call");
                tasks |= calls.is_some_and(Value::is_object);
            }
            Era::Modern => tasks |= extensions.has(TASKS),
        }
        Self {
            lists: Lists {
                tools: has("tools"),
                prompts: has("prompts"),
                resources: has("resources"),
            },
            changes: Lists {
                tools: flag("tools", "listChanged"),
                prompts: flag("prompts", "listChanged"),
                resources: flag("resources", "listChanged"),
            },
            subscribe: flag("resources", "subscribe"),
            completions: has("completions"),
            logging: has("logging"),
            tasks,
            extensions,
        }
    }
}

/// What the gateway itself offers to clients of both eras, its extensions apart. It is always the
/// same: what is behind the gateway comes and goes, and capabilities cannot be taken back within a
/// session. Clients list prompts and resources unconditionally, and some take a refusal for the end
/// of the connection; where nothing is offered their lists are empty.
pub fn own() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
        "completions": {},
        "logging": {},
    })
}

/// What a server says that runs calls of tools as tasks in the way of 2025-11-25.
pub fn legacy_tasks() -> Value {
    json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_and_what_is_not_said_is_not_offered() {
        let read = |capabilities: Value| Offers::read(&capabilities, Era::Legacy);
        let offers = read(
            json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}, "logging": {}}),
        );
        assert_eq!(offers.lists, Lists { tools: true, prompts: false, resources: true });
        assert_eq!(offers.changes, Lists { tools: true, ..Lists::NONE });
        assert!(offers.subscribe && offers.logging && !offers.completions);
        assert_eq!(read(json!({"tools": true})), Offers::default());
        assert_eq!(read(own()), Offers::EVERYTHING);
    }

    #[test]
    fn tasks_of_the_other_era_are_none() {
        let (legacy, extension) =
            (json!({ "tasks": legacy_tasks() }), json!({ "extensions": { TASKS: {}, "x": {} } }));
        let tasks = |capabilities, era| Offers::read(capabilities, era).tasks;
        assert!(tasks(&legacy, Era::Legacy) && !tasks(&legacy, Era::Modern));
        assert!(tasks(&extension, Era::Modern) && !tasks(&extension, Era::Legacy));
        assert!(!tasks(&json!({ "tasks": { "list": {} } }), Era::Legacy));
        let left = Offers::read(&extension, Era::Legacy).extensions;
        assert!(left.has("x") && !left.has(TASKS));
    }

    #[test]
    fn sets_of_lists_name_their_notifications() {
        let both =
            Lists::changed_by(Method::ToolsChanged).or(Lists::changed_by(Method::ResourcesChanged));
        let methods: Vec<Method> = both.methods().collect();
        assert_eq!(methods, [Method::ToolsChanged, Method::ResourcesChanged]);
        assert!(Lists::changed_by(Method::Progress).is_empty());
        assert_eq!(both.and(Lists::changed_by(Method::ToolsChanged)).methods().count(), 1);
    }
}
