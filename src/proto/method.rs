//! Pure: the methods of both eras and what is fixed about each.

use super::era::Era;

/// A method of the protocol, or another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `initialize` (legacy)
    Initialize,
    /// `notifications/initialized` (legacy)
    Initialized,
    /// `ping` (legacy)
    Ping,
    /// `server/discover` (modern)
    Discover,
    /// `tools/list`
    ToolsList,
    /// `tools/call`
    ToolsCall,
    /// `resources/list`
    ResourcesList,
    /// `resources/templates/list`
    TemplatesList,
    /// `resources/read`
    ResourcesRead,
    /// `resources/subscribe` (legacy)
    ResourcesSubscribe,
    /// `resources/unsubscribe` (legacy)
    ResourcesUnsubscribe,
    /// `prompts/list`
    PromptsList,
    /// `prompts/get`
    PromptsGet,
    /// `completion/complete`
    Complete,
    /// `logging/setLevel` (legacy)
    SetLevel,
    /// `subscriptions/listen` (modern)
    Listen,
    /// `notifications/cancelled`
    Cancelled,
    /// `notifications/progress`
    Progress,
    /// `notifications/message`
    LogMessage,
    /// `notifications/tools/list_changed`
    ToolsChanged,
    /// `notifications/prompts/list_changed`
    PromptsChanged,
    /// `notifications/resources/list_changed`
    ResourcesChanged,
    /// `notifications/resources/updated`
    ResourceUpdated,
    /// `notifications/subscriptions/acknowledged` (modern)
    Acknowledged,
    /// `notifications/roots/list_changed` (legacy)
    RootsChanged,
    /// `roots/list` (legacy, from the server)
    RootsList,
    /// `sampling/createMessage` (legacy, from the server)
    Sampling,
    /// `elicitation/create` (legacy, from the server)
    Elicit,
    /// `notifications/elicitation/complete` (2025-11-25)
    ElicitationComplete,
    /// `tasks/get`
    TasksGet,
    /// `tasks/cancel`
    TasksCancel,
    /// `tasks/result` (2025-11-25)
    TasksResult,
    /// `tasks/list` (2025-11-25)
    TasksList,
    /// `tasks/update` (the tasks extension)
    TasksUpdate,
    /// `notifications/tasks/status` (2025-11-25)
    TaskStatus,
    /// `notifications/tasks` (the tasks extension)
    TaskChanged,
    /// Any other name.
    #[default]
    Other,
}

/// Every known method with its name on the wire.
const NAMES: &[(Method, &str)] = &[
    (Method::Initialize, "initialize"),
    (Method::Initialized, "notifications/initialized"),
    (Method::Ping, "ping"),
    (Method::Discover, "server/discover"),
    (Method::ToolsList, "tools/list"),
    (Method::ToolsCall, "tools/call"),
    (Method::ResourcesList, "resources/list"),
    (Method::TemplatesList, "resources/templates/list"),
    (Method::ResourcesRead, "resources/read"),
    (Method::ResourcesSubscribe, "resources/subscribe"),
    (Method::ResourcesUnsubscribe, "resources/unsubscribe"),
    (Method::PromptsList, "prompts/list"),
    (Method::PromptsGet, "prompts/get"),
    (Method::Complete, "completion/complete"),
    (Method::SetLevel, "logging/setLevel"),
    (Method::Listen, "subscriptions/listen"),
    (Method::Cancelled, "notifications/cancelled"),
    (Method::Progress, "notifications/progress"),
    (Method::LogMessage, "notifications/message"),
    (Method::ToolsChanged, "notifications/tools/list_changed"),
    (Method::PromptsChanged, "notifications/prompts/list_changed"),
    (Method::ResourcesChanged, "notifications/resources/list_changed"),
    (Method::ResourceUpdated, "notifications/resources/updated"),
    (Method::Acknowledged, "notifications/subscriptions/acknowledged"),
    (Method::RootsChanged, "notifications/roots/list_changed"),
    (Method::RootsList, "roots/list"),
    (Method::Sampling, "sampling/createMessage"),
    (Method::Elicit, "elicitation/create"),
    (Method::ElicitationComplete, "notifications/elicitation/complete"),
    (Method::TasksGet, "tasks/get"),
    (Method::TasksCancel, "tasks/cancel"),
    (Method::TasksResult, "tasks/result"),
    (Method::TasksList, "tasks/list"),
    (Method::TasksUpdate, "tasks/update"),
    (Method::TaskStatus, "notifications/tasks/status"),
    (Method::TaskChanged, "notifications/tasks"),
];

/// Which member of `params` says what a request is about, and is mirrored in `Mcp-Name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKey {
    /// `params.name`
    Name,
    /// `params.uri`
    Uri,
    /// `params.taskId`
    TaskId,
}

impl Method {
    /// The method of this name.
    pub fn from_name(name: &str) -> Self {
        // Calls outnumber everything else by far.
        if name == "tools/call" {
            return Self::ToolsCall;
        }
        NAMES.iter().find(|(_, known)| *known == name).map_or(Self::Other, |(method, _)| *method)
    }

    /// Its name on the wire; `_other` for names the gateway does not know (metrics label).
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(known, _)| *known == self).map_or("_other", |(_, name)| *name)
    }

    /// All known methods.
    pub fn known() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(method, _)| *method)
    }

    /// Whether the gateway serves this request to clients of the given era. What a modern client
    /// may not send gets 404 and -32601 (specification 2026-07-28, basic/transports).
    pub fn served_to(self, era: Era) -> bool {
        match self {
            Self::Initialize
            | Self::Ping
            | Self::SetLevel
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::TasksResult
            | Self::TasksList => era == Era::Legacy,
            Self::Discover | Self::Listen | Self::TasksUpdate => era == Era::Modern,
            Self::ToolsList
            | Self::ToolsCall
            | Self::ResourcesList
            | Self::TemplatesList
            | Self::ResourcesRead
            | Self::PromptsList
            | Self::PromptsGet
            | Self::Complete
            | Self::TasksGet
            | Self::TasksCancel => true,
            _ => false,
        }
    }

    /// Whether it is about a task that a call of a tool became.
    pub fn is_of_tasks(self) -> bool {
        matches!(
            self,
            Self::TasksGet
                | Self::TasksCancel
                | Self::TasksResult
                | Self::TasksList
                | Self::TasksUpdate
        )
    }

    /// The member of `params` that is mirrored in `Mcp-Name` (2026-07-28, "Request Metadata"; the
    /// tasks extension, "Routing Headers").
    pub fn subject_key(self) -> Option<SubjectKey> {
        match self {
            Self::TasksGet | Self::TasksCancel | Self::TasksResult | Self::TasksUpdate => {
                Some(SubjectKey::TaskId)
            }
            Self::ToolsCall | Self::PromptsGet => Some(SubjectKey::Name),
            Self::ResourcesRead => Some(SubjectKey::Uri),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for method in Method::known() {
            assert_eq!(Method::from_name(method.name()), method);
        }
        assert_eq!(Method::from_name("Tools/Call"), Method::Other);
    }
}
