//! The tool against a stand-in for both services, with answers as the real ones give them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Secret;
use crate::builtin::Builtins;
use crate::builtin::spec::{BuiltinSpec, ToolSpec, Units, WeatherSpec};
use crate::builtin::standing::Standing;
use crate::builtin::testing::{Told, call_at_once, later};
use crate::egress::stub::{Answer, Seen, Stub};
use crate::telemetry::Status;

use super::NAME;

const MINUTE: Duration = Duration::from_mins(1);

fn places() -> String {
    let place = |id: u32, latitude: f64, admin1: &str, country: &str, code: &str| {
        json!({
            "id": id, "name": "London", "latitude": latitude, "longitude": -0.12574,
            "elevation": 25.0, "feature_code": "PPLC", "country_code": code, "admin1_id": 1,
            "timezone": "Europe/London", "population": 7_556_900, "country_id": 2,
            "country": country, "admin1": admin1,
        })
    };
    let bare = json!({"id": 9, "name": "London", "latitude": -1.0, "longitude": 2.0});
    let results = [
        place(1, 51.50853, "England", "United Kingdom", "GB"),
        place(2, 42.98339, "Ontario", "Canada", "CA"),
        place(3, 39.88645, "Ohio", "United States", "US"),
        place(4, 37.12898, "Kentucky", "United States", "US"),
        place(5, 35.32897, "Arkansas", "United States", "US"),
        place(6, 40.0, "Texas", "United States", "US"),
        bare,
    ];
    json!({"results": results, "generationtime_ms": 0.71}).to_string()
}

fn forecast() -> Value {
    json!({
        "latitude": 51.5, "longitude": -0.120_000_124, "generationtime_ms": 0.1,
        "utc_offset_seconds": 3_600, "timezone": "Europe/London", "timezone_abbreviation": "BST",
        "elevation": 23.0,
        "current_units": {
            "time": "iso8601", "interval": "seconds", "temperature_2m": "°C",
            "relative_humidity_2m": "%", "apparent_temperature": "°C", "is_day": "",
            "precipitation": "mm", "weather_code": "wmo code", "cloud_cover": "%",
            "pressure_msl": "hPa", "wind_speed_10m": "km/h", "wind_direction_10m": "°",
            "wind_gusts_10m": "km/h",
        },
        "current": {
            "time": "2026-03-26T16:15", "interval": 900, "temperature_2m": 18.0,
            "relative_humidity_2m": 50, "apparent_temperature": 16.4, "is_day": 1,
            "precipitation": 0.0, "weather_code": 2, "cloud_cover": 40, "pressure_msl": 1018.3,
            "wind_speed_10m": 19.0, "wind_direction_10m": 240, "wind_gusts_10m": 33.5,
        },
        "daily_units": {
            "time": "iso8601", "weather_code": "wmo code", "temperature_2m_max": "°C",
            "temperature_2m_min": "°C", "precipitation_sum": "mm",
            "precipitation_probability_max": "%", "sunrise": "iso8601", "sunset": "iso8601",
        },
        "daily": {
            "time": ["2026-03-26", "2026-03-27"], "weather_code": [61, 4],
            "temperature_2m_max": [19.1, 17.0], "temperature_2m_min": [8.0, null],
            "precipitation_sum": [1.2, 0.0], "precipitation_probability_max": [55, 5],
            "sunrise": ["2026-03-26T05:50", "2026-03-27T05:48"],
            "sunset": ["2026-03-26T18:22", "2026-03-27T18:24"],
        },
    })
}

/// Both services, answering as they should.
fn good(seen: &Seen) -> Answer {
    match seen.path.as_str() {
        "/v1/search" => Answer::ok(places()),
        "/v1/forecast" => Answer::ok(forecast().to_string()),
        other => panic!("{other}"),
    }
}

/// The real place search, and whatever forecast.
fn forecasting(answer: impl Fn() -> Answer + Send + Sync + 'static) -> impl Fn(&Seen) -> Answer {
    move |seen| {
        if seen.path == "/v1/forecast" { answer() } else { good(seen) }
    }
}

