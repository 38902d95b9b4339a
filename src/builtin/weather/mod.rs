//! `get_weather`: current weather and a daily forecast from Open-Meteo.
//!
//! Two lookups: the place by its name, then the weather of its coordinates. Both are kept for a
//! while and shared by calls that ask for the same. What the service did not say is not said here.

mod report;
mod schema;
#[cfg(test)]
mod tests;
mod wire;
mod wmo;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::base::{Fault, Kind, Secret, clock};
use crate::telemetry::Status;

use super::args::{self, Args, required};
use super::cache::{Bounds, Held, Life};
use super::fetch::{Answer, Fetcher, unix_now};
use super::reply;
use super::shared::{Fetched, Shared};
use super::spec::{GEOCODING_URL, Units, WEATHER_URL, WeatherSpec};
use super::standing::{Gate, Shut, Standing};
use super::text::push;
use super::wait;
use super::{Builtin, CallFuture, Host, ToolReply};

use self::report::{Matched, Origin, Report, Subject};
use self::wire::{Forecast, Place, Places, Question, Refusal, Wanted};

pub(super) const NAME: &str = "get_weather";

/// Places do not move.
const PLACE_LIFE: Life =
    Life { fresh: Duration::from_hours(30 * 24), keep: Duration::from_hours(90 * 24) };
/// A name nobody knows may be known tomorrow.
const NO_PLACE_LIFE: Life = Life { fresh: Duration::from_mins(10), keep: Duration::from_mins(10) };
/// The service's own values change every 15 minutes. After a day they say nothing about now.
const WEATHER_LIFE: Life = Life { fresh: Duration::from_mins(10), keep: Duration::from_hours(24) };
const PLACE_BOUNDS: Bounds = Bounds { entries_max: 1_024, bytes_max: 1 << 20 };
const WEATHER_BOUNDS: Bounds = Bounds { entries_max: 512, bytes_max: 1 << 20 };

/// The longest wait that a 429 may ask for to be waited out within the call.
const LIMITED_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long the service is left alone after a 429 that names no time.
const LIMITED_WAIT: Duration = Duration::from_mins(1);

const KEYS: [&str; 6] = ["city", "units", "country_code", "latitude", "longitude", "days"];

/// Why there is no new answer.
#[derive(Clone, Debug)]
enum Trouble {
    /// No connection, no answer in time, or no whole one.
    Unreachable(Fault),
    /// It limits us: not called, or called and refused.
    Limited(Shut),
    /// It does not accept the question.
    Refused { status: StatusCode, reason: String },
    /// It fails on its side.
    Failing { status: StatusCode, reason: String },
    /// What it said is not what it says it says.
    Garbled(String),
}

impl Trouble {
    fn text(&self) -> String {
        match self {
            Self::Unreachable(fault) => format!("it cannot be reached: {fault}"),
            Self::Limited(shut) => shut.text(),
            Self::Refused { status, reason } => {
                format!("it refused the request ({}): {reason}", status.as_u16())
            }
            Self::Failing { status, reason } => {
                format!("it fails on its side ({}): {reason}", status.as_u16())
            }
            Self::Garbled(what) => format!("its answer cannot be read: {what}"),
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Unreachable(fault) if fault.kind == Kind::Timeout => Status::Timeout,
            Self::Unreachable(_) | Self::Failing { .. } => Status::Unavailable,
            Self::Limited(_) => Status::RateLimited,
            Self::Refused { .. } | Self::Garbled(_) => Status::Error,
        }
    }

