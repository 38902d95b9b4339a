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
    Hex,
    Number,
    Word,
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
    /// In an escape: how many hexadecimal digits must come.
    digits: u8,
    /// In a number: what it has so far.
    part: Part,
    /// In a literal: the rest of it.
    word: &'static [u8],
    /// One bit a level: set = object.
    objects: [u64; DEPTH_CEILING / 64],
}

type Step = Result<Option<Event>, ScanError>;

impl Walker {
    /// At the start of a text.
    pub(super) fn new() -> Self {
        let objects = [0; DEPTH_CEILING / 64];
        Self {
            spot: Spot::Value,
            depth: 0,
            object: false,
            key: false,
            digits: 0,
            part: Part::Minus,
            word: b"",
            objects,
        }
    }

    /// Whether the text so far is one whole value.
    pub(super) fn is_done(&self) -> bool {
        self.spot == Spot::After && self.depth == 0
    }

    /// Walks on from `at` to the next event; `None` when the piece is over.
    pub(super) fn next(&mut self, piece: &[u8], at: &mut usize) -> Step {
        loop {
            if self.depth > WATCHED {
                self.hurry(piece, at)?;
            }
            let Some(byte) = piece.get(*at).copied() else {
                return Ok(None);
            };
            let event = match self.spot {
                Spot::Text => self.text(piece, at)?,
                Spot::Escape => self.escape(byte, at)?,
                Spot::Hex => self.hex(byte, at)?,
                Spot::Number => self.number(piece, at)?,
                Spot::Word => self.word(byte, at)?,
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
    }

    /// Passes over what stands below the watched levels and is usual. It stops before anything
    /// that is not, and where the piece or the silence ends; [`Walker::next`] goes on there.
    fn hurry(&mut self, piece: &[u8], at: &mut usize) -> Result<(), ScanError> {
        while let Some(byte) = piece.get(*at).copied() {
            let usual = match self.spot {
                Spot::Text => self.hurry_text(piece, at),
                Spot::Escape | Spot::Hex | Spot::Number | Spot::Word => false,
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => {
                    *at += 1;
                    true
                }
                Spot::ValueOrEnd if byte == b']' => self.hurry_out(at),
                Spot::Value | Spot::ValueOrEnd => self.hurry_value(byte, piece, at)?,
                Spot::KeyOrEnd if byte == b'}' => self.hurry_out(at),
                Spot::Key | Spot::KeyOrEnd => {
                    byte == b'"' && {
                        *at += 1;
                        self.key = true;
                        self.hurry_text(piece, at)
                    }
                }
                Spot::Colon => {
                    byte == b':' && {
                        *at += 1;
                        self.spot = Spot::Value;
                        true
                    }
                }
                Spot::After if byte == b',' => {
                    *at += 1;
                    self.spot = if self.object { Spot::Key } else { Spot::Value };
                    true
                }
                Spot::After => byte == if self.object { b'}' } else { b']' } && self.hurry_out(at),
            };
            if !usual {
                break;
            }
        }
        Ok(())
    }

    /// Passes over a value that is a leaf, or into a container.
    fn hurry_value(&mut self, byte: u8, piece: &[u8], at: &mut usize) -> Result<bool, ScanError> {
        Ok(match byte {
            b'"' => {
                *at += 1;
                self.key = false;
                self.hurry_text(piece, at)
            }
            b'1'..=b'9' => self.hurry_number(piece, at),
            b'{' => {
                *at += 1;
                self.enter(true)?;
                self.spot = Spot::KeyOrEnd;
                true
            }
            b'[' => {
                *at += 1;
                self.enter(false)?;
                self.spot = Spot::ValueOrEnd;
                true
            }
            b't' => self.hurry_word(piece, at, b"true"),
            b'f' => self.hurry_word(piece, at, b"false"),
            b'n' => self.hurry_word(piece, at, b"null"),
            _ => false,
        })
    }

    /// Passes over a string whose escapes are short and which ends in this piece; else stops in it.
    fn hurry_text(&mut self, piece: &[u8], at: &mut usize) -> bool {
        let mut here = *at;
        loop {
            here += plain_run(piece.get(here..).unwrap_or_default());
            let (took, spot) = match piece.get(here..).unwrap_or_default() {
                [b'"', b':', ..] if self.key => (2, Spot::Value),
                [b'"', ..] => (1, if self.key { Spot::Colon } else { Spot::After }),
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => {
                    here += 2;
                    continue;
                }
                _ => (0, Spot::Text),
            };
            *at = here + took;
            self.spot = spot;
            return took > 0;
        }
    }

    /// Passes over a plain integer; else stops in the number.
    fn hurry_number(&mut self, piece: &[u8], at: &mut usize) -> bool {
        while piece.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        let ended = matches!(piece.get(*at), Some(b',' | b'}' | b']'));
        self.spot = if ended { Spot::After } else { self.begin_number(Part::Digits) };
        ended
    }

    /// Passes over a literal that is whole in this piece.
    fn hurry_word(&mut self, piece: &[u8], at: &mut usize, word: &'static [u8]) -> bool {
        let whole = piece.get(*at..*at + word.len()) == Some(word);
        if whole {
            *at += word.len();
            self.spot = Spot::After;
        }
        whole
    }

    /// Leaves a container, if silence is around it too.
    fn hurry_out(&mut self, at: &mut usize) -> bool {
        let silent = self.depth > WATCHED + 1;
        if silent {
            // It is told only where there is no silence.
            let told = self.close(at);
            debug_assert!(told.is_none(), "the levels below the watched ones are silent");
        }
        silent
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
            b't' => self.begin_word(b"rue"),
            b'f' => self.begin_word(b"alse"),
            b'n' => self.begin_word(b"ull"),
            b'-' => self.begin_number(Part::Minus),
            b'0' => self.begin_number(Part::Zero),
            b'1'..=b'9' => self.begin_number(Part::Digits),
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
            b'u' => {
                self.digits = 4;
                Spot::Hex
            }
            _ => return Err(ScanError::Syntax(*at)),
        };
        *at += 1;
        Ok(None)
    }

    fn hex(&mut self, byte: u8, at: &mut usize) -> Step {
        if !byte.is_ascii_hexdigit() {
            return Err(ScanError::Syntax(*at));
        }
        *at += 1;
        self.digits = self.digits.saturating_sub(1);
        if self.digits == 0 {
            self.spot = Spot::Text;
        }
        Ok(None)
    }

    fn begin_word(&mut self, rest: &'static [u8]) -> Spot {
        self.word = rest;
        Spot::Word
    }

    fn word(&mut self, byte: u8, at: &mut usize) -> Step {
        let Some((_, rest)) = self.word.split_first().filter(|(first, _)| **first == byte) else {
            return Err(ScanError::Syntax(*at));
        };
        *at += 1;
        self.word = rest;
        Ok(if rest.is_empty() { self.end(*at) } else { None })
    }

    fn begin_number(&mut self, part: Part) -> Spot {
        self.part = part;
        Spot::Number
    }

    /// Walks over a number. Its end shows only in the byte behind it.
    fn number(&mut self, piece: &[u8], at: &mut usize) -> Step {
        while let Some(byte) = piece.get(*at) {
            self.part = match (self.part, byte) {
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