fn spec(url: &str) -> WeatherSpec {
    WeatherSpec {
        base_url: url.to_owned(),
        geocoding_url: url.to_owned(),
        ..WeatherSpec::default()
    }
}

fn tools(weather: WeatherSpec) -> Arc<Builtins> {
    Arc::new(Builtins::new(&BuiltinSpec { weather, ..BuiltinSpec::default() }))
}

async fn ask(tools: &Builtins, arguments: Value) -> Told {
    crate::builtin::testing::call(tools, NAME, arguments).await
}

async fn london(tools: &Builtins) -> Told {
    ask(tools, json!({"city": "London"})).await
}

fn count(stub: &Stub, path: &str) -> usize {
    stub.seen().iter().filter(|seen| seen.path == path).count()
}

#[tokio::test]
async fn the_services_are_asked_as_documented() {
    let stub = Stub::start(good).await;
    let told = ask(&tools(spec(&stub.url())), json!({"city": " London ", "days": 2})).await;
    assert_eq!(told.status, Status::Success);
    let seen = stub.seen();
    let pairs = |seen: &Seen| seen.query.clone();
    let expected = [("name", "London"), ("count", "10"), ("language", "en"), ("format", "json")];
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/v1/search"));
    assert_eq!(pairs(&seen[0]), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let expected = [
        ("latitude", "51.50853"),
        ("longitude", "-0.12574"),
        (
            "current",
            "temperature_2m,apparent_temperature,relative_humidity_2m,precipitation,weather_code,\
             cloud_cover,pressure_msl,wind_speed_10m,wind_direction_10m,wind_gusts_10m,is_day",
        ),
        (
            "daily",
            "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum,\
             precipitation_probability_max,sunrise,sunset",
        ),
        ("timezone", "auto"),
        ("forecast_days", "2"),
        ("temperature_unit", "celsius"),
        ("wind_speed_unit", "kmh"),
        ("precipitation_unit", "mm"),
    ];
    assert_eq!((seen[1].method.as_str(), seen[1].path.as_str()), ("GET", "/v1/forecast"));
    assert_eq!(pairs(&seen[1]), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for seen in &seen {
        assert_eq!(seen.header("user-agent"), concat!("waypost/", env!("CARGO_PKG_VERSION")));
        assert_eq!(seen.header("accept"), "application/json");
        assert!(!seen.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn a_result_says_what_the_service_said_and_nothing_else() {
    let stub = Stub::start(good).await;
    let told = ask(&tools(spec(&stub.url())), json!({"city": "London", "days": 2})).await;
    let data = &told.data;
    assert_eq!(data["location"], "London, England, United Kingdom");
    assert_eq!(data["matched"]["latitude"], 51.50853);
    assert_eq!(data["matched"]["country_code"], "GB");
    assert_eq!(data["grid"]["latitude"], 51.5);
    assert_eq!(
        data["current"],
        json!({
            "temperature": 18.0, "apparent_temperature": 16.4, "relative_humidity": 50,
            "precipitation": 0.0, "conditions": "partly cloudy", "weather_code": 2, "cloud_cover": 40,
            "pressure": 1018.3, "wind_speed": 19.0, "wind_direction": 240, "wind_gusts": 33.5,
            "is_day": true,
        })
    );
    assert_eq!(data["missing"], json!([]));
    assert_eq!(data["unit_of"]["temperature"], "°C");
    assert_eq!(data["unit_of"]["temperature_max"], "°C");
    assert_eq!(
        data["daily"],
        json!([
            {
                "date": "2026-03-26", "conditions": "slight rain", "weather_code": 61,
                "temperature_max": 19.1, "temperature_min": 8.0, "precipitation_sum": 1.2,
                "precipitation_probability": 55, "sunrise": "2026-03-26T05:50",
                "sunset": "2026-03-26T18:22",
            },
            {
                "date": "2026-03-27", "conditions": "unknown (code 4)", "weather_code": 4,
                "temperature_max": 17.0, "precipitation_sum": 0.0, "precipitation_probability": 5,
                "sunrise": "2026-03-27T05:48", "sunset": "2026-03-27T18:24",
            },
        ])
    );
    assert_eq!(data["observed_at"], "2026-03-26T16:15:00+01:00");
    let origin = [&data["source"], &data["stale"], &data["units"], &data["age_seconds"]];
    assert_eq!(origin, [&json!("live"), &json!(false), &json!("metric"), &json!(0)]);
    for words in [
        "London, England, United Kingdom (51.50853, -0.12574)",
        "Now: partly cloudy, temperature 18.0 °C, feels like 16.4 °C, humidity 50 %",
        "2026-03-27: unknown (code 4), not reported to 17.0 °C",
        "Other places of this name: London, Ontario, CA; London, Ohio, US",
    ] {
        assert!(told.text.contains(words), "{words}\n{}", told.text);
    }
}

#[tokio::test]
async fn at_most_four_other_places_are_named() {
    let stub = Stub::start(good).await;
    let told = london(&tools(spec(&stub.url()))).await;
    let others = told.data["alternatives"].as_array().unwrap();
    let regions: Vec<_> = others.iter().map(|place| place["admin1"].as_str().unwrap()).collect();
    assert_eq!(regions, ["Ontario", "Ohio", "Kentucky", "Arkansas"]);
}

#[tokio::test]
async fn every_result_names_its_source_and_licence() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub.url()));
    let fresh = london(&tools).await;
    let cached = london(&tools).await;
    stub.stop().await;
    later(11 * MINUTE).await;
    let stale = london(&tools).await;
    let given = tools_given_coordinates().await;
    assert_eq!((&cached.data["source"], &stale.data["stale"]), (&json!("cache"), &json!(true)));
    for told in [fresh, cached, stale, given] {
        assert_eq!(told.data["attribution"], "Weather data by Open-Meteo.com");
        assert_eq!(told.data["attribution_url"], "https://open-meteo.com/");
        assert_eq!(told.data["license"], "CC BY 4.0");
        let license_url = "https://creativecommons.org/licenses/by/4.0/";
        assert_eq!(told.data["license_url"], license_url);
        assert!(told.data["places_attribution"].as_str().unwrap().contains("GeoNames"));
        let words = "Weather data by Open-Meteo.com (https://open-meteo.com/), CC BY 4.0 (";
        assert!(told.text.contains(words) && told.text.contains(license_url), "{}", told.text);
    }
}

async fn tools_given_coordinates() -> Told {
    let stub = Stub::start(good).await;
    let arguments = json!({"city": "my garden", "latitude": 51, "longitude": -0.25});
    let told = ask(&tools(spec(&stub.url())), arguments).await;
    assert_eq!(count(&stub, "/v1/search"), 0);
    let seen = &stub.seen()[0];
    assert_eq!((seen.param("latitude"), seen.param("longitude")), ("51", "-0.25"));
    told
}

#[tokio::test]
async fn coordinates_are_taken_as_they_are() {
    let told = tools_given_coordinates().await;
    assert_eq!(told.data["location"], "my garden");
    assert_eq!(told.data["matched"]["from"], "arguments");
    assert_eq!(told.data["matched"]["longitude"], -0.25);
    assert_eq!(told.data["alternatives"], json!([]));
}

#[tokio::test]
async fn units_are_the_callers_else_the_configured_ones() {
    let stub = Stub::start(good).await;
    let imperial = WeatherSpec { default_units: Units::Imperial, ..spec(&stub.url()) };
    let tools = tools(imperial);
    let told = london(&tools).await;
    assert_eq!(told.data["units"], "imperial");
    ask(&tools, json!({"city": "London", "units": "metric"})).await;
    let asked = |seen: &Seen| {
        let units = ["temperature_unit", "wind_speed_unit", "precipitation_unit"];
        units.map(|name| seen.param(name).to_owned())
    };
    let seen = stub.seen();
    assert_eq!(asked(&seen[1]), ["fahrenheit", "mph", "inch"]);
    assert_eq!(asked(&seen[2]), ["celsius", "kmh", "mm"], "not the cached imperial values");
    let definition = crate::builtin::testing::definition(tools.get(NAME).unwrap());
    assert_eq!(definition["inputSchema"]["properties"]["units"]["default"], "imperial");
}

#[tokio::test]
async fn places_are_narrowed_down_by_country_and_region() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub.url()));
    let told = ask(&tools, json!({"city": "London", "country_code": "ca"})).await;
    assert_eq!(told.status, Status::Success);
    assert_eq!(stub.seen()[0].param("countryCode"), "CA");
    let told = ask(&tools, json!({"city": "London, Ontario, CA"})).await;
    assert_eq!(told.data["location"], "London, Ontario, Canada");
    assert_eq!(told.data["alternatives"], json!([]));
    assert_eq!(stub.seen()[2].param("name"), "London");
    let told = ask(&tools, json!({"city": "London, Bavaria"})).await;
    assert_eq!(told.status, Status::Error);
    let words = "no place matches `London, Bavaria`. Places of that name: London, England";
    assert!(told.text.starts_with(words), "{}", told.text);
}

