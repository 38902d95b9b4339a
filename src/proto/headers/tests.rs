//! The specification's own examples, its rules one by one, and round trips.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

// === Values ===

#[test]
fn the_specifications_examples_of_encoding() {
    let cases = [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ];
    for (value, header) in cases {
        assert_eq!(encode_value(value), header);
        assert_eq!(decode_value(header.as_bytes()).unwrap(), value);
    }
}

#[test]
fn only_what_must_be_encoded_is() {
    for plain in ["", "a b\tc", "=?base64?", "=?BASE64?eA==?=", "x=?base64?eA==?=", "a?=", "~!"] {
        assert_eq!(encode_value(plain), plain);
        assert_eq!(decode_value(plain.as_bytes()).unwrap(), plain);
    }
    for other in ["a ", "\ta", "\u{7f}", "\0", "é", "a\r\nEvil: 1", "=?base64??=", "=?base64?="] {
        assert!(encode_value(other).starts_with("=?base64?"), "{other:?}");
    }
}

#[test]
fn bad_values_are_refused() {
    let cases: [(&[u8], ValueError); 8] = [
        (b"=?base64?e?=", ValueError::Base64),
        (b"=?base64?eA?=", ValueError::Base64),
        (b"=?base64?eB==?=", ValueError::Base64),
        (b"=?base64?e A=?=", ValueError::Base64),
        (b"=?base64?_-8=?=", ValueError::Base64),
        (b"=?base64?/w==?=", ValueError::Utf8),
        (b"caf\xc3\xa9", ValueError::Character),
        (b"a\x01b", ValueError::Character),
    ];
    for (header, want) in cases {
        assert_eq!(decode_value(header).unwrap_err(), want, "{header:?}");
    }
}

#[test]
fn markers_are_case_sensitive() {
    let header = "=?Base64?eA==?=";
    assert_eq!(decode_value(header.as_bytes()).unwrap(), header);
    assert!(!check_name(header.as_bytes(), "x"));
    assert!(check_name(b"=?base64?eA==?=", "x"));
}

#[test]
fn names_are_compared_as_values() {
    assert!(check_name(b" echo\t", "echo"));
    assert!(!check_name(b"echo", "Echo"));
    assert!(!check_name(b"echo", "echo "));
    assert!(check_name(encode_value("écho").as_bytes(), "écho"));
}

proptest! {
    #[test]
    fn every_value_travels(value in any::<String>()) {
        let encoded = encode_value(&value);
        prop_assert!(HeaderValue::from_str(&encoded).is_ok());
        prop_assert_eq!(decode_value(encoded.as_bytes()).unwrap(), value.as_str());
        // Surrounding white space is the header's.
        let padded = format!(" \t{encoded} ");
        prop_assert_eq!(decode_value(padded.as_bytes()).unwrap(), value.as_str());
    }

    #[test]
    fn no_bytes_crash_the_decoder(bytes in any::<Vec<u8>>()) {
        if let Ok(value) = decode_value(&bytes) {
            prop_assert!(check_name(encode_value(&value).as_bytes(), &value));
        }
    }
}

// === Annotations ===

