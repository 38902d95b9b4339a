//! Pure: the operator's own rule, an expression over a replica's numbers. The replica with the
//! lowest value takes the call; equal ones share by chance.
//!
//! It is read once, from `expression = "busy * latency / weight"`; what is wrong with it is told
//! with its place. An expression has no loops and no state, so it always ends.

mod parse;

use super::sample::all;
use super::{Ask, Balancer, Field};
use crate::base::rng::Draws;

pub use parse::{BadExpression, DEPTH_MAX, LENGTH_MAX};

/// An expression that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: Box<str>,
    root: Node,
}

/// A number of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Busy,
    Latency,
    Weight,
    Warmth,
    Errors,
    Tier,
    Load,
}

/// Names of numbers, and what they are.
const NUMBERS: [(&str, Number); 7] = [
    ("busy", Number::Busy),
    ("latency", Number::Latency),
    ("weight", Number::Weight),
    ("warmth", Number::Warmth),
    ("errors", Number::Errors),
    ("tier", Number::Tier),
    ("load", Number::Load),
];

/// What joins two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Abs,
    /// `if(condition, then, else)`
    If,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Constant(f64),
    Number(Number),
    /// A label as a number; one that is missing or no number is 0.
    Label(Box<str>),
    /// Whether a label says a text.
    LabelIs(Box<str>, Box<str>),
    Negative(Box<Self>),
    Not(Box<Self>),
    Both(Operator, Box<(Self, Self)>),
    Call(Function, Vec<Self>),
}

impl Expression {
    /// Reads an expression.
    pub fn new(text: &str) -> Result<Self, BadExpression> {
        Ok(Self { text: text.into(), root: parse::parse(text)? })
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its value for a replica. What is no number is the worst.
    pub fn value(&self, field: &dyn Field, place: usize) -> Option<f64> {
        let value = self.root.value(&View { field, place, candidate: field.at(place)? });
        Some(if value.is_nan() { f64::INFINITY } else { value })
    }
}

struct View<'a> {
    field: &'a dyn Field,
    place: usize,
    candidate: super::Candidate,
}

impl View<'_> {
    fn number(&self, number: Number) -> f64 {
        let candidate = &self.candidate;
        match number {
            Number::Busy => f64::from(candidate.busy),
            Number::Latency => f64::from(candidate.slowness),
            Number::Weight => f64::from(candidate.weight),
            Number::Warmth => f64::from(candidate.warmth),
            Number::Errors => f64::from(candidate.errors),
            Number::Tier => f64::from(candidate.tier),
            Number::Load => f64::from(candidate.load()),
        }
    }
}

fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Whether a value counts as true.
fn holds(value: f64) -> bool {
    value.abs() > f64::EPSILON
}

impl Node {
    fn value(&self, view: &View<'_>) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Number(number) => view.number(*number),
            Self::Label(name) => {
                let label = view.field.label(view.place, name);
                label.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
            }
            Self::LabelIs(name, text) => {
                truth(view.field.label(view.place, name) == Some(text.as_ref()))
            }
            Self::Negative(node) => -node.value(view),
            Self::Not(node) => truth(!holds(node.value(view))),
            Self::Both(operator, nodes) => {
                let (left, right) = nodes.as_ref();
                operator.join(left.value(view), right.value(view))
            }
            Self::Call(function, arguments) => function.call(arguments, view),
        }
    }
}

impl Operator {
    fn join(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Less => truth(left < right),
            Self::LessOrEqual => truth(left <= right),
            Self::Greater => truth(left > right),
            Self::GreaterOrEqual => truth(left >= right),
            Self::Equal => truth(!holds(left - right)),
            Self::NotEqual => truth(holds(left - right)),
            Self::And => truth(holds(left) && holds(right)),
            Self::Or => truth(holds(left) || holds(right)),
        }
    }
}

impl Function {
    fn call(self, arguments: &[Node], view: &View<'_>) -> f64 {
        let mut values = arguments.iter().map(|node| node.value(view));
        match self {
            Self::Min => values.fold(f64::INFINITY, f64::min),
            Self::Max => values.fold(f64::NEG_INFINITY, f64::max),
            Self::Abs => values.next().unwrap_or(0.0).abs(),
            Self::If => match arguments {
                [condition, yes, no] => {
                    if holds(condition.value(view)) { yes } else { no }.value(view)
                }
                _ => f64::NAN,
            },
        }
    }
}

