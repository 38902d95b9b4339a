//! Pure: whether a URI may come from a URI template (RFC 6570, all levels).
//!
//! More is taken than the RFC would write: clients leave characters as they are that it encodes,
//! and the owner of the template has the last word anyway. What the RFC does write is always
//! taken: an expression may be empty, since a variable may have no value. How much of a value `:n`
//! keeps is not looked at. A template that cannot be read, or has too many variables, stands for
//! everything that begins like it.
//!
//! No backtracking: piece by piece, the places are marked that the pieces so far can end at, so a
//! match costs at most the length of the URI times that of the template.

use crate::catalog::spec::{TEMPLATE_VARIABLES_MAX, URI_BYTES_MAX};

/// A template, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The text before the first expression.
    prefix: Box<str>,
    /// What follows it; `None` = anything.
    pieces: Option<Box<[Piece]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Stands as it is.
    Literal(Box<str>),
    /// An expression: up to `times` runs, each begun by `lead` if there is one.
    Runs { lead: Option<u8>, stop: Option<u8>, times: usize },
}

impl Pattern {
    /// Reads a template. Every text is one.
    pub(super) fn parse(template: &str) -> Self {
        let (prefix, rest) = match template.find('{') {
            Some(at) => template.split_at_checked(at).unwrap_or((template, "")),
            None => (template, ""),
        };
        Self { prefix: Box::from(prefix), pieces: pieces(rest) }
    }

    /// The text before the first expression.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the URI may come from the template.
    pub(super) fn matches(&self, uri: &str) -> bool {
        let Some(rest) = uri.strip_prefix(&*self.prefix) else { return false };
        if uri.len() > URI_BYTES_MAX {
            return false;
        }
        let Some(pieces) = &self.pieces else {
            // Without a prefix it would stand for every URI there is.
            return !self.prefix.is_empty();
        };
        let text = rest.as_bytes();
        // Place `n` is marked if the pieces so far can take the first `n` bytes.
        let mut places = vec![false; text.len() + 1];
        if let Some(first) = places.first_mut() {
            *first = true;
        }
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => places = behind(&places, text, literal.as_bytes()),
                Piece::Runs { lead: None, stop, .. } => spread(&mut places, text, *stop),
                Piece::Runs { lead: Some(lead), stop, times } => {
                    for _ in 0..*times {
                        spread_led(&mut places, text, *lead, *stop);
                    }
                }
            }
        }
        places.last().copied().unwrap_or_default()
    }
}

// === Matching ===

/// The places behind a literal text.
fn behind(places: &[bool], text: &[u8], literal: &[u8]) -> Vec<bool> {
    let mut next = vec![false; places.len()];
    let marked = places.iter().enumerate().filter(|(_, marked)| **marked);
    for (at, _) in marked {
        let follows = text.get(at..).is_some_and(|rest| rest.starts_with(literal));
        if let Some(place) = next.get_mut(at + literal.len()).filter(|_| follows) {
            *place = true;
        }
    }
    next
}

/// Marks what a run of any bytes but `stop` can reach, the empty run included.
fn spread(places: &mut [bool], text: &[u8], stop: Option<u8>) {
    let mut inside = false;
    for (place, byte) in with_bytes(places, text) {
        inside |= *place;
        *place = inside;
        inside &= byte.is_some_and(|byte| Some(byte) != stop);
    }
}

/// Marks what `lead` and a run after it can reach.
fn spread_led(places: &mut [bool], text: &[u8], lead: u8, stop: Option<u8>) {
    let mut inside = false;
    for (place, byte) in with_bytes(places, text) {
        let (before, begins) = (*place, byte == Some(lead));
        *place |= inside;
        inside = (before && begins) || (inside && byte.is_some_and(|byte| Some(byte) != stop));
    }
}

/// Every place with the byte that follows it.
fn with_bytes<'p>(
    places: &'p mut [bool],
    text: &'p [u8],
) -> impl Iterator<Item = (&'p mut bool, Option<u8>)> {
    places.iter_mut().zip(text.iter().copied().map(Some).chain([None]))
}

// === Reading ===

/// The pieces of a template from its first expression on; `None` if it cannot be read.
fn pieces(mut rest: &str) -> Option<Box<[Piece]>> {
    let mut found = Vec::new();
    let mut variables = 0;
    while !rest.is_empty() {
        let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
        if !literal.is_empty() {
            found.push(Piece::Literal(Box::from(literal)));
        }
        if literal.len() == rest.len() {
            break;
        }
        let (expression, after) = after.split_once('}')?;
        let (piece, count) = runs(expression)?;
        found.push(piece);
        variables += count;
        if variables > TEMPLATE_VARIABLES_MAX {
            return None;
        }
        rest = after;
    }
    Some(found.into_boxed_slice())
}

/// What an expression may begin with (RFC 6570, 2.2); the last five mean nothing yet.
const OPERATORS: &str = "+#./;?&=,!@|";

/// What the text between two braces stands for, and how many variables it has.
fn runs(expression: &str) -> Option<(Piece, usize)> {
    let operator = expression.chars().next().filter(|first| OPERATORS.contains(*first));
    let names = operator.and_then(|operator| expression.strip_prefix(operator));
    let names = names.unwrap_or(expression);
    let mut count = 0;
    let mut explodes = false;
    for variable in names.split(',') {
        let exploded = variable.strip_suffix('*');
        explodes |= exploded.is_some();
        let name = variable.split_once(':').map_or(variable, |(name, _)| name);
        let name = exploded.unwrap_or(name);
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        count += 1;
    }
    // In a list after `/` each value is a segment of its own; an exploded one has any number.
    let segments = if explodes { (None, 1) } else { (Some(b'/'), count) };
    let (lead, (stop, times)) = match operator {
        None => (None, (Some(b'/'), 1)),
        Some('+') => (None, (None, 1)),
        Some('#') => (Some(b'#'), (None, 1)),
        Some('.') => (Some(b'.'), (Some(b'/'), 1)),
        Some(';') => (Some(b';'), (Some(b'/'), 1)),
        Some('/') => (Some(b'/'), segments),
        Some('?') => (Some(b'?'), (Some(b'#'), 1)),
        Some('&') => (Some(b'&'), (Some(b'#'), 1)),
        // Kept for later by the RFC.
        Some(_) => return None,
    };
    Some((Piece::Runs { lead, stop, times }, count))
}

/// Whether the character may stand in the name of a variable; `-` is none of the RFC, but in use.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '%' | '-' | '.')
}

#[cfg(test)]
mod tests;