fn properties(inner: &str) -> Box<RawValue> {
    raw(&format!(r#"{{"type":"object","properties":{inner}}}"#))
}

fn header(name: &str, path: &[&str], kind: ParamKind) -> HeaderParam {
    let path = path.iter().map(|key| (*key).to_owned()).collect();
    HeaderParam { header: HeaderName::try_from(name).unwrap(), path, kind }
}

#[test]
fn annotations_are_read_where_properties_lead() {
    let schema = properties(
        r#"{"region":{"type":"string","x-mcp-header":"Region"},
            "query":{"type":"string"},
            "opt":{"type":"object","properties":{
              "n":{"x-mcp-header":"Max-N","type":"integer"},
              "x-mcp-header":{"type":"boolean","x-\u006dcp-header":"Deep"}}}}"#,
    );
    let want = [
        header("mcp-param-region", &["region"], ParamKind::String),
        header("mcp-param-max-n", &["opt", "n"], ParamKind::Integer),
        header("mcp-param-deep", &["opt", "x-mcp-header"], ParamKind::Boolean),
    ];
    assert_eq!(parse_header_params(&schema).unwrap(), want);
}

#[test]
fn schemas_without_annotations_have_no_params() {
    for schema in [
        r#"{"type":"object"}"#,
        // A property of this name, and data that looks like it, are no annotations.
        r#"{"type":"object","properties":{"x-mcp-header":{"type":"number"}}}"#,
        r#"{"type":"object","default":{"x-mcp-header":1},"enum":[{"x-mcp-header":1}]}"#,
        r#"{"type":"object","dependentRequired":{"x-mcp-header":["a"]},
            "dependencies":{"x-mcp-header":["a"]}}"#,
        r#"{"type":"object","properties":{"a":{"type":"string"},"a":{"description":"\u0041"}}}"#,
    ] {
        assert_eq!(parse_header_params(&raw(schema)).unwrap(), [], "{schema}");
    }
}

fn broken(property_a: &str) -> InvalidAnnotation {
    let schema = properties(&format!(r#"{{"a":{property_a}}}"#));
    parse_header_params(&schema).expect_err(property_a)
}

#[test]
fn an_annotation_is_a_header_name() {
    for name in [r#""""#, r#""a b""#, r#""a:b""#, r#""a\r\nb""#, r#""a\u0000""#, r#""é""#] {
        let got = broken(&format!(r#"{{"type":"string","x-mcp-header":{name}}}"#));
        assert_eq!(got, InvalidAnnotation::NotToken("a".to_owned()), "{name}");
    }
    let long = "x".repeat(257);
    let got = broken(&format!(r#"{{"type":"string","x-mcp-header":"{long}"}}"#));
    assert_eq!(got, InvalidAnnotation::NotToken("a".to_owned()));
    for name in ["7", "null", "{}"] {
        let got = broken(&format!(r#"{{"type":"string","x-mcp-header":{name}}}"#));
        assert_eq!(got, InvalidAnnotation::NotText("a".to_owned()), "{name}");
    }
    for name in ["!#$%&'*+-.^_`|~09azAZ", "x"] {
        let schema = properties(&format!(r#"{{"a":{{"type":"string","x-mcp-header":"{name}"}}}}"#));
        assert_eq!(parse_header_params(&schema).unwrap().len(), 1, "{name}");
    }
}

#[test]
fn only_primitives_are_mirrored() {
    for property in [
        r#"{"type":"number","x-mcp-header":"A"}"#,
        r#"{"type":"array","x-mcp-header":"A"}"#,
        r#"{"type":"object","x-mcp-header":"A"}"#,
        r#"{"type":["string"],"x-mcp-header":"A"}"#,
        r#"{"x-mcp-header":"A"}"#,
    ] {
        assert_eq!(broken(property), InvalidAnnotation::NotPrimitive("a".to_owned()), "{property}");
    }
}

#[test]
fn names_are_unique_whatever_their_case() {
    let schema = properties(
        r#"{"b":{"type":"string","x-mcp-header":"Reg"},
            "o":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"rEG"}}}}"#,
    );
    let want = InvalidAnnotation::Twice("o.a".to_owned());
    assert_eq!(parse_header_params(&schema), Err(want));
}

#[test]
fn annotations_stand_only_where_properties_lead() {
    for property in [
        r#"{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#,
        r#"{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#,
        r#"{"if":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}"#,
        r#"{"vendor":{"x-mcp-header":"A"}}"#,
        r#"{"properties":[{"x-mcp-header":"A"}]}"#,
    ] {
        assert_eq!(broken(property), InvalidAnnotation::Unreachable, "{property}");
    }
    for schema in [
        r#"{"type":"object","x-mcp-header":"A"}"#,
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"string","x-mcp-header":"A"}}}"##,
        r#"{"type":"object","allOf":[{"properties":{"a":{"x-mcp-header":"A"}}}]}"#,
        r#"{"patternProperties":{".*":{"type":"string","x-mcp-header":"A"}}}"#,
        r#"{"not":{"x-mcp-header":"A"}}"#,
    ] {
        let got = parse_header_params(&raw(schema));
        assert_eq!(got, Err(InvalidAnnotation::Unreachable), "{schema}");
    }
}

#[test]
fn schemas_that_two_readers_read_differently_are_refused() {
    for inner in [
        r#"{"a":{"type":"string","type":"number","x-mcp-header":"A"}}"#,
        r#"{"a":{},"a":{"type":"string","x-mcp-header":"A"}}"#,
        r#"{"a":{"type":"string","x-mcp-header":"A","x-mcp-header":"B"}}"#,
        r#"{"a":{"type":"string","x-mcp-header":"A"},"o":{"properties":{"b":{"type":"\u0041"}},
            "properties":{}}}"#,
    ] {
        let got = parse_header_params(&properties(inner));
        assert_eq!(got, Err(InvalidAnnotation::Ambiguous), "{inner}");
    }
}

#[test]
fn deep_schemas_are_refused_and_not_walked() {
    let deep =
        format!(r#"{{"x":{}{{"x-mcp-header":"A"}}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(parse_header_params(&raw(&deep)), Err(InvalidAnnotation::Unreadable));
    assert_eq!(without_annotations(&raw(&deep)), Err(InvalidAnnotation::Unreadable));
}

#[test]
fn annotations_are_removed_and_nothing_else() {
    let schema = raw(
        r#"{"type": "object", "x-mcp-header": "R", "properties": {"x-mcp-header": {"x-mcp-header": "A" , "type":"string"},
 "b": {"maximum": 1e2 , "default": {"x-mcp-header": 1}}}, "allOf": [ {"x-mcp-header":"C"} , { } ]}"#,
    );
    let want = concat!(
        r#"{"type":"object","properties":{"x-mcp-header":{"type":"string"},"#,
        r#""b":{"maximum": 1e2 , "default": {"x-mcp-header": 1}}},"allOf":[{},{ }]}"#,
    );
    assert_eq!(without_annotations(&schema).unwrap().as_deref(), Some(want));
    for untouched in [
        r#"{"type": "object", "title": "\u0041"}"#,
        r#"{"properties": {"x-mcp-header": {"type" : "string"}}}"#,
        r#"{"const": {"x-mcp-header": 1}}"#,
    ] {
        assert_eq!(without_annotations(&raw(untouched)).unwrap(), None, "{untouched}");
    }
}

