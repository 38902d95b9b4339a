//! Pure: how long a service asks us to wait.

use std::time::Duration;

use http::HeaderMap;
use jiff::fmt::rfc2822;

/// Longest wait that is believed: after that we ask again, whatever was said.
const WAIT_MAX: Duration = Duration::from_hours(24);
/// Numbers from here on are points in time (Unix seconds), smaller ones are seconds from now.
const UNIX_FROM: u64 = 1_000_000_000;

/// The wait of `Retry-After` (seconds or a date), else of `RateLimit-Reset` (Unix seconds, or
/// seconds from now). `unix_now` in seconds.
pub(super) fn wait(headers: &HeaderMap, unix_now: u64) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text("retry-after")
        .and_then(|text| number(text, unix_now).or_else(|| date(text, unix_now)));
    let asked = asked.or_else(|| text("ratelimit-reset").and_then(|text| number(text, unix_now)));
    asked.map(|wait| wait.min(WAIT_MAX))
}

fn number(text: &str, unix_now: u64) -> Option<Duration> {
    let number = text.parse::<u64>().ok()?;
    let secs = if number >= UNIX_FROM { number.saturating_sub(unix_now) } else { number };
    Some(Duration::from_secs(secs))
}

fn date(text: &str, unix_now: u64) -> Option<Duration> {
    let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let at = u64::try_from(at.as_second()).unwrap_or(0);
    Some(Duration::from_secs(at.saturating_sub(unix_now)))
}

/// Seconds for people: rounded up, so that the next try is not too early.
pub(super) fn secs_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn secs(pairs: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        wait(&headers, NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(secs(&[]), None);
        assert_eq!(secs(&[("retry-after", "30")]), Some(30));
        assert_eq!(secs(&[("retry-after", "soon")]), None);
        assert_eq!(secs(&[("retry-after", "Fri, 15 Jan 2027 08:01:00 GMT")]), Some(60));
        assert_eq!(secs(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(0));
        assert_eq!(secs(&[("ratelimit-reset", "1800000045")]), Some(45));
        assert_eq!(secs(&[("ratelimit-reset", "45")]), Some(45));
        assert_eq!(secs(&[("retry-after", "5"), ("ratelimit-reset", "45")]), Some(5));
        assert_eq!(secs(&[("retry-after", "999999")]), Some(86_400), "a day at most");
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(
            [0, 1, 999, 1_000, 1_001].map(|ms| secs_up(Duration::from_millis(ms))),
            [0, 1, 1, 1, 2]
        );
    }
}
