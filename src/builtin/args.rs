//! Pure: the arguments of a call, read one by one, so that every refusal names the key, what was
//! expected and, for a misspelt key, the nearest known one.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;

/// How alike two keys must be (Damerau-Levenshtein, 0 to 1) to be worth a hint.
const LIKENESS_MIN: f64 = 0.5;
/// Longest piece of a caller's text that a message repeats, in characters.
const ECHO_CHARS_MAX: usize = 60;

/// Why arguments are refused: one sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadArguments(String);

impl fmt::Display for BadArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid arguments: {}", self.0)
    }
}

/// Arguments that hold known keys only.
#[derive(Debug)]
pub(super) struct Args<'a> {
    values: BTreeMap<String, &'a RawValue>,
}

impl<'a> Args<'a> {
    /// Reads the object and refuses keys that are not in `keys`. `null` counts as not given.
    pub(super) fn read(raw: &'a [u8], keys: &[&str]) -> Result<Self, BadArguments> {
        let values: BTreeMap<String, &RawValue> = serde_json::from_slice(raw)
            .map_err(|error| BadArguments(format!("expected a JSON object ({error})")))?;
        let unknown: Vec<_> = values.keys().filter(|key| !keys.contains(&key.as_str())).collect();
        if !unknown.is_empty() {
            let hints: Vec<_> = unknown.iter().map(|key| unknown_key(key, keys)).collect();
            return Err(BadArguments(hints.join("; ")));
        }
        Ok(Self { values: values.into_iter().filter(|(_, raw)| raw.get() != "null").collect() })
    }

    /// A text of so many characters (Unicode scalar values), not only white space; trimmed.
    pub(super) fn text(
        &self,
        key: &str,
        chars: RangeInclusive<usize>,
    ) -> Result<Option<String>, BadArguments> {
        let expected = || format!("a text of {} to {} characters", chars.start(), chars.end());
        let Some(text) = self.string(key, &expected)? else {
            return Ok(None);
        };
        let text = text.trim();
        let count = text.chars().count();
        if chars.contains(&count) {
            return Ok(Some(text.to_owned()));
        }
        Err(wrong(key, &expected(), &format!("{count} characters")))
    }

    /// A text as it is, however long.
    pub(super) fn any_text(&self, key: &str) -> Result<Option<String>, BadArguments> {
        self.string(key, &|| "a string".to_owned())
    }

    /// A whole number within bounds; `5.0` is one too, as in JSON Schema.
    pub(super) fn integer(
        &self,
        key: &str,
        bounds: RangeInclusive<u32>,
    ) -> Result<Option<u32>, BadArguments> {
        let Some(raw) = self.values.get(key) else {
            return Ok(None);
        };
        let whole = raw.get().parse::<f64>().ok().filter(|number| number.fract() == 0.0);
        match whole.and_then(|number| format!("{number:.0}").parse::<u32>().ok()) {
            Some(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => {
                let expected =
                    format!("a whole number from {} to {}", bounds.start(), bounds.end());
                Err(wrong(key, &expected, &found(raw)))
            }
        }
    }

    /// A number within bounds.
    pub(super) fn number(
        &self,
        key: &str,
        bounds: RangeInclusive<f64>,
    ) -> Result<Option<f64>, BadArguments> {
        let Some(raw) = self.values.get(key) else {
            return Ok(None);
        };
        match serde_json::from_str::<f64>(raw.get()) {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => {
                let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
                Err(wrong(key, &expected, &found(raw)))
            }
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, BadArguments> {
        let expected = || {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            words.join(" or ")
        };
        let Some(text) = self.string(key, &expected)? else {
            return Ok(None);
        };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(wrong(key, &expected(), &format!("\"{}\"", shortened(&text)))),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, BadArguments> {
        match self.values.get(key).map(|raw| raw.get()) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => {
                let found = self.values.get(key).map_or_else(String::new, |raw| found(raw));
                Err(wrong(key, "true or false", &found))
            }
        }
    }

    /// An object, as its own text.
    pub(super) fn object(&self, key: &str) -> Result<Option<&'a str>, BadArguments> {
        let Some(raw) = self.values.get(key) else { return Ok(None) };
        if is_object(raw) {
            return Ok(Some(raw.get()));
        }
        Err(wrong(key, "an object", &found(raw)))
    }

    /// A list of so many objects, each as its own text.
    pub(super) fn objects(
        &self,
        key: &str,
        count: RangeInclusive<usize>,
    ) -> Result<Option<Vec<&'a str>>, BadArguments> {
        let Some(raw) = self.values.get(key) else { return Ok(None) };
        let expected = format!("a list of {} to {} objects", count.start(), count.end());
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            return Err(wrong(key, &expected, &found(raw)));
        };
        if !count.contains(&items.len()) {
            return Err(wrong(key, &expected, &format!("{} items", items.len())));
        }
        match items.iter().position(|item| !is_object(item)) {
            Some(at) => Err(wrong(
                &format!("{key}[{at}]"),
                "an object",
                &items.get(at).map_or_else(String::new, |raw| found(raw)),
            )),
            None => Ok(Some(items.into_iter().map(RawValue::get).collect())),
        }
    }