/// Schemas and things that look like schemas, full of annotations in right and wrong places.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!("string")),
        Just(json!("A")),
        Just(json!("\u{1}")),
        any::<u64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 4, |inner| {
        let key = prop::sample::select(vec![
            "x-mcp-header",
            "properties",
            "type",
            "a",
            "items",
            "default",
            "$defs",
            "anyOf",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5).prop_map(|members| {
                let member = |(key, value): (&str, Value)| (key.to_owned(), value);
                members.into_iter().map(member).collect::<Value>()
            }),
        ]
    })
}

/// The same rule on parsed values, written another way.
fn without(value: &Value) -> Value {
    let named = |map: &Value| match map {
        Value::Object(map) => map.iter().map(|(name, v)| (name.clone(), without(v))).collect(),
        other => without(other),
    };
    match value {
        Value::Array(items) => items.iter().map(without).collect(),
        Value::Object(schema) => schema
            .iter()
            .filter(|(key, _)| *key != "x-mcp-header")
            .map(|(key, value)| match key.as_str() {
                "properties" | "$defs" => (key.clone(), named(value)),
                "default" => (key.clone(), value.clone()),
                _ => (key.clone(), without(value)),
            })
            .collect(),
        scalar => scalar.clone(),
    }
}

proptest! {
    #[test]
    fn removing_equals_removing_from_the_parsed_schema(schema in any_schema()) {
        let text = raw(&schema.to_string());
        let want = without(&schema);
        match without_annotations(&text).unwrap() {
            None => prop_assert_eq!(&schema, &want),
            Some(got) => {
                let got: Value = serde_json::from_str(&got).unwrap();
                prop_assert_eq!(&got, &want);
                prop_assert_ne!(&got, &schema);
            }
        }
        // Nothing is left to read; what can be read was there to be removed.
        prop_assert_eq!(parse_header_params(&raw(&want.to_string())).unwrap(), []);
        let none = parse_header_params(&text).is_ok_and(|params| params.is_empty());
        prop_assert_eq!(none, schema == want);
    }
}

