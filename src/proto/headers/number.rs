//! Pure: JSON numbers compared and written as decimals, digit by digit. Never through a float:
//! large integers keep their digits.

use std::borrow::Cow;

/// Most digits that an exponent may stand for when a number is written out (`1e2` → `100`).
const DIGITS_MAX: usize = 400;

/// A number as `± digits × 10^exponent`, with neither leading nor trailing zeros in `digits`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// Whether two texts are JSON numbers of the same value.
pub(super) fn equal(a: &str, b: &str) -> bool {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// A JSON number in decimal: an integer without point and exponent, anything else as it is written.
pub(super) fn decimal(number: &str) -> Cow<'_, str> {
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if plain && number != "-0" {
        return Cow::Borrowed(number);
    }
    parse(number).and_then(|value| value.integer()).map_or(Cow::Borrowed(number), Cow::Owned)
}

impl Decimal {
    /// The value without point and exponent, if it is an integer of a sensible length.
    fn integer(&self) -> Option<String> {
        let zeros = usize::try_from(self.exponent).ok().filter(|zeros| *zeros <= DIGITS_MAX)?;
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let sign = if self.negative { "-" } else { "" };
        Some(format!("{sign}{}{}", self.digits, "0".repeat(zeros)))
    }
}

/// Reads a number by the grammar of RFC 8259 section 6; `None` for anything else.
fn parse(text: &str) -> Option<Decimal> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, power) = match rest.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, exponent(power)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if !is_digits(whole) || leading_zero || fraction.is_some_and(|digits| !is_digits(digits)) {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - digits.len()).ok()?;
    let places = i64::try_from(fraction.len()).ok()?;
    let digits = digits.trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return Some(Decimal { negative: false, digits, exponent: 0 });
    }
    let exponent = power.checked_sub(places)?.checked_add(dropped)?;
    Some(Decimal { negative, digits, exponent })
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size: i64 = is_digits(digits).then(|| digits.parse().ok())??;
    Some(if negative { -size } else { size })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        let same = [
            ("42", "42.0"),
            ("1e2", "100"),
            ("0", "-0.0"),
            ("1.50", "15e-1"),
            ("0.001", "1E-3"),
            ("0e9", "0"),
            ("-7", "-70e-1"),
            ("9007199254740993", "9007199254740993.0"),
        ];
        for (a, b) in same {
            assert!(equal(a, b), "{a} {b}");
        }
        let different = [("9007199254740993", "9007199254740992"), ("1", "-1"), ("1", "10")];
        for (a, b) in different {
            assert!(!equal(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_json_number_equals_nothing() {
        let bad = ["", "-", "+1", "01", "1.", ".5", "1e", "0x10", "1 ", "1e99999999999999999999"];
        for text in bad {
            assert!(!equal(text, text), "{text}");
        }
    }

    #[test]
    fn integers_are_written_out() {
        let cases = [
            ("42", "42"),
            ("-0", "0"),
            ("42.0", "42"),
            ("1e2", "100"),
            ("-1.5e1", "-15"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("42.5", "42.5"),
            ("1e4000", "1e4000"),
        ];
        for (number, want) in cases {
            assert_eq!(decimal(number), want);
        }
    }

    proptest! {
        #[test]
        fn writing_out_keeps_the_value(mantissa: i64, point in 0_usize..4, power in -6_i32..6) {
            let text = format!("{mantissa}.{}e{power}", "0".repeat(point + 1));
            prop_assert!(equal(&decimal(&text), &text));
        }

        #[test]
        fn integers_compare_like_integers(a: i64, b: i64) {
            prop_assert_eq!(equal(&a.to_string(), &format!("{b}.0")), a == b);
        }
    }
}
