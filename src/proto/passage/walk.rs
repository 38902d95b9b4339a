//! Pure: the skipper. It walks over JSON text that comes in pieces and may be cut anywhere, checks
//! it as strictly as [`super::super::scan`], and tells what happens on the outer levels. Below them
//! it is silent.

use super::super::scan::{DEPTH_CEILING, Limits, ScanError, plain_run};

/// The deepest level whose events are told: 1 is inside the message, 2 is inside its members.
const WATCHED: usize = 2;

/// Something on an outer level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// What.
    pub(super) what: What,
    /// How many containers stand around it.
    pub(super) depth: usize,
    /// Where, in the piece.
    pub(super) at: usize,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A comma stands here.
    Comma,
    /// A key begins here, with its quote.
    Key,
    /// The key ended before here.
    Named,
    /// A value begins here, with this byte.
    Value(u8),
    /// The value ended before here.
    End,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    After,
    Text,
    Escape,
    /// So many hexadecimal digits.
    Hex(u8),
    Number(Part),
    /// The rest of a literal.
    Word(&'static [u8]),
}

/// What a number has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Letter,
    Sign,
    Power,
}

/// Where the walk stands. A few words, however deep and long the text.
#[derive(Debug)]
pub(super) struct Walker {
    spot: Spot,
    depth: usize,
    /// The innermost container is an object.
    object: bool,
    /// The string is a key.
    key: bool,
    /// One bit a level: set = object.
    objects: [u64; DEPTH_CEILING / 64],
}

type Step = Result<Option<Event>, ScanError>;

impl Walker {
    /// At the start of a text.
    pub(super) fn new() -> Self {
        let objects = [0; DEPTH_CEILING / 64];
        Self { spot: Spot::Value, depth: 0, object: false, key: false, objects }
    }

    /// Whether the text so far is one whole value.
    pub(super) fn is_done(&self) -> bool {
        self.spot == Spot::After && self.depth == 0
    }