    fn string(
        &self,
        key: &str,
        expected: &dyn Fn() -> String,
    ) -> Result<Option<String>, BadArguments> {
        let Some(raw) = self.values.get(key) else {
            return Ok(None);
        };
        match String::deserialize(*raw) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(wrong(key, &expected(), &found(raw))),
        }
    }
}

/// The value of a key that must be there.
pub(super) fn required<T>(value: Option<T>, key: &str, expected: &str) -> Result<T, BadArguments> {
    value.ok_or_else(|| BadArguments(format!("`{key}` is missing: expected {expected}")))
}

/// A refusal in the tool's own words.
pub(super) fn refused(message: impl Into<String>) -> BadArguments {
    BadArguments(message.into())
}

fn wrong(key: &str, expected: &str, found: &str) -> BadArguments {
    BadArguments(format!("`{key}`: expected {expected}, found {found}"))
}

fn unknown_key(key: &str, keys: &[&str]) -> String {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&key.to_lowercase(), known);
    let nearest = keys
        .iter()
        .map(|known| (likeness(known), *known))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    let key = shortened(key);
    match nearest {
        Some((_, known)) => format!("unknown key `{key}`; did you mean `{known}`?"),
        None => format!("unknown key `{key}`; known keys: {}", keys.join(", ")),
    }
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

