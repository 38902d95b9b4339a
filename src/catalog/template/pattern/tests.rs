//! Matching: by examples, against a naive matcher, and against what the RFC itself would write.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

#[test]
fn templates_of_all_levels_match() {
    let yes = [
        ("a:b", "a:b"),
        ("memo://{id}", "memo://7"),
        ("memo://{id}", "memo://"),
        ("memo://{id}", "memo://a?b#c"),
        ("test://{id}/data", "test://x/data"),
        ("test://{id}/data", "test:///data"),
        ("x:{a}-{b}", "x:1-2-3"),
        ("x:{a,b}", "x:1,2"),
        ("x:{+a}x{b}", "x:/x/xy"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("{+any}", "whatever://you/like"),
        ("x:y{#part}", "x:y#a/b"),
        ("x:y{#part}", "x:y"),
        ("x://h{/a,b}", "x://h/1/2"),
        ("x://h{/a,b}", "x://h/1"),
        ("x://h{/a,b}/c", "x://h/c"),
        ("x://h{/list*}", "x://h/1/2/3/4"),
        ("x://h{/id:3}", "x://h/abc"),
        ("x:y{.a}", "x:y.tar.gz"),
        ("x:y{;a,b}", "x:y;a=1;b"),
        ("x:y{?q,n}", "x:y?q=a/b&n=2"),
        ("x:y{?q}", "x:y"),
        ("x:y?f=1{&q}", "x:y?f=1&q=2"),
        ("x:{my-var}", "x:1"),
        ("x:{a.b%20c_d}", "x:1"),
        ("x:{größe}", "x:ä€"),
        ("x:}{a}", "x:}1"),
    ];
    for (template, uri) in yes {
        assert!(Pattern::parse(template).matches(uri), "{template} {uri}");
    }
    let no = [
        ("a:b", "a:bc"),
        ("a:b", "a:"),
        ("memo://{id}", "memo://a/b"),
        ("memo://{id}", "memo:/a"),
        ("test://{id}/data", "test://x/y/data"),
        ("test://{id}/data", "test://x/dat"),
        ("x:{a}x{b}", "x:/x"),
        ("x:y{#part}", "x:ya"),
        ("x://h{/a,b}", "x://h/1/2/3"),
        ("x://h{/a}", "x://hi"),
        ("x:y{.a}", "x:ya"),
        ("x:y{.a}", "x:y.a/b"),
        ("x:y{;a}", "x:y?a"),
        ("x:y{?q}", "x:y&q=1"),
        ("x:y{?q}", "x:y?q=1#f"),
        ("x:y{&q}", "x:y?q=1"),
        ("X:{a}", "x:1"),
    ];
    for (template, uri) in no {
        assert!(!Pattern::parse(template).matches(uri), "{template} {uri}");
    }
}

#[test]
fn what_cannot_be_read_stands_for_what_begins_like_it() {
    let many = format!("x:y{}", "{a}".repeat(TEMPLATE_VARIABLES_MAX + 1));
    let wide = format!("x:y{{{}}}", vec!["a"; TEMPLATE_VARIABLES_MAX + 1].join(","));
    for template in [
        "x:y{", "x:y{}", "x:y{a", "x:y{a,}", "x:y{a b}", "x:y{=a}", "x:y{+}", "x:y{{a}}", &many,
        &wide,
    ] {
        let pattern = Pattern::parse(template);
        assert_eq!(pattern.prefix(), "x:y");
        assert!(pattern.matches("x:y") && pattern.matches("x:y/z#1"), "{template}");
        assert!(!pattern.matches("x:z"), "{template}");
    }
    // Without a beginning it stands for nothing.
    assert!(!Pattern::parse("{").matches("x:y"));
    let most = format!("x:y{}", "{a}".repeat(TEMPLATE_VARIABLES_MAX));
    assert!(!Pattern::parse(&most).matches("x:y/z"));
}

#[test]
fn long_uris_are_matched_by_none_and_short_ones_cost_little() {
    let long = format!("x:{}", "a".repeat(URI_BYTES_MAX - 2));
    assert!(Pattern::parse("x:{+a}").matches(&long));
    assert!(!Pattern::parse("x:{+a}").matches(&format!("{long}a")));
    // Exponential, if there were backtracking.
    let hard = format!("x:{}b", "{+a}a".repeat(TEMPLATE_VARIABLES_MAX));
    assert!(!Pattern::parse(&hard).matches(&long));
}

// === A naive matcher ===

/// A piece of a template as the tests make it.
#[derive(Clone, Debug)]
enum Made {
    Literal(String),
    Expression { operator: &'static str, variables: usize, modifier: &'static str },
}

impl Made {
    fn text(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Expression { operator, variables, modifier } => {
                let names: Vec<String> =
                    (0..*variables).map(|n| format!("v{n}{modifier}")).collect();
                format!("{{{operator}{}}}", names.join(","))
            }
        }
    }

    /// Whether the piece can take exactly this text: the rules once more, as sentences.
    fn takes(&self, text: &str) -> bool {
        let (operator, variables, exploded) = match self {
            Self::Literal(literal) => return literal == text,
            Self::Expression { operator, variables, modifier } => {
                (*operator, *variables, *modifier == "*")
            }
        };
        let led_without = |refused: &str| {
            text.is_empty() || (text.starts_with(operator) && !text.contains(refused))
        };
        match operator {
            "" => !text.contains('/'),
            "+" => true,
            "#" => text.is_empty() || text.starts_with('#'),
            "/" => {
                let segments = text.matches('/').count();
                text.is_empty() || (text.starts_with('/') && (exploded || segments <= variables))
            }
            "." | ";" => led_without("/"),
            "?" | "&" => led_without("#"),
            other => panic!("{other}"),
        }
    }
}