    /// Walks on from `at` to the next event; `None` when the piece is over.
    pub(super) fn next(&mut self, piece: &[u8], at: &mut usize) -> Step {
        while let Some(byte) = piece.get(*at).copied() {
            let event = match self.spot {
                Spot::Text => self.text(piece, at)?,
                Spot::Escape => self.escape(byte, at)?,
                Spot::Hex(left) => self.hex(byte, left, at)?,
                Spot::Number(part) => self.number(piece, part, at)?,
                Spot::Word(rest) => self.word(byte, rest, at)?,
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => {
                    *at += 1;
                    None
                }
                Spot::ValueOrEnd if byte == b']' => self.close(at),
                Spot::Value | Spot::ValueOrEnd => self.value(byte, at)?,
                Spot::KeyOrEnd if byte == b'}' => self.close(at),
                Spot::Key | Spot::KeyOrEnd => self.key(byte, at)?,
                Spot::Colon => self.colon(byte, at)?,
                Spot::After => self.after(byte, at)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn told(&self, what: What, at: usize) -> Option<Event> {
        (self.depth <= WATCHED).then_some(Event { what, depth: self.depth, at })
    }

    fn value(&mut self, byte: u8, at: &mut usize) -> Step {
        let told = self.told(What::Value(byte), *at);
        self.spot = match byte {
            b'"' => {
                self.key = false;
                Spot::Text
            }
            b'{' => {
                self.enter(true)?;
                Spot::KeyOrEnd
            }
            b'[' => {
                self.enter(false)?;
                Spot::ValueOrEnd
            }
            b't' => Spot::Word(b"rue"),
            b'f' => Spot::Word(b"alse"),
            b'n' => Spot::Word(b"ull"),
            b'-' => Spot::Number(Part::Minus),
            b'0' => Spot::Number(Part::Zero),
            b'1'..=b'9' => Spot::Number(Part::Digits),
            _ => return Err(ScanError::Syntax(*at)),
        };
        *at += 1;
        Ok(told)
    }

    fn key(&mut self, byte: u8, at: &mut usize) -> Step {
        if byte != b'"' {
            return Err(ScanError::Syntax(*at));
        }
        let told = self.told(What::Key, *at);
        *at += 1;
        self.key = true;
        self.spot = Spot::Text;
        Ok(told)
    }

    fn colon(&mut self, byte: u8, at: &mut usize) -> Step {
        if byte != b':' {
            return Err(ScanError::Syntax(*at));
        }
        *at += 1;
        self.spot = Spot::Value;
        Ok(None)
    }

    fn after(&mut self, byte: u8, at: &mut usize) -> Step {
        match byte {
            b',' if self.depth > 0 => {
                let told = self.told(What::Comma, *at);
                *at += 1;
                self.spot = if self.object { Spot::Key } else { Spot::Value };
                Ok(told)
            }
            b'}' if self.object => Ok(self.close(at)),
            b']' if !self.object && self.depth > 0 => Ok(self.close(at)),
            _ => Err(ScanError::Syntax(*at)),
        }
    }

    /// Passes over what is plain in a string, and over the byte that ends it.
    fn text(&mut self, piece: &[u8], at: &mut usize) -> Step {
        *at += plain_run(piece.get(*at..).unwrap_or_default());
        match piece.get(*at) {
            None => Ok(None),
            Some(b'"') => {
                *at += 1;
                if self.key {
                    self.spot = Spot::Colon;
                    return Ok(self.told(What::Named, *at));
                }
                Ok(self.end(*at))
            }
            Some(b'\\') => {
                *at += 1;
                self.spot = Spot::Escape;
                Ok(None)
            }
            Some(_) => Err(ScanError::Syntax(*at)),
        }
    }

    fn escape(&mut self, byte: u8, at: &mut usize) -> Step {
        self.spot = match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Spot::Text,
            b'u' => Spot::Hex(4),
            _ => return Err(ScanError::Syntax(*at)),
        };
        *at += 1;
        Ok(None)
    }

    fn hex(&mut self, byte: u8, left: u8, at: &mut usize) -> Step {
        if !byte.is_ascii_hexdigit() {
            return Err(ScanError::Syntax(*at));
        }
        *at += 1;
        self.spot = if left > 1 { Spot::Hex(left - 1) } else { Spot::Text };
        Ok(None)
    }

    fn word(&mut self, byte: u8, rest: &'static [u8], at: &mut usize) -> Step {
        let Some((first, rest)) = rest.split_first().filter(|(first, _)| **first == byte) else {
            return Err(ScanError::Syntax(*at));
        };
        debug_assert!(first.is_ascii_lowercase(), "literals are words");
        *at += 1;
        if rest.is_empty() {
            return Ok(self.end(*at));
        }
        self.spot = Spot::Word(rest);
        Ok(None)
    }

    /// Walks over a number. Its end shows only in the byte behind it.
    fn number(&mut self, piece: &[u8], mut part: Part, at: &mut usize) -> Step {
        while let Some(byte) = piece.get(*at) {
            part = match (part, byte) {
                (Part::Minus, b'0') => Part::Zero,
                (Part::Minus | Part::Digits, b'0'..=b'9') => Part::Digits,
                (Part::Zero | Part::Digits, b'.') => Part::Point,
                (Part::Point | Part::Fraction, b'0'..=b'9') => Part::Fraction,
                (Part::Zero | Part::Digits | Part::Fraction, b'e' | b'E') => Part::Letter,
                (Part::Letter, b'+' | b'-') => Part::Sign,
                (Part::Letter | Part::Sign | Part::Power, b'0'..=b'9') => Part::Power,
                (Part::Zero | Part::Digits | Part::Fraction | Part::Power, _) => {
                    return Ok(self.end(*at));
                }
                _ => return Err(ScanError::Syntax(*at)),
            };
            *at += 1;
        }
        self.spot = Spot::Number(part);
        Ok(None)
    }

    fn end(&mut self, at: usize) -> Option<Event> {
        self.spot = Spot::After;
        self.told(What::End, at)
    }

    fn enter(&mut self, object: bool) -> Result<(), ScanError> {
        let max = Limits::ANSWER.depth_max;
        if self.depth >= max {
            return Err(ScanError::TooDeep(max));
        }
        if let Some(word) = self.objects.get_mut(self.depth / 64) {
            let bit = 1_u64 << (self.depth % 64);
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        self.object = object;
        Ok(())
    }

    fn close(&mut self, at: &mut usize) -> Option<Event> {
        debug_assert!(self.depth > 0, "a container is left only after it was entered");
        self.depth = self.depth.saturating_sub(1);
        self.object = self.depth.checked_sub(1).is_some_and(|level| {
            self.objects.get(level / 64).is_some_and(|word| word >> (level % 64) & 1 == 1)
        });
        *at += 1;
        self.end(*at)
    }
}
