//! Pure: how the tool presents itself: arguments and results.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::builtin::reply::{self, Definition};
use crate::builtin::spec::Units;

use super::NAME;

/// The tool object of `tools/list`.
pub(super) fn definition(default_units: Units) -> Bytes {
    let default = match default_units {
        Units::Metric => "metric",
        Units::Imperial => "imperial",
    };
    Definition {
        name: NAME,
        title: "Weather",
        description: "Current weather and daily forecast of a place, from Open-Meteo \
                      (non-commercial use; CC BY 4.0). Says which place was matched and which \
                      others bear its name, and whether the values are new, cached or stale."
            .to_owned(),
        input: input_schema(default),
        output: output_schema(),
        annotations: reply::looks_up(),
    }
    .into_bytes()
}

fn input_schema(default_units: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            "city": {
                "type": "string",
                "description": "Name of the place or its postcode; region or country may follow \
                                after a comma (\"London, Ontario\"). With coordinates: only a \
                                label.",
                "minLength": 1,
                "maxLength": 200,
            },
            "units": {
                "type": "string",
                "enum": ["metric", "imperial"],
                "description": "metric: °C, km/h, mm; imperial: °F, mph, inch.",
                "default": default_units,
            },
            "country_code": {
                "type": "string",
                "description": "Only places of this country: two letters (ISO 3166-1), such as GB.",
                "minLength": 2,
                "maxLength": 2,
            },
            "latitude": {
                "type": "number",
                "description": "Exact place, together with longitude: no search by name.",
                "minimum": -90,
                "maximum": 90,
            },
            "longitude": {
                "type": "number",
                "description": "Exact place, together with latitude.",
                "minimum": -180,
                "maximum": 180,
            },
            "days": {
                "type": "integer",
                "description": "Days of the daily forecast, today included.",
                "minimum": 1,
                "maximum": 16,
                "default": 1,
            },
        },
        "required": ["city"],
        "additionalProperties": false,
    })
}

fn output_schema() -> Value {
    let spot = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "latitude": { "type": "number" },
            "longitude": { "type": "number" },
            "admin1": { "type": "string" },
            "country": { "type": "string" },
            "country_code": { "type": "string" },
            "timezone": { "type": "string" },
            "population": { "type": "integer" },
            "from": { "type": "string", "enum": ["geocoding", "arguments"] },
        },
        "required": ["name", "latitude", "longitude", "from"],
    });
    let values = json!({
        "type": "object",
        "description": "What the service reported, unchanged; `conditions` is the weather code in \
                        words. What it did not report is not here.",
    });
    json!({
        "type": "object",
        "properties": {
            "location": { "type": "string", "description": "The matched place in full." },
            "matched": spot,
            "alternatives": { "type": "array", "items": spot },
            "grid": {
                "type": "object",
                "description": "The grid cell that the values are for: up to some km off.",
            },
            "timezone": { "type": "string" },
            "units": { "type": "string", "enum": ["metric", "imperial"] },
            "unit_of": { "type": "object", "description": "The unit of each value." },
            "current": values,
            "missing": { "type": "array", "items": { "type": "string" } },
            "daily": { "type": "array", "items": values },
            "source": { "type": "string", "enum": ["live", "cache"] },
            "stale": {
                "type": "boolean",
                "description": "An old value stands in because a new one cannot be had.",
            },
            "stale_reason": { "type": "string" },
            "observed_at": { "type": "string", "description": "Local time of the current values." },
            "fetched_at": { "type": "string", "description": "When the service was asked, UTC." },
            "age_seconds": { "type": "integer", "minimum": 0 },
            "attribution": { "type": "string" },
            "attribution_url": { "type": "string" },
            "license": { "type": "string" },
            "license_url": { "type": "string" },
            "places_attribution": { "type": "string" },
            "changes": { "type": "string" },
        },
        "required": [
            "location", "matched", "alternatives", "units", "unit_of", "current", "missing",
            "daily", "source", "stale", "fetched_at", "age_seconds", "attribution",
            "attribution_url", "license", "license_url", "places_attribution", "changes",
        ],
        "additionalProperties": false,
    })
}
