//! Pure: the JSON Schema of `gateway.toml`, for editors, for `waypost schema`, and for `shape`.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::file::File;

/// The schema as a value. Draft 7, which every TOML editor knows, and without references: `shape`
/// walks it beside the file.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(without_null))
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value()
});

/// The schema as text, without a line break at its end.
pub(super) fn json() -> String {
    format!("{:#}", *SCHEMA)
}

/// Takes `null` out of what an optional key may be: TOML has none.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    for name in ["type", "enum", "anyOf"] {
        let Some(Value::Array(choices)) = object.get_mut(name) else {
            continue;
        };
        choices.retain(|choice| !is_null(choice));
        if name == "type"
            && choices.len() == 1
            && let Some(only) = choices.pop()
        {
            object.insert(name.to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf")
        && choices.len() == 1
        && let Some(Value::Object(only)) = choices.pop()
    {
        object.remove("anyOf");
        for (name, value) in only {
            object.entry(name).or_insert(value);
        }
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
}

fn is_null(choice: &Value) -> bool {
    choice.is_null() || choice == "null" || choice.get("type").is_some_and(|kind| kind == "null")
}
