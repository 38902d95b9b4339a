//! Pure: the weather as data and as text. Only what the service reported, with its source.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::builtin::spec::Units;

use super::wire::{CURRENT, DAILY, Forecast, Place};
use super::wmo;

/// Other places of the same name that a result lists, at most.
const ALTERNATIVES_MAX: usize = 4;

pub(super) const ATTRIBUTION: &str = "Weather data by Open-Meteo.com";
pub(super) const ATTRIBUTION_URL: &str = "https://open-meteo.com/";
pub(super) const LICENSE: &str = "CC BY 4.0";
pub(super) const LICENSE_URL: &str = "https://creativecommons.org/licenses/by/4.0/";
const PLACES: &str = "Place names and coordinates from GeoNames (CC BY 4.0)";
const CHANGES: &str = "Fields were renamed and weather codes put into words; values are unchanged";

/// Where and for whom.
pub(super) struct Subject<'a> {
    pub(super) matched: Matched<'a>,
    /// Further places of the same name, in the geocoder's order.
    pub(super) others: &'a [&'a Place],
    pub(super) units: Units,
}

/// The place the weather is for.
pub(super) enum Matched<'a> {
    /// As the geocoder found it.
    Found(&'a Place),
    /// Coordinates that the caller gave, under the caller's own name for them.
    Given { name: &'a str, latitude: f64, longitude: f64 },
}

/// How the values were had.
pub(super) struct Origin<'a> {
    /// From an earlier call.
    pub(super) cached: bool,
    /// Why an old value stands in for a new one; `None` = it is not old.
    pub(super) stale: Option<&'a str>,
    pub(super) fetched_at: &'a str,
    pub(super) age: Duration,
}

#[derive(Serialize)]
pub(super) struct Report<'a> {
    location: String,
    matched: Spot<'a>,
    alternatives: Vec<Spot<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<Grid<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    units: &'static str,
    unit_of: Map<String, Value>,
    current: Map<String, Value>,
    /// Current values that the service did not report.
    missing: Vec<&'static str>,
    daily: Vec<Map<String, Value>>,
    source: &'static str,
    stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
    fetched_at: &'a str,
    age_seconds: u64,
    attribution: &'static str,
    attribution_url: &'static str,
    license: &'static str,
    license_url: &'static str,
    places_attribution: &'static str,
    changes: &'static str,
}

#[derive(Serialize)]
struct Spot<'a> {
    name: String,
    latitude: f64,
    longitude: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    population: Option<u64>,
    /// Where the place was looked up.
    from: &'static str,
}

/// The middle of the grid cell that the values are for: up to some kilometres off.
#[derive(Serialize)]
struct Grid<'a> {
    latitude: &'a Number,
    longitude: &'a Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    elevation: Option<&'a Number>,
}

impl<'a> Spot<'a> {
    fn found(place: &'a Place) -> Self {
        Self {
            name: place.name.clone(),
            latitude: place.latitude,
            longitude: place.longitude,
            admin1: place.admin1.as_deref(),
            country: place.country.as_deref(),
            country_code: place.country_code.as_deref(),
            timezone: place.timezone.as_deref(),
            population: place.population,
            from: "geocoding",
        }
    }

    fn given(name: &str, latitude: f64, longitude: f64) -> Self {
        let (admin1, country, country_code, timezone, population) = (None, None, None, None, None);
        let (name, from) = (name.to_owned(), "arguments");
        Self {
            name,
            latitude,
            longitude,
            admin1,
            country,
            country_code,
            timezone,
            population,
            from,
        }
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(subject: &Subject<'a>, forecast: &'a Forecast, origin: &Origin<'a>) -> Self {
        let (location, matched) = match &subject.matched {
            Matched::Found(place) => (place.label(), Spot::found(place)),
            Matched::Given { name, latitude, longitude } => {
                ((*name).to_owned(), Spot::given(name, *latitude, *longitude))
            }
        };
        let (current, missing) = current(forecast);
        let others = subject.others.iter().take(ALTERNATIVES_MAX);
        Self {
            location,
            matched,
            alternatives: others.map(|place| Spot::found(place)).collect(),
            grid: grid(forecast),
            timezone: forecast.timezone.as_deref(),
            units: match subject.units {
                Units::Metric => "metric",
                Units::Imperial => "imperial",
            },
            unit_of: unit_of(forecast),
            current,
            missing,
            daily: daily(forecast),
            source: if origin.cached { "cache" } else { "live" },
            stale: origin.stale.is_some(),
            stale_reason: origin.stale,
            observed_at: observed_at(forecast),
            fetched_at: origin.fetched_at,
            age_seconds: origin.age.as_secs(),
            attribution: ATTRIBUTION,
            attribution_url: ATTRIBUTION_URL,
            license: LICENSE,
            license_url: LICENSE_URL,
            places_attribution: PLACES,
            changes: CHANGES,
        }
    }

    /// The report to read.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Spot { latitude, longitude, .. } = self.matched;
        writeln!(out, "{} ({latitude}, {longitude})", self.location)?;
        if let Some(reason) = self.stale_reason {
            let (fetched_at, age) = (self.fetched_at, self.age_seconds);
            writeln!(
                out,
                "STALE: fetched {fetched_at}, {age} s ago; a new value cannot be had: {reason}"
            )?;
        }
        self.write_current(out)?;
        for day in &self.daily {
            self.write_day(out, day)?;
        }
        if let Some(grid) = &self.grid {
            writeln!(
                out,
                "Values are for the grid cell at {}, {}.",
                grid.latitude, grid.longitude
            )?;
        }
        if !self.alternatives.is_empty() {
            let others: Vec<_> = self.alternatives.iter().map(Spot::label).collect();
            writeln!(out, "Other places of this name: {}", others.join("; "))?;
        }
        write!(
            out,
            "{ATTRIBUTION} ({ATTRIBUTION_URL}), {LICENSE} ({LICENSE_URL}). {PLACES}. {CHANGES}."
        )
    }