    /// Whether an older answer to the same question is better than none.
    fn old_will_do(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// A forecast and when it came (RFC 3339).
#[derive(Clone, Debug)]
struct Kept {
    forecast: Arc<Forecast>,
    fetched_at: Arc<str>,
}

/// The tool.
#[derive(Debug)]
pub(super) struct Weather {
    definition: Bytes,
    default_units: Units,
    timeout: Duration,
    forecast_url: String,
    geocoding_url: String,
    api_key: Option<Secret>,
    fetcher: Fetcher,
    gate: Mutex<Gate>,
    places: Shared<Arc<[Place]>, Trouble>,
    forecasts: Shared<Kept, Trouble>,
}

/// The arguments, checked.
struct Request {
    city: String,
    country_code: Option<String>,
    coordinates: Option<(f64, f64)>,
    units: Units,
    days: u32,
}

impl Weather {
    pub(super) fn new(spec: &WeatherSpec) -> Self {
        let key = spec.api_key.as_ref();
        Self {
            definition: schema::definition(spec.default_units),
            default_units: spec.default_units,
            timeout: spec.tool.timeout,
            forecast_url: service_url(&spec.base_url, WEATHER_URL, key.is_some()),
            geocoding_url: service_url(&spec.geocoding_url, GEOCODING_URL, key.is_some()),
            api_key: spec.api_key.clone(),
            fetcher: Fetcher::new(None, LIMITED_WAIT_MAX),
            gate: Mutex::default(),
            places: Shared::new(PLACE_BOUNDS),
            forecasts: Shared::new(WEATHER_BOUNDS),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.gate.lock().standing()
    }

    async fn answer(&self, arguments: &[u8]) -> Result<ToolReply, ToolReply> {
        let request = self.request(arguments)?;
        // Ends before the tool's own time does: there must be time to look for an older answer.
        let deadline = clock::now() + self.timeout * 9 / 10;
        let Request { units, days, .. } = request;
        if let Some((latitude, longitude)) = request.coordinates {
            let matched = Matched::Given { name: &request.city, latitude, longitude };
            let question = Question { latitude, longitude, units, days };
            return self
                .weather(question, &Subject { matched, others: &[], units }, deadline)
                .await;
        }
        let wanted = Wanted::new(&request.city, request.country_code.clone());
        let places = self.places(&wanted, &request.city, deadline).await?;
        let selected = wanted.select(&places);
        let Some((place, others)) = selected.split_first() else {
            return Err(no_match(&request, &places));
        };
        let (latitude, longitude) = (place.latitude, place.longitude);
        let question = Question { latitude, longitude, units, days };
        self.weather(question, &Subject { matched: Matched::Found(place), others, units }, deadline)
            .await
    }

    fn request(&self, arguments: &[u8]) -> Result<Request, ToolReply> {
        let args = Args::read(arguments, &KEYS)?;
        let city = required(args.text("city", 1..=200)?, "city", "the name of a place")?;
        let country_code = args.text("country_code", 2..=2)?.map(|code| code.to_ascii_uppercase());
        if country_code.as_ref().is_some_and(|code| !code.bytes().all(|c| c.is_ascii_uppercase())) {
            return Err(args::refused("`country_code`: expected two letters, such as GB").into());
        }
        let latitude = args.number("latitude", -90.0..=90.0)?;
        let longitude = args.number("longitude", -180.0..=180.0)?;
        if latitude.is_some() != longitude.is_some() {
            let text = "`latitude` and `longitude` go together: give both or none";
            return Err(args::refused(text).into());
        }
        let choices = [("metric", Units::Metric), ("imperial", Units::Imperial)];
        let units = args.choice("units", &choices)?.unwrap_or(self.default_units);
        let days = args.integer("days", 1..=16)?.unwrap_or(1);
        Ok(Request { city, country_code, coordinates: latitude.zip(longitude), units, days })
    }

    async fn places(
        &self,
        wanted: &Wanted,
        city: &str,
        deadline: Instant,
    ) -> Result<Arc<[Place]>, ToolReply> {
        let key = wanted.key();
        let fetch = async {
            let url = wanted.url(&self.geocoding_url, self.key());
            let (places, bytes): (Places, usize) = self.fetch(&url, deadline).await?;
            let places = places.results.unwrap_or_default();
            let life = if places.is_empty() { NO_PLACE_LIFE } else { PLACE_LIFE };
            Ok(Fetched { value: Arc::from(places), bytes, life })
        };
        match self.places.get(&key, fetch).await {
            Ok(held) => Ok(held.value),
            Err(trouble) => match self.places.any_age(&key).filter(|_| trouble.old_will_do()) {
                Some(held) => Ok(held.value),
                None => Err(unavailable(&trouble, city)),
            },
        }
    }

    async fn weather(
        &self,
        question: Question,
        subject: &Subject<'_>,
        deadline: Instant,
    ) -> Result<ToolReply, ToolReply> {
        let key = question.key();
        let fetch = async {
            let url = question.url(&self.forecast_url, self.key());
            let (forecast, bytes): (Forecast, usize) = self.fetch(&url, deadline).await?;
            if forecast.current.is_empty() && forecast.daily.is_empty() {
                return Err(Trouble::Garbled("it holds no weather values".to_owned()));
            }
            let fetched_at = clock::wall_rfc3339().into();
            let value = Kept { forecast: Arc::new(forecast), fetched_at };
            // Parsed JSON takes several times the room of its text.
            Ok(Fetched { value, bytes: bytes.saturating_mul(4), life: WEATHER_LIFE })
        };
        match self.forecasts.get(&key, fetch).await {
            Ok(held) => Ok(report(subject, &held, None)),
            Err(trouble) => match self.forecasts.any_age(&key).filter(|_| trouble.old_will_do()) {
                Some(held) => Ok(report(subject, &held, Some(&trouble.text()))),
                None => Err(unavailable(&trouble, subject.name())),
            },
        }
    }

    /// One lookup, and what it says about the service.
    async fn fetch<T: DeserializeOwned>(
        &self,
        url: &str,
        deadline: Instant,
    ) -> Result<(T, usize), Trouble> {
        self.gate.lock().check(clock::now()).map_err(Trouble::Limited)?;
        let outcome = match self.fetcher.get(url, deadline).await {
            Ok(answer) => read(&answer),
            Err(fault) => Err(Trouble::Unreachable(fault)),
        };
        let mut gate = self.gate.lock();
        match &outcome {
            Ok(_) | Err(Trouble::Refused { .. }) => gate.answered(),
            Err(Trouble::Limited(Shut { why, wait })) => {
                gate.shut(why, wait.map(|wait| clock::now() + wait));
            }
            Err(trouble) => gate.failed(&trouble.text()),
        }
        outcome
    }

    fn key(&self) -> Option<&str> {
        self.api_key.as_ref().map(Secret::expose)
    }
}

impl Builtin for Weather {
    fn name(&self) -> &str {
        NAME
    }

    fn definition(&self) -> &Bytes {
        &self.definition
    }

    fn call<'a>(&'a self, arguments: &'a [u8], _host: &'a dyn Host) -> CallFuture<'a> {
        Box::pin(async move { Ok(self.answer(arguments).await.unwrap_or_else(|refusal| refusal)) })
    }
}

impl Subject<'_> {
    fn name(&self) -> &str {
        match &self.matched {
            Matched::Found(place) => &place.name,
            Matched::Given { name, .. } => name,
        }
    }
}