fn naive(pieces: &[Made], text: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
    let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
    let mut splits = ends.map(|end| text.split_at(end));
    splits.any(|(taken, left)| first.takes(taken) && naive(rest, left))
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let operator = prop::sample::select(vec!["", "+", "#", ".", "/", ";", "?", "&"]);
    let modifier = prop::sample::select(vec!["", "*", ":3"]);
    let expression =
        (operator, 1_usize..4, modifier).prop_map(|(operator, variables, modifier)| {
            Made::Expression { operator, variables, modifier }
        });
    let literal = "[ab/?#&.;]{1,2}".prop_map(Made::Literal);
    prop::collection::vec(prop_oneof![literal, expression], 0..6)
}

// === What the RFC writes ===

#[derive(Clone, Debug)]
enum Value {
    Undefined,
    Text(String),
    List(Vec<String>),
}

/// RFC 6570, 3.2.1 and its table in appendix A, for texts and lists.
fn expand(piece: &Made, values: &[Value]) -> String {
    let (operator, modifier, count) = match piece {
        Made::Literal(text) => return text.clone(),
        Made::Expression { operator, variables, modifier } => (*operator, *modifier, *variables),
    };
    let (first, separator, named, if_empty) = match operator {
        "" | "+" => ("", ",", false, ""),
        "#" => ("#", ",", false, ""),
        "." => (".", ".", false, ""),
        "/" => ("/", "/", false, ""),
        ";" => (";", ";", true, ""),
        "?" => ("?", "&", true, "="),
        "&" => ("&", "&", true, "="),
        other => panic!("{other}"),
    };
    let reserved = matches!(operator, "+" | "#");
    let name = |number: usize, value: &str| match (named, value) {
        (false, _) => value.to_owned(),
        (true, "") => format!("v{number}{if_empty}"),
        (true, _) => format!("v{number}={value}"),
    };
    let mut parts = Vec::new();
    for (number, value) in values.iter().take(count).enumerate() {
        match value {
            Value::Undefined => {}
            Value::Text(text) => {
                let most = if modifier == ":3" { 3 } else { usize::MAX };
                let kept: String = text.chars().take(most).collect();
                parts.push(name(number, &encoded(&kept, reserved)));
            }
            Value::List(items) if items.is_empty() => {}
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|i| encoded(i, reserved)).collect();
                match modifier {
                    "*" => parts.extend(items.iter().map(|item| name(number, item))),
                    _ => parts.push(name(number, &items.join(","))),
                }
            }
        }
    }
    if parts.is_empty() { String::new() } else { format!("{first}{}", parts.join(separator)) }
}

fn encoded(text: &str, reserved: bool) -> String {
    let kept = |c: char| {
        c.is_ascii_alphanumeric()
            || "-._~".contains(c)
            || (reserved && ":/?#[]@!$&'()*+,;=".contains(c))
    };
    let mut out = String::new();
    for c in text.chars() {
        if kept(c) {
            out.push(c);
        } else {
            c.to_string().bytes().for_each(|byte| write!(out, "%{byte:02X}").unwrap());
        }
    }
    out
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[ab/#?&,;=. é€]{0,4}";
    prop_oneof![
        Just(Value::Undefined),
        text.prop_map(Value::Text),
        prop::collection::vec(text, 0..3).prop_map(Value::List),
    ]
}

proptest! {
    #[test]
    fn matching_agrees_with_the_naive_matcher(pieces in made(), uri in "[ab/?#&.;é]{0,9}") {
        let template: String = pieces.iter().map(Made::text).collect();
        prop_assert_eq!(Pattern::parse(&template).matches(&uri), naive(&pieces, &uri), "{}", template);
    }

    #[test]
    fn what_the_rfc_writes_is_matched(
        pieces in made(),
        values in prop::collection::vec(value(), 3),
    ) {
        let template: String = pieces.iter().map(Made::text).collect();
        let uri: String = pieces.iter().map(|piece| expand(piece, &values)).collect();
        prop_assert!(Pattern::parse(&template).matches(&uri), "{} {}", template, uri);
    }

    #[test]
    fn no_template_crashes_and_its_beginning_stands(template in any::<String>()) {
        let pattern = Pattern::parse(&template);
        prop_assert!(template.starts_with(pattern.prefix()));
        prop_assert!(!pattern.matches("") || pattern.prefix().is_empty());
    }
}
