//! Tools: what is kept byte for byte, what each era sees, what is refused.

use bytes::Bytes;

use super::*;
use crate::catalog::Kind;
use crate::catalog::spec::DESCRIPTION_BYTES_MAX;
use crate::proto::headers::InvalidAnnotation;

fn tool(definition: &str, era: Era) -> Result<Tool, Unfit> {
    tool_described(definition, era, None)
}

fn tool_described(definition: &str, era: Era, describe: Option<&str>) -> Result<Tool, Unfit> {
    let definition = Bytes::from(definition.to_owned());
    let checked = Checked::new(Draft::open(Kind::Tools, &definition)?, era)?;
    Ok(checked.into_tool(Owner::Upstream(0), "up__name", describe))
}

fn seen(tool: &Tool, era: Era) -> &str {
    str::from_utf8(tool.definition(era)).unwrap()
}

#[test]
fn untouched_members_stay_byte_for_byte() {
    let definition = r#"{ "title" : "T", "name": "n\u0061me",
        "inputSchema" : {"type":"object", "properties": {"n": {"type": "integer",
          "maximum": 123456789012345678901234567890, "multipleOf": 1e2, "x": 1.0}}},
        "_meta":{"z":1,"a":[ 1, 2 ]} }"#;
    let tool = tool(definition, Era::Legacy).unwrap();
    let want = concat!(
        r#"{"title":"T","name":"up__name","inputSchema":{"type":"object", "properties": "#,
        r#"{"n": {"type": "integer",           "maximum": 123456789012345678901234567890, "#,
        r#""multipleOf": 1e2, "x": 1.0}}},"_meta":{"z":1,"a":[ 1, 2 ]}}"#,
    );
    assert_eq!(seen(&tool, Era::Legacy), want);
    assert_eq!(seen(&tool, Era::Modern), want);
    assert_eq!(&*tool.original, "name");
    assert_eq!(tool.title.as_deref(), Some("T"));
}