fn found(raw: &RawValue) -> String {
    match raw.get().bytes().next() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        // A string that would not parse as text: half of a surrogate pair, say.
        Some(b'"') => match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => format!("the string \"{}\"", shortened(&text)),
            Err(_) => "a string that is not valid Unicode".to_owned(),
        },
        _ => shortened(raw.get()),
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(ECHO_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: fmt::Debug>(result: Result<T, BadArguments>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_misspelt_key_names_the_nearest_one() {
        let got = refusal(Args::read(br#"{"mesage":"x"}"#, &["message"]));
        assert_eq!(got, "invalid arguments: unknown key `mesage`; did you mean `message`?");
        let got = refusal(Args::read(br#"{"Message":"x"}"#, &["message"]));
        assert!(got.ends_with("did you mean `message`?"), "{got}");
        let got = refusal(Args::read(br#"{"zzz":1,"citty":2}"#, &["city", "units"]));
        assert!(got.contains("unknown key `citty`; did you mean `city`?"), "{got}");
        assert!(got.contains("unknown key `zzz`; known keys: city, units"), "{got}");
    }

    #[test]
    fn arguments_must_be_an_object() {
        for raw in [&b"[]"[..], b"\"x\"", b"1", b"", b"{", b"{} {}", b"{\"a\":\xff}"] {
            let got = refusal(Args::read(raw, &["a"]));
            assert!(got.starts_with("invalid arguments: expected a JSON object"), "{got}");
        }
    }

    #[test]
    fn a_text_is_trimmed_and_counted_in_characters() {
        let read = |raw: &str| Args::read(raw.as_bytes(), &["q"]).unwrap().text("q", 2..=3);
        assert_eq!(read(r#"{"q":" a😀b "}"#), Ok(Some("a😀b".to_owned())));
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"q":null}"#), Ok(None), "null is not given");
        let expected = "invalid arguments: `q`: expected a text of 2 to 3 characters, found ";
        for (raw, found) in [
            (r#"{"q":"😀😀😀😀"}"#, "4 characters"),
            (r#"{"q":"  a  "}"#, "1 characters"),
            (r#"{"q":12}"#, "12"),
            (r#"{"q":["x"]}"#, "an array"),
            (r#"{"q":"\ud800"}"#, "a string that is not valid Unicode"),
        ] {
            assert_eq!(refusal(read(raw)), format!("{expected}{found}"));
        }
    }

    #[test]
    fn whole_numbers_keep_their_bounds() {
        let read = |raw: &str| Args::read(raw.as_bytes(), &["n"]).unwrap().integer("n", 1..=50);
        assert_eq!(read(r#"{"n":1}"#), Ok(Some(1)));
        assert_eq!(read(r#"{"n":50.0}"#), Ok(Some(50)));
        for raw in [r#"{"n":0}"#, r#"{"n":51}"#, r#"{"n":1.5}"#, r#"{"n":"5"}"#, r#"{"n":-1}"#] {
            let got = refusal(read(raw));
            let start = "invalid arguments: `n`: expected a whole number from 1 to 50, found ";
            assert!(got.starts_with(start), "{got}");
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let read =
            |raw: &str| Args::read(raw.as_bytes(), &["n"]).unwrap().number("n", -90.0..=90.0);
        assert_eq!(read(r#"{"n":-90}"#), Ok(Some(-90.0)));
        assert_eq!(read(r#"{"n":51.5}"#), Ok(Some(51.5)));
        for raw in [r#"{"n":90.01}"#, r#"{"n":"51"}"#, r#"{"n":1e999}"#] {
            assert!(refusal(read(raw)).contains("a number from -90 to 90"), "{raw}");
        }
    }

    #[test]
    fn objects_are_taken_as_they_stand() {
        let read = |raw: &'static str| Args::read(raw.as_bytes(), &["l", "o", "f"]).unwrap();
        let list = |raw| read(raw).objects("l", 1..=2);
        assert_eq!(list(r#"{"l":[{"a": 1},{}]}"#), Ok(Some(vec![r#"{"a": 1}"#, "{}"])));
        for (raw, says) in [
            (r#"{"l":[]}"#, "`l`: expected a list of 1 to 2 objects, found 0 items"),
            (r#"{"l":[{},7]}"#, "`l[1]`: expected an object, found 7"),
            (r#"{"l":{}}"#, "`l`: expected a list of 1 to 2 objects, found an object"),
        ] {
            assert_eq!(refusal(list(raw)), format!("invalid arguments: {says}"));
        }
        assert_eq!(read(r#"{"o":{"x":[1, 2]}}"#).object("o"), Ok(Some(r#"{"x":[1, 2]}"#)));
        assert!(refusal(read(r#"{"o":[]}"#).object("o")).contains("expected an object"));
        assert_eq!(read(r#"{"f":true}"#).flag("f"), Ok(Some(true)));
        assert!(refusal(read(r#"{"f":"true"}"#).flag("f")).contains("expected true or false"));
    }

    #[test]
    fn a_choice_lists_its_words() {
        let choices = [("metric", 1), ("imperial", 2)];
        let read = |raw: &str| Args::read(raw.as_bytes(), &["u"]).unwrap().choice("u", &choices);
        assert_eq!(read(r#"{"u":"imperial"}"#), Ok(Some(2)));
        let got = refusal(read(r#"{"u":"kelvin"}"#));
        let expected = "`u`: expected \"metric\" or \"imperial\", found \"kelvin\"";
        assert_eq!(got, format!("invalid arguments: {expected}"));
    }
}