    fn write_current(&self, out: &mut String) -> std::fmt::Result {
        if self.current.is_empty() {
            return writeln!(out, "Now: the service reported no current values.");
        }
        let conditions = self.current.get("conditions").and_then(Value::as_str);
        write!(out, "Now: {}", conditions.unwrap_or("conditions not reported"))?;
        for (name, label) in [
            ("temperature", "temperature"),
            ("apparent_temperature", "feels like"),
            ("relative_humidity", "humidity"),
            ("wind_speed", "wind"),
            ("wind_gusts", "gusts"),
            ("wind_direction", "wind from"),
            ("precipitation", "precipitation"),
            ("cloud_cover", "cloud cover"),
            ("pressure", "pressure"),
        ] {
            match self.current.get(name) {
                Some(value) => write!(out, ", {label} {}", self.with_unit(name, value))?,
                None => write!(out, ", {label} not reported")?,
            }
        }
        match &self.observed_at {
            Some(at) => writeln!(out, " (observed {at})"),
            None => writeln!(out),
        }
    }

    fn write_day(&self, out: &mut String, day: &Map<String, Value>) -> std::fmt::Result {
        let word = |name| day.get(name).and_then(Value::as_str).unwrap_or("not reported");
        let value = |name| match day.get(name) {
            Some(value) => self.with_unit(name, value),
            None => "not reported".to_owned(),
        };
        writeln!(
            out,
            "{}: {}, {} to {}, precipitation {} (probability {}), sun {} to {}",
            word("date"),
            word("conditions"),
            value("temperature_min"),
            value("temperature_max"),
            value("precipitation_sum"),
            value("precipitation_probability"),
            word("sunrise"),
            word("sunset"),
        )
    }

    /// "18.0 °C", or the bare value where the service names no unit.
    fn with_unit(&self, name: &str, value: &Value) -> String {
        match self.unit_of.get(name).and_then(Value::as_str) {
            Some(unit) if !unit.is_empty() => format!("{value} {unit}"),
            _ => value.to_string(),
        }
    }
}

impl Spot<'_> {
    fn label(&self) -> String {
        let parts = [Some(self.name.as_str()), self.admin1, self.country_code];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn current(forecast: &Forecast) -> (Map<String, Value>, Vec<&'static str>) {
    let (mut values, mut missing) = (Map::new(), Vec::new());
    for (theirs, ours) in CURRENT {
        match forecast.current.get(theirs).filter(|value| value.is_number()) {
            Some(value) => put(&mut values, ours, value),
            None => missing.push(ours),
        }
    }
    (values, missing)
}

fn daily(forecast: &Forecast) -> Vec<Map<String, Value>> {
    let column = |name| forecast.daily.get(name).and_then(Value::as_array);
    let Some(dates) = column("time") else {
        return Vec::new();
    };
    let day = |(index, date): (usize, &Value)| {
        let mut values = Map::new();
        values.insert("date".to_owned(), date.clone());
        for (theirs, ours) in DAILY {
            let value = column(theirs).and_then(|column| column.get(index));
            if let Some(value) = value.filter(|value| !value.is_null()) {
                put(&mut values, ours, value);
            }
        }
        values
    };
    dates.iter().enumerate().map(day).collect()
}

/// A weather code also in words, day or night as yes or no, all else as it came.
fn put(values: &mut Map<String, Value>, name: &str, value: &Value) {
    let value = match (name, value.as_u64()) {
        ("weather_code", Some(code)) => {
            let words = wmo::words(code).map(str::to_owned);
            let words = words.unwrap_or_else(|| format!("unknown (code {code})"));
            values.insert("conditions".to_owned(), Value::from(words));
            value.clone()
        }
        ("is_day", Some(day)) => Value::from(day == 1),
        _ => value.clone(),
    };
    values.insert(name.to_owned(), value);
}

fn unit_of(forecast: &Forecast) -> Map<String, Value> {
    let current = CURRENT.iter().map(|names| (names, &forecast.current_units));
    let daily = DAILY.iter().map(|names| (names, &forecast.daily_units));
    let named = current.chain(daily).filter_map(|((theirs, ours), units)| {
        // These have no unit but a format.
        let plain = matches!(*ours, "weather_code" | "is_day" | "sunrise" | "sunset");
        let unit = units.get(*theirs).filter(|unit| unit.is_string() && !plain)?;
        Some(((*ours).to_owned(), unit.clone()))
    });
    named.collect()
}

fn grid(forecast: &Forecast) -> Option<Grid<'_>> {
    let (latitude, longitude) = (forecast.latitude.as_ref()?, forecast.longitude.as_ref()?);
    Some(Grid { latitude, longitude, elevation: forecast.elevation.as_ref() })
}

/// The service's local time of the current values, as RFC 3339.
fn observed_at(forecast: &Forecast) -> Option<String> {
    let local = forecast.current.get("time")?.as_str()?;
    // "2026-03-26T16:15"
    let Some(offset) = forecast.utc_offset_seconds.filter(|_| local.len() == 16) else {
        return Some(local.to_owned());
    };
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    Some(format!("{local}:00{sign}{:02}:{:02}", minutes / 60, minutes % 60))
}