#[tokio::test]
async fn no_match_says_what_was_asked_and_asks_for_no_weather() {
    for body in [r#"{"generationtime_ms":0.5}"#, r#"{"results":[]}"#, r#"{"results":null}"#] {
        let stub = Stub::start(move |_| Answer::ok(body)).await;
        let tools = tools(spec(&stub.url()));
        let told = ask(&tools, json!({"city": "Atlantis", "country_code": "GB"})).await;
        assert_eq!(told.status, Status::Error);
        let words = "no place matches `Atlantis` with country_code GB. Try ";
        assert!(told.text.starts_with(words), "{}", told.text);
        assert_eq!((count(&stub, "/v1/search"), stub.count()), (1, 1));
    }
}

#[tokio::test]
async fn a_refusal_passes_its_reason_on() {
    let reason = "Latitude must be in range of -90 to 90°. Given: 300";
    let body = json!({"error": true, "reason": reason}).to_string();
    let stub = Stub::start(forecasting(move || Answer::json(400, body.clone()))).await;
    let told = london(&tools(spec(&stub.url()))).await;
    assert_eq!(told.status, Status::Error);
    assert!(told.text.contains(&format!("(400): {reason}")), "{}", told.text);
    assert!(!told.text.contains("offline"), "{}", told.text);
    assert_eq!(count(&stub, "/v1/forecast"), 1, "no repeat");
}