#[test]
fn equal_renderings_are_shared() {
    let tool = tool(r#"{"name":"a","inputSchema":{"type":"object"}}"#, Era::Modern).unwrap();
    assert_eq!(tool.definition(Era::Legacy).as_ptr(), tool.definition(Era::Modern).as_ptr());
}

#[test]
fn line_breaks_never_leave() {
    let definition = "{\"name\":\"a\",\r\n\"inputSchema\":{\n\"type\":\r\"object\"}}";
    let tool = tool(definition, Era::Modern).unwrap();
    assert!(!seen(&tool, Era::Modern).contains(['\n', '\r']));
}

#[test]
fn the_operators_description_replaces_the_upstreams() {
    let definition = r#"{"description":"old","name":"a","inputSchema":{"type":"object"}}"#;
    let tool = tool_described(definition, Era::Modern, Some("new \"one\"\n")).unwrap();
    let want = concat!(
        r#"{"name":"up__name","description":"new \"one\"\n","#,
        r#""inputSchema":{"type":"object"}}"#
    );
    assert_eq!(seen(&tool, Era::Modern), want);
    assert_eq!(tool.description.as_deref(), Some("new \"one\"\n"));
}

#[test]
fn a_legacy_tool_loses_for_modern_clients_what_only_legacy_knows() {
    let definition = concat!(
        r#"{"name":"a","execution":{"taskSupport":"required"},"inputSchema":{"type":"object","#,
        r#""properties":{"r":{"x-mcp-header":"R","type":"string"}}}}"#
    );
    let tool = tool(definition, Era::Legacy).unwrap();
    let modern = concat!(
        r#"{"name":"up__name","inputSchema":{"type":"object","#,
        r#""properties":{"r":{"type":"string"}}}}"#
    );
    assert_eq!(seen(&tool, Era::Modern), modern);
    // The gateway follows a task for whoever has none, so that legacy clients may choose.
    let legacy = definition.replace("required", "optional");
    assert_eq!(seen(&tool, Era::Legacy), legacy.replace(r#""name":"a""#, r#""name":"up__name""#));
    assert!(tool.only_as_task && tool.header_params.is_empty());
}

#[test]
fn even_a_broken_annotation_of_a_legacy_tool_is_only_stripped() {
    let definition = r#"{"name":"a","inputSchema":{"type":"object","x-mcp-header":"","items":{}}}"#;
    let tool = tool(definition, Era::Legacy).unwrap();
    let modern = r#"{"name":"up__name","inputSchema":{"type":"object","items":{}}}"#;
    assert_eq!(seen(&tool, Era::Modern), modern);
}

#[test]
fn a_modern_tool_keeps_its_annotation_for_everybody() {
    let definition = concat!(
        r#"{"name":"up__name","inputSchema":{"type":"object","properties":{"region":"#,
        r#"{"type":"string","x-mcp-header":"Region"}}}}"#
    );
    let tool = tool(definition, Era::Modern).unwrap();
    assert_eq!(seen(&tool, Era::Modern), definition);
    assert_eq!(seen(&tool, Era::Legacy), definition);
    assert_eq!(tool.header_params.len(), 1);
    assert_eq!(tool.header_params[0].header, "mcp-param-region");
}

#[test]
fn a_modern_tool_with_a_broken_annotation_is_refused() {
    let definition = concat!(
        r#"{"name":"a","inputSchema":{"type":"object","properties":"#,
        r#"{"n":{"type":"number","x-mcp-header":"N"}}}}"#
    );
    let why = tool(definition, Era::Modern).unwrap_err();
    assert_eq!(why, Unfit::Annotation(InvalidAnnotation::NotPrimitive("n".to_owned())));
}

#[test]
fn legacy_clients_see_only_object_output_schemas() {
    for (output, shown) in [
        (r#"{"type":"object"}"#, true),
        (r#"{"type":"array"}"#, false),
        (r#"{"type":["object","null"]}"#, false),
        (r#"{"anyOf":[]}"#, false),
        ("true", false),
    ] {
        let definition =
            format!(r#"{{"name":"a","inputSchema":{{"type":"object"}},"outputSchema":{output}}}"#);
        for era in [Era::Legacy, Era::Modern] {
            let tool = tool(&definition, era).unwrap();
            assert_eq!(seen(&tool, Era::Legacy).contains("outputSchema"), shown, "{output}");
            assert!(seen(&tool, Era::Modern).contains(output), "{output}");
        }
    }
}

#[test]
fn hints_are_read_where_they_are_booleans() {
    let definition = concat!(
        r#"{"name":"a","inputSchema":{"type":"object"},"annotations":{"title":"T","#,
        r#""readOnlyHint":true,"destructiveHint":false,"idempotentHint":"yes"}}"#
    );
    let tool = tool(definition, Era::Legacy).unwrap();
    let want = Hints { read_only: Some(true), destructive: Some(false), ..Hints::default() };
    assert_eq!(tool.hints, want);
    assert_eq!(tool.title.as_deref(), Some("T"));
}

#[test]
fn what_is_no_tool_is_refused_with_the_reason() {
    let schema = r#""inputSchema":{"type":"object"}"#;
    let cases = [
        ("[]".to_owned(), Unfit::NotObject),
        ("{".to_owned(), Unfit::NotObject),
        (format!("{{{schema}}}"), Unfit::NoName),
        (format!(r#"{{"name":"",{schema}}}"#), Unfit::NoName),
        (format!(r#"{{"name":7,{schema}}}"#), Unfit::NoName),
        (format!(r#"{{"name":"\ud800",{schema}}}"#), Unfit::NoName),
        (format!(r#"{{"name":"{}",{schema}}}"#, "x".repeat(1_025)), Unfit::NameTooLong),
        (r#"{"name":"a"}"#.to_owned(), Unfit::InputSchema),
        (r#"{"name":"a","inputSchema":null}"#.to_owned(), Unfit::InputSchema),
        (r#"{"name":"a","inputSchema":{}}"#.to_owned(), Unfit::InputSchema),
        (r#"{"name":"a","inputSchema":{"type":"array"}}"#.to_owned(), Unfit::InputSchema),
        (format!(r#"{{"name":"a","n\u0061me":"b",{schema}}}"#), Unfit::Ambiguous("name".into())),
        (format!(r#"{{"name":"a","Name":"b",{schema}}}"#), Unfit::Ambiguous("Name".into())),
    ];
    for (definition, want) in cases {
        assert_eq!(tool(&definition, Era::Modern).unwrap_err(), want, "{definition}");
    }
    assert_eq!(tool("\u{feff}{}", Era::Modern).unwrap_err(), Unfit::NotObject);
    assert_eq!(
        Draft::open(Kind::Tools, &Bytes::from_static(b"{\"name\":\"\xff\"}")).unwrap_err(),
        Unfit::NotObject
    );
}

#[test]
fn bounds_are_kept() {
    let with = |schema: &str| format!(r#"{{"name":"a","inputSchema":{schema}}}"#);
    let wide = with(&format!(r#"{{"type":"object","$comment":"{}"}}"#, "x".repeat(65_536)));
    assert_eq!(tool(&wide, Era::Modern).unwrap_err(), Unfit::InputSchemaBounds);
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let schema = |levels: usize| with(&format!(r#"{{"type":"object","x":{}}}"#, nested(levels)));
    assert!(tool(&schema(31), Era::Modern).is_ok());
    assert_eq!(tool(&schema(32), Era::Modern).unwrap_err(), Unfit::InputSchemaBounds);
    assert_eq!(tool(&schema(200_000), Era::Modern).unwrap_err(), Unfit::TooLarge);
    let deep = format!(r#"{{"name":"a","_meta":{}}}"#, nested(64));
    assert_eq!(tool(&deep, Era::Modern).unwrap_err(), Unfit::TooDeep);
}

#[test]
fn a_long_description_is_kept_and_reported() {
    let long = "x".repeat(DESCRIPTION_BYTES_MAX + 1);
    let definition =
        format!(r#"{{"name":"a","description":"{long}","inputSchema":{{"type":"object"}}}}"#);
    let definition = Bytes::from(definition);
    let draft = Draft::open(Kind::Tools, &definition).unwrap();
    let checked = Checked::new(draft, Era::Modern).unwrap();
    assert_eq!(checked.oddities(None), [Oddity::LongDescription(long.len())]);
    assert_eq!(checked.oddities(Some("short")), []);
    let tool = checked.into_tool(Owner::Builtin, "a", None);
    assert!(seen(&tool, Era::Modern).contains(&long));
}

#[test]
fn an_output_schema_over_the_bounds_is_left_out_and_reported() {
    let big = format!(r#"{{"type":"object","$comment":"{}"}}"#, "x".repeat(SCHEMA_BYTES_MAX));
    for era in [Era::Legacy, Era::Modern] {
        let definition =
            format!(r#"{{"name":"a","inputSchema":{{"type":"object"}},"outputSchema":{big}}}"#);
        let definition = Bytes::from(definition);
        let checked = Checked::new(Draft::open(Kind::Tools, &definition).unwrap(), era).unwrap();
        assert_eq!(checked.oddities(None), [Oddity::OutputSchemaLeftOut]);
        let tool = checked.into_tool(Owner::Builtin, "a", None);
        assert!(!seen(&tool, Era::Modern).contains("outputSchema"));
        assert!(!seen(&tool, Era::Legacy).contains("outputSchema"));
    }
}
