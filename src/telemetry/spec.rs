//! Pure: what the log is made from.

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Trace,
    /// What a developer of an upstream wants to see.
    Debug,
    /// What an operator wants to see.
    #[default]
    Info,
    /// What may need attention.
    Warn,
    /// What needs attention.
    Error,
}

impl Level {
    /// The level as a directive of a log filter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSpec {
    /// From this level on (`MCP_LOG_LEVEL`).
    pub level: Level,
    /// A whole filter in the syntax of `RUST_LOG`; it goes before `level`. Checked.
    pub directives: Option<String>,
}

impl LogSpec {
    /// The filter for [`super::log::start`]. Below `info`, what our libraries say stays at `info`:
    /// they would drown our own messages.
    pub fn filter(&self) -> String {
        let level = self.level.as_str();
        match (&self.directives, self.level) {
            (Some(directives), _) => directives.clone(),
            (None, Level::Trace | Level::Debug) => format!("info,waypost={level}"),
            (None, Level::Info | Level::Warn | Level::Error) => level.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_filter_goes_before_the_level() {
        let log = |level, directives: Option<&str>| {
            LogSpec { level, directives: directives.map(str::to_owned) }.filter()
        };
        assert_eq!(log(Level::Warn, None), "warn");
        assert_eq!(log(Level::Debug, None), "info,waypost=debug");
        assert_eq!(log(Level::Debug, Some("error")), "error");
    }
}