#[tokio::test]
async fn a_short_limit_is_waited_out() {
    for retry_after in [Some("0"), Some("1"), None] {
        let tries = AtomicUsize::new(0);
        let stub = Stub::start(forecasting(move || {
            let limited = Answer::json(429, r#"{"error":true,"reason":"Too many requests"}"#);
            match (tries.fetch_add(1, Ordering::SeqCst), retry_after) {
                (0, Some(wait)) => limited.header("retry-after", wait),
                (0, None) => limited,
                _ => Answer::ok(forecast().to_string()),
            }
        }))
        .await;
        let told = london(&tools(spec(&stub.url()))).await;
        assert_eq!((told.status, count(&stub, "/v1/forecast")), (Status::Success, 2));
    }
}

#[tokio::test]
async fn a_long_limit_leaves_the_service_alone_until_it_is_over() {
    let limited = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&limited);
    let stub = Stub::start(forecasting(move || {
        if switch.load(Ordering::SeqCst) {
            let reason = r#"{"error":true,"reason":"Daily API request limit exceeded"}"#;
            Answer::json(429, reason).header("retry-after", "3600")
        } else {
            Answer::ok(forecast().to_string())
        }
    }))
    .await;
    let tools = tools(spec(&stub.url()));
    for _ in 0..2 {
        let told = london(&tools).await;
        assert_eq!(told.status, Status::RateLimited);
        let words =
            "(429): Daily API request limit exceeded; next try in 3600 s. Nothing is cached";
        assert!(told.text.contains(words), "{}", told.text);
        assert_eq!(count(&stub, "/v1/forecast"), 1, "the second time nobody asked");
    }
    limited.store(false, Ordering::SeqCst);
    later(60 * MINUTE).await;
    assert_eq!(london(&tools).await.status, Status::Success);
}

