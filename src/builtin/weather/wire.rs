//! Pure: what Open-Meteo is asked, and what it answers.
//!
//! Values stay as the service sent them (`Number`, `Value`): nothing is computed, rounded or filled
//! in. Every field but a place's name and coordinates may be missing.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::builtin::spec::Units;
use crate::builtin::url;

/// Places asked for by a bare name.
const COUNT: &str = "10";
/// Places asked for when the caller narrows them down ("Springfield, Oregon"): the one meant may
/// be far down the list.
const COUNT_NARROWED: &str = "100";

/// Current values: the service's name, ours.
pub(super) const CURRENT: [(&str, &str); 11] = [
    ("temperature_2m", "temperature"),
    ("apparent_temperature", "apparent_temperature"),
    ("relative_humidity_2m", "relative_humidity"),
    ("precipitation", "precipitation"),
    ("weather_code", "weather_code"),
    ("cloud_cover", "cloud_cover"),
    ("pressure_msl", "pressure"),
    ("wind_speed_10m", "wind_speed"),
    ("wind_direction_10m", "wind_direction"),
    ("wind_gusts_10m", "wind_gusts"),
    ("is_day", "is_day"),
];

/// Daily values: the service's name, ours.
pub(super) const DAILY: [(&str, &str); 7] = [
    ("weather_code", "weather_code"),
    ("temperature_2m_max", "temperature_max"),
    ("temperature_2m_min", "temperature_min"),
    ("precipitation_sum", "precipitation_sum"),
    ("precipitation_probability_max", "precipitation_probability"),
    ("sunrise", "sunrise"),
    ("sunset", "sunset"),
];

/// The geocoder's answer. No match is a missing list.
#[derive(Debug, Deserialize)]
pub(super) struct Places {
    pub(super) results: Option<Vec<Place>>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) country_code: Option<String>,
    pub(super) country: Option<String>,
    pub(super) admin1: Option<String>,
    pub(super) timezone: Option<String>,
    pub(super) population: Option<u64>,
}

impl Place {
    /// "London, England, United Kingdom"
    pub(super) fn label(&self) -> String {
        let parts = [Some(&self.name), self.admin1.as_ref(), self.country.as_ref()];
        let mut label: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        label.dedup();
        label.join(", ")
    }

    /// Whether a word after the comma names its region or country.
    fn lies_in(&self, word: &str) -> bool {
        let alias = match word.to_lowercase().as_str() {
            "uk" => "gb",
            "usa" => "us",
            _ => word,
        };
        [&self.admin1, &self.country, &self.country_code]
            .into_iter()
            .flatten()
            .any(|part| part.to_lowercase() == alias.to_lowercase())
    }
}

/// The forecast's answer.
#[derive(Debug, Deserialize)]
pub(super) struct Forecast {
    pub(super) latitude: Option<Number>,
    pub(super) longitude: Option<Number>,
    pub(super) elevation: Option<Number>,
    pub(super) utc_offset_seconds: Option<i64>,
    pub(super) timezone: Option<String>,
    #[serde(default)]
    pub(super) current_units: Map<String, Value>,
    #[serde(default)]
    pub(super) current: Map<String, Value>,
    #[serde(default)]
    pub(super) daily_units: Map<String, Value>,
    #[serde(default)]
    pub(super) daily: Map<String, Value>,
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) error: bool,
    pub(super) reason: Option<String>,
}

/// A place in the caller's words: "London", "London, Ontario, CA".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) within: Vec<String>,
    /// ISO 3166-1 alpha-2, upper case.
    pub(super) country_code: Option<String>,
}

impl Wanted {
    pub(super) fn new(city: &str, country_code: Option<String>) -> Self {
        let mut parts = city.split(',').map(str::trim).filter(|part| !part.is_empty());
        let name = parts.next().unwrap_or(city).to_owned();
        Self { name, within: parts.map(str::to_owned).collect(), country_code }
    }