// === Parameters ===

fn params() -> Vec<HeaderParam> {
    vec![
        header("mcp-param-region", &["region"], ParamKind::String),
        header("mcp-param-n", &["opt", "n"], ParamKind::Integer),
        header("mcp-param-dry", &["dry"], ParamKind::Boolean),
    ]
}

fn mirrored(arguments: &str) -> Result<Vec<(String, String)>, ParamError> {
    let headers = param_headers(&params(), arguments.as_bytes())?;
    let text = |(name, value): (HeaderName, HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    Ok(headers.into_iter().map(text).collect())
}

fn pair(name: &str, value: &str) -> (String, String) {
    (format!("mcp-param-{name}"), value.to_owned())
}

#[test]
fn values_are_mirrored() {
    let got = mirrored(r#"{"dry":true,"region":"us-west1","opt":{"n":42}}"#).unwrap();
    assert_eq!(got, [pair("region", "us-west1"), pair("n", "42"), pair("dry", "true")]);
    let got = mirrored(r#"{"region":"\u4e16","opt":{"n":123456789012345678901234567890}}"#);
    let want = [pair("region", "=?base64?5LiW?="), pair("n", "123456789012345678901234567890")];
    assert_eq!(got.unwrap(), want);
    let cases = [("-7", "-7"), ("42.0", "42"), ("1e2", "100"), ("-0", "0"), ("1.5", "1.5")];
    for (number, want) in cases {
        let got = mirrored(&format!(r#"{{"opt":{{"n":{number}}}}}"#)).unwrap();
        assert_eq!(got, [pair("n", want)]);
    }
}

#[test]
fn what_is_absent_or_null_has_no_header() {
    for arguments in [
        "",
        "{}",
        r#"{"region":null,"opt":null}"#,
        r#"{"opt":7,"Region":"x"}"#,
        r#"{"opt":{}}"#,
        r#"{"n":1,"opt.n":1}"#,
    ] {
        assert_eq!(mirrored(arguments).unwrap(), [], "{arguments}");
    }
    assert_eq!(mirrored(r#"{"region":""}"#).unwrap(), [pair("region", "")]);
}

#[test]
fn what_cannot_be_mirrored_is_an_error() {
    let region = || "region".to_owned();
    let long = format!(r#"{{"region":"{}"}}"#, "x".repeat(VALUE_BYTES_MAX + 1));
    let cases = [
        ("[]", ParamError::NotObject),
        ("7", ParamError::NotObject),
        ("{", ParamError::NotObject),
        (r#"{"region":{}}"#, ParamError::NotPrimitive(region())),
        (r#"{"region":["x"]}"#, ParamError::NotPrimitive(region())),
        (r#"{"region":"\ud800"}"#, ParamError::NotPrimitive(region())),
        (r#"{"region":"a","region":"b"}"#, ParamError::Ambiguous(region())),
        (r#"{"region":"a","regio\u006e":"b"}"#, ParamError::Ambiguous(region())),
        (&long, ParamError::TooLong(region())),
    ];
    for (arguments, want) in cases {
        assert_eq!(mirrored(arguments), Err(want), "{arguments}");
    }
    assert_eq!(param_headers(&params(), b"{\"region\":\"\xff\"}"), Err(ParamError::NotObject));
}

fn agree(kind: ParamKind, arguments: &str, value: Option<&str>) -> bool {
    let param = header("mcp-param-v", &["v"], kind);
    check_call(&param, value.map(str::as_bytes), arguments.as_bytes())
}

#[test]
fn headers_must_say_what_the_arguments_say() {
    let cases: [(&str, Option<&str>, bool); 21] = [
        (r#"{"v":"eu"}"#, Some("eu"), true),
        (r#"{"v":"eu"}"#, Some(" eu "), true),
        (r#"{"v":"e\u0075"}"#, Some("eu"), true),
        (r#"{"v":"eu"}"#, Some("EU"), false),
        (r#"{"v":"eu"}"#, None, false),
        (r#"{"v":""}"#, Some(""), true),
        (r#"{"v":""}"#, None, false),
        (r#"{"v":null}"#, None, true),
        (r#"{"v":null}"#, Some("null"), false),
        ("{}", None, true),
        ("{}", Some("eu"), false),
        ("", None, true),
        (r#"{"v":"世"}"#, Some("=?base64?5LiW?="), true),
        (r#"{"v":"世"}"#, Some("=?base64?5Li?="), false),
        (r#"{"v":"42"}"#, Some("42.0"), false),
        (r#"{"v":{}}"#, Some("{}"), false),
        (r#"{"v":"\ud800"}"#, Some("x"), false),
        (r#"{"v":"a","v":"a"}"#, Some("a"), false),
        (r#"{"v":"a","v":"a"}"#, None, false),
        ("[]", None, true),
        ("[]", Some("a"), false),
    ];
    for (arguments, value, want) in cases {
        let got = agree(ParamKind::String, arguments, value);
        assert_eq!(got, want, "{arguments} {value:?}");
    }
    for (arguments, value, want) in [
        (r#"{"v":true}"#, "true", true),
        (r#"{"v":true}"#, "True", false),
        (r#"{"v":true}"#, "1", false),
        (r#"{"v":false}"#, "false", true),
    ] {
        let got = agree(ParamKind::Boolean, arguments, Some(value));
        assert_eq!(got, want, "{arguments} {value}");
    }
}

#[test]
fn integers_are_compared_as_numbers() {
    for (number, value, want) in [
        ("42", "42", true),
        ("42", "42.0", true),
        ("42.0", "42", true),
        ("1e2", "100", true),
        ("42", "43", false),
        ("42", "x", false),
        ("42", "0x2a", false),
        ("9007199254740993", "9007199254740992", false),
        ("9007199254740993", "=?base64?OTAwNzE5OTI1NDc0MDk5My4w?=", true),
    ] {
        let arguments = format!(r#"{{"v":{number}}}"#);
        let got = agree(ParamKind::Integer, &arguments, Some(value));
        assert_eq!(got, want, "{number} {value}");
    }
    // A number where the schema wants text is compared as the text it is mirrored as.
    assert!(agree(ParamKind::String, r#"{"v":42.0}"#, Some("42")));
    assert!(!agree(ParamKind::String, r#"{"v":42}"#, Some("42.0")));
    // Text where the schema wants a number is text.
    assert!(agree(ParamKind::Integer, r#"{"v":"x"}"#, Some("x")));
    assert!(!agree(ParamKind::Integer, r#"{"v":"42"}"#, Some("42.0")));
}

proptest! {
    #[test]
    fn what_we_mirror_we_accept(region in any::<String>(), n in any::<i64>(), dry in any::<bool>()) {
        let region = Value::from(region);
        let arguments = format!(r#"{{"region":{region},"opt":{{"n":{n}}},"dry":{dry}}}"#);
        let headers = param_headers(&params(), arguments.as_bytes()).unwrap();
        prop_assert_eq!(headers.len(), 3);
        for (param, (name, value)) in params().iter().zip(&headers) {
            prop_assert_eq!(&param.header, name);
            prop_assert!(check_call(param, Some(value.as_bytes()), arguments.as_bytes()));
            prop_assert!(!check_call(param, None, arguments.as_bytes()));
        }
    }
}
