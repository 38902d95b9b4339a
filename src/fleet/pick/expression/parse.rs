//! Pure: reads an expression. Operators bind as in most languages: `||`, then `&&`, comparisons,
//! `+ -`, `* /`, and `- !` before a value.

use super::{Function, NUMBERS, Node, Operator};

/// Longest expression, in bytes.
pub const LENGTH_MAX: usize = 1_000;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// In bytes from its beginning.
    pub at: usize,
    /// For people.
    pub what: String,
}

/// Operators by how tightly they bind, loosest first; longer ones before those they begin with.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide)],
];

/// Functions, with the fewest and the most values they take.
const FUNCTIONS: [(&str, Function, usize, usize); 4] = [
    ("min", Function::Min, 1, usize::MAX),
    ("max", Function::Max, 1, usize::MAX),
    ("abs", Function::Abs, 1, 1),
    ("if", Function::If, 3, 3),
];

/// Reads a whole expression.
pub(super) fn parse(text: &str) -> Result<Node, BadExpression> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    if text.len() > LENGTH_MAX {
        return Err(reader.bad(format!("too long: at most {LENGTH_MAX} bytes")));
    }
    reader.space();
    if reader.rest().is_empty() {
        return Err(reader.bad("an expression is expected"));
    }
    let node = reader.level(0)?;
    match reader.rest().chars().next() {
        None => Ok(node),
        Some(c) if c.is_alphanumeric() || "(\".".contains(c) => {
            Err(reader.bad("an operator is expected"))
        }
        Some(c) => Err(reader.bad(format!("a character that means nothing here: {c:?}"))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn bad(&self, what: impl Into<String>) -> BadExpression {
        BadExpression { at: self.at, what: what.into() }
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn takes(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
            self.space();
        }
        there
    }

    /// As many characters as fit.
    fn span(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn level(&mut self, level: usize) -> Result<Node, BadExpression> {
        let Some(operators) = LEVELS.get(level) else { return self.deeper(Self::value) };
        let mut left = self.level(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(token, _)| self.takes(token)) {
            let right = match self.text_compared(&left, *operator)? {
                Some(compared) => {
                    left = compared;
                    continue;
                }
                None => self.level(level + 1)?,
            };
            left = Node::Both(*operator, Box::new((left, right)));
        }
        Ok(left)
    }

    /// `label.NAME == "text"`, after the operator.
    fn text_compared(
        &mut self,
        left: &Node,
        operator: Operator,
    ) -> Result<Option<Node>, BadExpression> {
        let Node::Label(name) = left else { return Ok(None) };
        if !self.rest().starts_with('"')
            || !matches!(operator, Operator::Equal | Operator::NotEqual)
        {
            return Ok(None);
        }
        let from = self.at;
        self.at += 1;
        let text = self.span(|c| c != '"');
        if !self.takes("\"") {
            return Err(BadExpression { at: from, what: "the text has no end".to_owned() });
        }
        let is = Node::LabelIs(name.clone(), text.into());
        Ok(Some(match operator {
            Operator::NotEqual => Node::Not(Box::new(is)),
            _ => is,
        }))
    }

    fn deeper(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Node, BadExpression>,
    ) -> Result<Node, BadExpression> {
        if self.depth >= DEPTH_MAX {
            return Err(self.bad(format!("too deep: at most {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn value(&mut self) -> Result<Node, BadExpression> {
        if self.takes("-") {
            return Ok(Node::Negative(Box::new(self.deeper(Self::value)?)));
        }
        if self.takes("!") {
            return Ok(Node::Not(Box::new(self.deeper(Self::value)?)));
        }
        if self.takes("(") {
            let node = self.level(0)?;
            return if self.takes(")") { Ok(node) } else { Err(self.bad("`)` is missing")) };
        }
        match self.rest().chars().next() {
            Some('"') => Err(self.bad("a text can only be compared with a label, by == or !=")),
            Some(c) if c.is_ascii_digit() || c == '.' => self.constant(),
            Some(c) if c.is_ascii_alphabetic() => self.named(),
            _ => Err(self.bad("a value is expected")),
        }
    }

    fn constant(&mut self) -> Result<Node, BadExpression> {
        let from = self.at;
        let text = self.span(|c| c.is_ascii_alphanumeric() || c == '.');
        let Ok(value) = text.parse::<f64>() else {
            return Err(BadExpression { at: from, what: format!("not a number: {text}") });
        };
        self.space();
        Ok(Node::Constant(value))
    }

    fn named(&mut self) -> Result<Node, BadExpression> {
        let from = self.at;
        let name = self.span(|c| c.is_ascii_alphanumeric() || c == '_');
        if name == "label" && self.rest().starts_with('.') {
            self.at += 1;
            let label = self.span(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            if label.is_empty() {
                return Err(self.bad("the name of a label is expected"));
            }
            self.space();
            return Ok(Node::Label(label.into()));
        }
        self.space();
        if self.takes("(") {
            return self.call(name, from);
        }
        let known = NUMBERS.iter().find(|(known, _)| *known == name);
        known.map(|(_, number)| Node::Number(*number)).ok_or_else(|| {
            let known: Vec<_> = NUMBERS.iter().map(|(known, _)| *known).collect();
            let what =
                format!("no such number: {name}; known are {}, label.NAME", known.join(", "));
            BadExpression { at: from, what }
        })
    }

    fn call(&mut self, name: &str, from: usize) -> Result<Node, BadExpression> {
        let known = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        let Some((_, function, least, most)) = known else {
            let known: Vec<_> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
            let what = format!("no such function: {name}; known are {}", known.join(", "));
            return Err(BadExpression { at: from, what });
        };
        let mut arguments = Vec::new();
        if !self.takes(")") {
            loop {
                arguments.push(self.level(0)?);
                if self.takes(")") {
                    break;
                }
                if !self.takes(",") {
                    return Err(self.bad("`,` or `)` is missing"));
                }
            }
        }
        if (*least..=*most).contains(&arguments.len()) {
            return Ok(Node::Call(*function, arguments));
        }
        let least_word = if *most == usize::MAX { "at least " } else { "" };
        let plural = if *least == 1 { "" } else { "s" };
        let what = format!("{name} takes {least_word}{least} value{plural}");
        Err(BadExpression { at: from, what })
    }
}