impl Balancer for Expression {
    fn pick(&self, field: &dyn Field, ask: &Ask) -> Option<usize> {
        let mut draws = Draws::new(ask.draw);
        let mut best: Option<(f64, usize)> = None;
        let mut equals = 0;
        for (place, _) in all(field) {
            let Some(value) = self.value(field, place) else { continue };
            match best.map(|(least, _)| value.total_cmp(&least)) {
                None | Some(std::cmp::Ordering::Less) => (best, equals) = (Some((value, place)), 1),
                Some(std::cmp::Ordering::Equal) => {
                    equals += 1;
                    if draws.below(equals) == 0 {
                        best = Some((value, place));
                    }
                }
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        best.map(|(_, place)| place)
    }

    fn because(&self, field: &dyn Field, _ask: &Ask, place: usize) -> String {
        let value = self.value(field, place).unwrap_or(f64::INFINITY);
        format!("`{}` is lowest for it ({value:.3})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use super::super::{Candidate, LeastBusy};
    use super::*;

    fn value(text: &str) -> f64 {
        let mut fleet = Fleet::of(1);
        fleet.set(0, |c| {
            *c = Candidate {
                busy: 3,
                slowness: 0.5,
                weight: 2.0,
                warmth: 1.0,
                errors: 0.25,
                tier: 1,
            }
        });
        Expression::new(text).unwrap().value(&fleet, 0).unwrap()
    }

    #[test]
    fn arithmetic_is_that_of_school() {
        let table = [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("-2 * -3 - 1", 5.0),
            ("8 / 4 / 2", 1.0),
            ("1e3 + .5", 1_000.5),
            ("busy * latency / weight", 0.75),
            ("load", 2.0),
            ("max(busy, 10, 2) + min(1, errors)", 10.25),
            ("abs(busy - 10)", 7.0),
            ("if(errors > 0.2 && tier == 1, 100, 0)", 100.0),
            ("if(!(busy >= 4), 1, 2)", 1.0),
            ("busy < 3 || busy != 3 || 0", 0.0),
            ("1 - 1 == 0", 1.0),
        ];
        for (text, wanted) in table {
            assert!((value(text) - wanted).abs() < 1e-9, "{text} is {}", value(text));
        }
    }

    #[test]
    fn what_is_no_number_is_the_worst() {
        assert!(value("0 / 0").is_infinite());
    }

    #[derive(Debug)]
    struct Labelled(Fleet);

    impl Field for Labelled {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn at(&self, place: usize) -> Option<Candidate> {
            self.0.at(place)
        }
        fn label(&self, place: usize, name: &str) -> Option<&str> {
            match (place, name) {
                (0, "region") => Some("eu"),
                (0, "cost") => Some("2.5"),
                (_, "region") => Some("us"),
                _ => None,
            }
        }
    }

    #[test]
    fn labels_are_numbers_or_compared_with_texts() {
        let field = Labelled(Fleet::of(2));
        let value =
            |text: &str, place| Expression::new(text).unwrap().value(&field, place).unwrap();
        assert!((value("label.cost", 0) - 2.5).abs() < 1e-9);
        assert!(value("label.cost", 1).abs() < 1e-9);
        assert!((value(r#"label.region == "eu""#, 0) - 1.0).abs() < 1e-9);
        assert!((value(r#"label.region != "eu""#, 1) - 1.0).abs() < 1e-9);
        let near = Expression::new(r#"if(label.region == "us", 0, 1)"#).unwrap();
        assert!((0..50).all(|draw| near.pick(&field, &Ask { draw, ..Ask::default() }) == Some(1)));
    }

    #[test]
    fn load_as_an_expression_is_least_busy() {
        let mut fleet = Fleet::of(5);
        (0..5).for_each(|place| fleet.set(place, |c| c.busy = u32::try_from(7 - place).unwrap()));
        let rule = Expression::new("load").unwrap();
        let ask = Ask::default();
        assert_eq!(rule.pick(&fleet, &ask), LeastBusy.pick(&fleet, &ask));
        assert_eq!(rule.pick(&Fleet::of(0), &ask), None);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            ("", "an expression is expected", 0),
            ("busy +", "a value is expected", 6),
            ("busy * (1", "`)` is missing", 9),
            ("bussy", "no such number: bussy; known are busy, latency", 0),
            ("max()", "max takes at least 1 value", 0),
            ("abs(1, 2)", "abs takes 1 value", 0),
            ("if(1, 2)", "if takes 3 values", 0),
            ("fold(1)", "no such function: fold", 0),
            ("1 2", "an operator is expected", 2),
            ("busy # 1", "a character that means nothing here: '#'", 5),
            ("label.", "the name of a label is expected", 6),
            ("\"eu\"", "a text can only be compared with a label", 0),
            ("label.a == \"x", "the text has no end", 11),
            ("1..2", "not a number: 1..2", 0),
        ];
        for (text, wanted, at) in table {
            let bad = Expression::new(text).unwrap_err();
            assert!(bad.what.contains(wanted) && bad.at == at, "{text:?}: {bad:?}");
        }
        let deep = "(".repeat(DEPTH_MAX + 1);
        assert!(Expression::new(&deep).unwrap_err().what.contains("too deep"));
        let deep = "-".repeat(DEPTH_MAX + 1);
        assert!(Expression::new(&deep).unwrap_err().what.contains("too deep"));
        let long = "1+".repeat(LENGTH_MAX);
        assert!(Expression::new(&long).unwrap_err().what.contains("too long"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in "[a-z0-9.+*/()<>=!&|,\" -]{0,80}") {
            if let Ok(rule) = Expression::new(&text) {
                let field = Fleet::of(3);
                proptest::prop_assert!(rule.pick(&field, &Ask::default()).is_some());
            }
        }
    }
}