#[tokio::test]
async fn an_unreachable_service_and_an_empty_cache_are_told_plainly() {
    let stub = Stub::start(good).await;
    let url = stub.url();
    stub.stop().await;
    let secret = WeatherSpec { api_key: Some(Secret::new("hunter2")), ..spec(&url) };
    let tools = tools(secret);
    let told = london(&tools).await;
    assert_eq!(told.status, Status::Unavailable);
    for words in [
        "offline: ",
        "cannot be reached",
        "connection refused",
        "Nothing is cached for `London`",
        "no value is invented",
    ] {
        assert!(told.text.contains(words), "{words}: {}", told.text);
    }
    assert!(!told.text.contains("hunter2"), "{}", told.text);
    let Standing::Degraded(why) = &tools.services()[0].standing else { panic!() };
    assert!(why.contains("connection refused") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn values_are_kept_ten_minutes_and_places_much_longer() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub.url()));
    london(&tools).await;
    later(Duration::from_secs(590)).await;
    let told = ask(&tools, json!({"city": "LONDON"})).await;
    assert_eq!((told.data["source"].as_str(), stub.count()), (Some("cache"), 2));
    let age = told.data["age_seconds"].as_u64().unwrap();
    assert!((590..=600).contains(&age), "{age}");
    later(Duration::from_secs(11)).await;
    assert_eq!(london(&tools).await.data["source"], "live");
    assert_eq!((count(&stub, "/v1/search"), count(&stub, "/v1/forecast")), (1, 2));
    later(30 * 24 * 60 * MINUTE).await;
    london(&tools).await;
    assert_eq!((count(&stub, "/v1/search"), count(&stub, "/v1/forecast")), (2, 3));
}

#[tokio::test]
async fn an_old_value_stands_in_and_says_so_for_a_day() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub.url()));
    let first = london(&tools).await;
    stub.stop().await;
    later(3 * 60 * MINUTE).await;
    let told = london(&tools).await;
    assert_eq!(told.status, Status::Success);
    let data = &told.data;
    assert_eq!((&data["stale"], &data["source"]), (&json!(true), &json!("cache")));
    assert_eq!(data["observed_at"], "2026-03-26T16:15:00+01:00");
    assert_eq!(data["fetched_at"], first.data["fetched_at"]);
    let age = data["age_seconds"].as_u64().unwrap();
    assert!((10_800..10_810).contains(&age), "{age}");
    assert_eq!(data["current"], first.data["current"]);
    let reason = data["stale_reason"].as_str().unwrap();
    assert!(reason.contains("connection refused"), "{reason}");
    assert!(told.text.contains("STALE: fetched "), "{}", told.text);
    let other = ask(&tools, json!({"city": "London", "units": "imperial"})).await;
    assert_eq!(other.status, Status::Unavailable, "old values are not converted");
    later(21 * 60 * MINUTE).await;
    let told = london(&tools).await;
    assert_eq!(told.status, Status::Unavailable);
    assert!(told.text.starts_with("offline: "), "{}", told.text);
}

#[tokio::test]
async fn a_slow_service_is_a_timeout_or_an_old_value() {
    let slow = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&slow);
    let stub = Stub::start(forecasting(move || {
        let delay = if switch.load(Ordering::SeqCst) { 60_000 } else { 0 };
        Answer::ok(forecast().to_string()).after(Duration::from_millis(delay))
    }))
    .await;
    let timeout = Duration::from_secs(1);
    let tools = tools(WeatherSpec {
        tool: ToolSpec { timeout, ..ToolSpec::default() },
        ..spec(&stub.url())
    });
    assert_eq!(london(&tools).await.status, Status::Success);
    slow.store(true, Ordering::SeqCst);
    later(11 * MINUTE).await;
    let told = london(&tools).await;
    assert_eq!(told.data["stale"], true);
    let told = ask(&tools, json!({"city": "London", "units": "imperial"})).await;
    assert_eq!(told.status, Status::Timeout);
    assert!(told.text.contains("did not answer within 0."), "{}", told.text);
    assert!(told.text.contains("no value is invented"), "{}", told.text);
}