    /// The same for everybody who asks for the same.
    pub(super) fn key(&self) -> String {
        let country = self.country_code.as_deref().unwrap_or("");
        let count = self.count();
        format!("{}\n{country}\n{count}", self.name.to_lowercase())
    }

    /// Those of the places that lie where they should, in the geocoder's order.
    pub(super) fn select<'a>(&self, places: &'a [Place]) -> Vec<&'a Place> {
        let fits = |place: &&Place| self.within.iter().all(|word| place.lies_in(word));
        places.iter().filter(fits).collect()
    }

    fn count(&self) -> &'static str {
        if self.within.is_empty() { COUNT } else { COUNT_NARROWED }
    }

    pub(super) fn url(&self, base: &str, api_key: Option<&str>) -> String {
        let mut query = vec![
            ("name", self.name.as_str()),
            ("count", self.count()),
            ("language", "en"),
            ("format", "json"),
        ];
        query.extend(self.country_code.as_deref().map(|code| ("countryCode", code)));
        query.extend(api_key.map(|key| ("apikey", key)));
        url::with_query(base, "/v1/search", &query)
    }
}

/// What weather is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Question {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) units: Units,
    /// Days of the daily forecast, today included: 1 to 16.
    pub(super) days: u32,
}

impl Question {
    pub(super) fn key(&self) -> String {
        let Self { latitude, longitude, units, days } = self;
        // The fifth decimal is about a metre.
        format!("{latitude:.5} {longitude:.5} {units:?} {days}")
    }

    pub(super) fn url(&self, base: &str, api_key: Option<&str>) -> String {
        let (latitude, longitude) = (self.latitude.to_string(), self.longitude.to_string());
        let (current, daily) = (names(&CURRENT), names(&DAILY));
        let days = self.days.to_string();
        let [temperature, wind, precipitation] = match self.units {
            Units::Metric => ["celsius", "kmh", "mm"],
            Units::Imperial => ["fahrenheit", "mph", "inch"],
        };
        let mut query = vec![
            ("latitude", latitude.as_str()),
            ("longitude", longitude.as_str()),
            ("current", current.as_str()),
            ("daily", daily.as_str()),
            ("timezone", "auto"),
            ("forecast_days", days.as_str()),
            ("temperature_unit", temperature),
            ("wind_speed_unit", wind),
            ("precipitation_unit", precipitation),
        ];
        query.extend(api_key.map(|key| ("apikey", key)));
        url::with_query(base, "/v1/forecast", &query)
    }
}

fn names(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(theirs, _)| *theirs).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, admin1: &str, country: &str, code: &str) -> Place {
        Place {
            name: name.to_owned(),
            latitude: 1.0,
            longitude: 2.0,
            country_code: Some(code.to_owned()),
            country: Some(country.to_owned()),
            admin1: Some(admin1.to_owned()),
            timezone: None,
            population: None,
        }
    }

    #[test]
    fn words_after_a_comma_narrow_the_places_down() {
        let places = [
            place("London", "England", "United Kingdom", "GB"),
            place("London", "Ontario", "Canada", "CA"),
            place("London", "Ohio", "United States", "US"),
        ];
        let select = |city: &str| {
            let found = Wanted::new(city, None).select(&places).into_iter();
            found.filter_map(|place| place.admin1.clone()).collect::<Vec<_>>()
        };
        assert_eq!(select("London"), ["England", "Ontario", "Ohio"]);
        assert_eq!(select("London, Ontario, CA"), ["Ontario"]);
        assert_eq!(select("London, UK"), ["England"]);
        assert_eq!(select("London,usa"), ["Ohio"]);
        assert_eq!(select("London, Texas"), [""; 0]);
    }

    #[test]
    fn a_label_says_nothing_twice() {
        assert_eq!(place("Berlin", "Berlin", "Germany", "DE").label(), "Berlin, Germany");
        let bare = Place { admin1: None, country: None, ..place("X", "", "", "") };
        assert_eq!(bare.label(), "X");
    }
}