/// Paying customers have hosts of their own; a configured address is used as it is.
fn service_url(configured: &str, public: &str, paying: bool) -> String {
    match public.strip_prefix("https://") {
        Some(host) if paying && configured == public => format!("https://customer-{host}"),
        _ => configured.to_owned(),
    }
}

/// What an answer means.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<(T, usize), Trouble> {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = refusal.reason.unwrap_or_else(|| "no reason given".to_owned());
    let status = answer.status;
    match status {
        StatusCode::OK if !refusal.error => match serde_json::from_slice(&answer.body) {
            Ok(value) => Ok((value, answer.body.len())),
            Err(error) => Err(Trouble::Garbled(error.to_string())),
        },
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = wait::wait(&answer.headers, unix_now()).unwrap_or(LIMITED_WAIT);
            let why = format!("it limits our requests (429): {reason}");
            Err(Trouble::Limited(Shut { why, wait: Some(wait) }))
        }
        _ if status.is_server_error() => Err(Trouble::Failing { status, reason }),
        _ => Err(Trouble::Refused { status, reason }),
    }
}

fn report(subject: &Subject<'_>, held: &Held<Kept>, trouble: Option<&str>) -> ToolReply {
    let origin = Origin {
        cached: held.cached,
        stale: trouble,
        fetched_at: &held.value.fetched_at,
        age: held.age,
    };
    let report = Report::new(subject, &held.value.forecast, &origin);
    reply::success(&report.text(), &report)
}

fn unavailable(trouble: &Trouble, what: &str) -> ToolReply {
    let cause = trouble.text();
    let offline = if matches!(trouble, Trouble::Unreachable(_)) { "offline: " } else { "" };
    let mut text = format!("{offline}no weather from Open-Meteo: {cause}");
    if trouble.old_will_do() {
        let nothing = format_args!(". Nothing is cached for `{what}`, and no value is invented.");
        push(&mut text, nothing);
    }
    reply::failure(trouble.status(), &text)
}

/// Nothing by that name; `others` are places of the name that lie elsewhere.
fn no_match(request: &Request, others: &[Place]) -> ToolReply {
    let Request { city, country_code, .. } = request;
    let mut text = format!("no place matches `{city}`");
    if let Some(code) = country_code {
        push(&mut text, format_args!(" with country_code {code}"));
    }
    if others.is_empty() {
        text.push_str(
            ". Try another spelling, the local or English name, a larger place nearby, or give \
             latitude and longitude.",
        );
    } else {
        let labels: Vec<_> = others.iter().take(5).map(Place::label).collect();
        push(&mut text, format_args!(". Places of that name: {}.", labels.join("; ")));
    }
    reply::failure(Status::Error, &text)
}
