//! What the built-in tools are configured with.

use std::time::Duration;

use crate::base::Secret;

/// What every built-in tool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    /// Whether the tool is offered.
    pub enabled: bool,
    /// Calls a minute; `None` = no limit.
    pub rate_limit: Option<u32>,
    /// Longest duration of a call.
    pub timeout: Duration,
    /// Why the tool is switched off although enabled (an unset variable, say).
    pub off: Option<String>,
}

impl Default for ToolSpec {
    fn default() -> Self {
        Self { enabled: true, rate_limit: None, timeout: Duration::from_secs(30), off: None }
    }
}

/// All built-in tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltinSpec {
    /// `[tools.echo]`
    pub echo: EchoSpec,
    /// `[tools.weather]`
    pub weather: WeatherSpec,
    /// `[tools.context7]`
    pub context7: Context7Spec,
    /// `[tools.gateway]`
    pub gateway: CoordinationSpec,
}

/// `[tools.gateway]`: the tools that show the gateway and call through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinationSpec {
    /// What every tool has; one minute unless configured.
    pub tool: ToolSpec,
    /// Most calls of one aggregate.
    pub max_calls: usize,
    /// Most of them at once.
    pub max_concurrency: usize,
    /// Most bytes of results in the answer to one aggregate.
    pub max_answer_bytes: usize,
}

impl Default for CoordinationSpec {
    fn default() -> Self {
        Self {
            tool: ToolSpec { timeout: Duration::from_mins(1), ..ToolSpec::default() },
            max_calls: 100,
            max_concurrency: 16,
            max_answer_bytes: 1024 * 1024,
        }
    }
}

/// `[tools.echo]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoSpec {
    /// What every tool has.
    pub tool: ToolSpec,
    /// Longest message in characters (Unicode scalar values).
    pub max_message_length: usize,
}

impl Default for EchoSpec {
    fn default() -> Self {
        Self { tool: ToolSpec::default(), max_message_length: 1_000 }
    }
}

/// Units of weather values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// °C, km/h, mm.
    #[default]
    Metric,
    /// °F, mph, inch.
    Imperial,
}

/// `[tools.weather]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeatherSpec {
    /// What every tool has.
    pub tool: ToolSpec,
    /// Units when the caller names none.
    pub default_units: Units,
    /// The forecast service, without path.
    pub base_url: String,
    /// The geocoding service, without path; default: the service's own, or `base_url` if that is set.
    pub geocoding_url: String,
    /// For commercial plans.
    pub api_key: Option<Secret>,
}

/// Open-Meteo's forecast service.
pub const WEATHER_URL: &str = "https://api.open-meteo.com";
/// Open-Meteo's geocoding service.
pub const GEOCODING_URL: &str = "https://geocoding-api.open-meteo.com";

impl Default for WeatherSpec {
    fn default() -> Self {
        Self {
            tool: ToolSpec::default(),
            default_units: Units::default(),
            base_url: WEATHER_URL.to_owned(),
            geocoding_url: GEOCODING_URL.to_owned(),
            api_key: None,
        }
    }
}

/// `[tools.context7]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context7Spec {
    /// What every tool has; 100 calls a minute unless configured.
    pub tool: ToolSpec,
    /// The API's base, overridden by `CONTEXT7_API_URL`.
    pub base_url: String,
    /// `CONTEXT7_API_KEY`; anonymous without one.
    pub api_key: Option<Secret>,
    /// Never call the service without a key.
    pub api_key_required: bool,
}

/// Context7's API.
pub const CONTEXT7_URL: &str = "https://context7.com/api";

impl Default for Context7Spec {
    fn default() -> Self {
        Self {
            tool: ToolSpec { rate_limit: Some(100), ..ToolSpec::default() },
            base_url: CONTEXT7_URL.to_owned(),
            api_key: None,
            api_key_required: false,
        }
    }
}
