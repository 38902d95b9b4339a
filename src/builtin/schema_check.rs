//! Pure, for tests: checks a value against the few JSON Schema keywords that our schemas use, and
//! refuses a schema that uses others.

use serde_json::Value;

/// Keywords that constrain nothing here.
const SILENT: [&str; 9] = [
    "description",
    "default",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maximum",
    "minimum",
    "required",
];

/// What is wrong with `value`, or nothing.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "$", &mut found);
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "type" => {
                if !is_a(value, rule.as_str().unwrap()) {
                    found.push(format!("{path} is no {rule}: {value}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    found.push(format!("{path} is none of {rule}: {value}"));
                }
            }
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(inner, value, &format!("{path}.{name}"), found);
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, value, &format!("{path}[{index}]"), found);
                }
            }
            "additionalProperties" => {
                assert_eq!(*rule, Value::Bool(false));
                let known = schema["properties"].as_object().unwrap();
                for name in value.as_object().unwrap().keys() {
                    if !known.contains_key(name) {
                        found.push(format!("{path}.{name} is unknown"));
                    }
                }
            }
            other => assert!(SILENT.contains(&other), "unknown keyword {other}"),
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{path}.{name} is missing"));
        }
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("unknown type {other}"),
    }
}