#[tokio::test]
async fn missing_values_are_listed_and_not_invented() {
    let stub = Stub::start(forecasting(|| {
        let mut body = forecast();
        body["current"] = json!({"temperature_2m": 3.5, "wind_speed_10m": null});
        body.as_object_mut().unwrap().retain(|name, _| name == "current");
        Answer::ok(body.to_string())
    }))
    .await;
    let told = london(&tools(spec(&stub.url()))).await;
    assert_eq!(told.status, Status::Success);
    assert_eq!(told.data["current"], json!({"temperature": 3.5}));
    assert_eq!(told.data["missing"].as_array().unwrap().len(), 10);
    assert_eq!(told.data["daily"], json!([]));
    assert!(told.data.get("grid").is_none() && told.data.get("observed_at").is_none());
    let words = "Now: conditions not reported, temperature 3.5, feels like not reported";
    assert!(told.text.contains(words), "{}", told.text);
}

#[tokio::test]
async fn an_answer_without_values_is_a_failure() {
    for body in ["{}", r#"{"current":{},"daily":{}}"#, "<html>", "[]", ""] {
        let stub = Stub::start(forecasting(move || Answer::ok(body))).await;
        let told = london(&tools(spec(&stub.url()))).await;
        assert_eq!(told.status, Status::Error, "{body}");
        assert!(told.text.contains("its answer cannot be read"), "{}", told.text);
    }
}

#[tokio::test]
async fn a_failing_service_is_tried_three_times() {
    let stub = Stub::start(forecasting(|| Answer::json(502, "Bad Gateway"))).await;
    let told = london(&tools(spec(&stub.url()))).await;
    assert_eq!(told.status, Status::Unavailable);
    assert!(told.text.contains("it fails on its side (502)"), "{}", told.text);
    assert_eq!(count(&stub, "/v1/forecast"), 3);
}

#[tokio::test]
async fn a_hundred_calls_at_once_ask_once() {
    let stub = Stub::start(|seen| good(seen).after(Duration::from_millis(50))).await;
    let tools = tools(spec(&stub.url()));
    let all = call_at_once(&tools, NAME, &json!({"city": "London"}), 100).await;
    assert!(all.iter().all(|told| told.data["current"]["temperature"] == 18.0));
    assert_eq!((count(&stub, "/v1/search"), count(&stub, "/v1/forecast")), (1, 1));
}

#[tokio::test]
async fn a_key_goes_along_and_to_the_hosts_for_it() {
    let stub = Stub::start(good).await;
    let paying = |url: &str| WeatherSpec { api_key: Some(Secret::new("hunter2")), ..spec(url) };
    london(&tools(paying(&stub.url()))).await;
    assert!(stub.seen().iter().all(|seen| seen.param("apikey") == "hunter2"));
    let own = super::Weather::new(&WeatherSpec {
        api_key: Some(Secret::new("hunter2")),
        ..WeatherSpec::default()
    });
    assert_eq!(own.forecast_url, "https://customer-api.open-meteo.com");
    assert_eq!(own.geocoding_url, "https://customer-geocoding-api.open-meteo.com");
    let free = super::Weather::new(&WeatherSpec::default());
    assert_eq!(free.forecast_url, "https://api.open-meteo.com");
}

#[tokio::test]
async fn bad_arguments_ask_nobody() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub.url()));
    for (arguments, says) in [
        (json!({}), "`city` is missing: expected the name of a place"),
        (json!({"city": ""}), "`city`: expected a text of 1 to 200 characters"),
        (json!({"city": "x", "units": "kelvin"}), "`units`: expected \"metric\" or \"imperial\""),
        (json!({"city": "x", "unit": "metric"}), "unknown key `unit`; did you mean `units`?"),
        (json!({"city": "x", "latitude": 1}), "`latitude` and `longitude` go together"),
        (json!({"city": "x", "latitude": 91, "longitude": 1}), "a number from -90 to 90"),
        (json!({"city": "x", "days": 17}), "`days`: expected a whole number from 1 to 16"),
        (json!({"city": "x", "country_code": "G8"}), "`country_code`: expected two letters"),
    ] {
        let told = ask(&tools, arguments).await;
        assert_eq!(told.status, Status::Invalid);
        assert!(told.text.contains(says), "{}", told.text);
    }
    assert_eq!(stub.count(), 0);
}
