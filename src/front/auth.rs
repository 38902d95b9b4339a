//! Pure: who a client is, by the key it shows as `Authorization: Bearer KEY` (RFC 6750, 2.1).
//!
//! Only digests of the keys are kept, and all of them are compared with that of what was shown,
//! whole and whichever fits: how long it takes tells nothing about any key. Neither keys nor digests
//! have a text form.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use super::member::Member;
use super::spec::{AuthSpec, KEY_BYTES_MAX};

/// Routes that nobody needs a key for: orchestrators have none. All others need one, those too that
/// there is nothing at.
const OPEN: [&str; 3] = ["/health", "/health/live", "/health/ready"];
/// Below it clients look how to get a token (RFC 9728, RFC 8414). That there is nothing they must
/// be able to see: to a 401 they would ask on.
const WELL_KNOWN: &str = "/.well-known/";

/// What a client shows of itself for us and for nobody behind us.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It shows nothing.
    Missing,
    /// What it shows is no bearer token, or it shows several.
    Malformed,
    /// The token is no key of ours.
    Unknown,
}

/// Every [`Why`], in the order of their places.
pub const WHYS: [Why; 3] = [Why::Missing, Why::Malformed, Why::Unknown];

impl Why {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
        }
    }

    /// What the client is told.
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => {
                "this gateway asks who you are: send a key as `Authorization: Bearer KEY`"
            }
            Self::Malformed => "exactly one header `Authorization: Bearer KEY` is expected",
            Self::Unknown => "the key is not one of this gateway's",
        }
    }
}

/// The keys of the gateway and whose they are.
#[derive(Clone)]
pub struct Keys {
    known: Vec<(Digest, Arc<Member>)>,
}

type Digest = [u8; 32];

impl Keys {
    /// The keys of the configuration.
    pub fn new(spec: &AuthSpec) -> Self {
        let known = spec.keys.iter().map(|key| {
            let member = Arc::new(Member::new(key.name.clone(), spec.share));
            (digest(key.key.expose().as_bytes()), member)
        });
        Self { known: known.collect() }
    }

    /// The keys of a configuration that follows another one. Who stays, with the same share, keeps
    /// what it has in hand, whatever its key is now.
    #[must_use]
    pub fn renewed(&self, spec: &AuthSpec) -> Self {
        let mut new = Self::new(spec);
        for (_, member) in &mut new.known {
            let same = |old: &&Arc<Member>| old.is_like(member);
            if let Some(old) = self.known.iter().map(|(_, old)| old).find(same) {
                *member = Arc::clone(old);
            }
        }
        new
    }

    /// Whether nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a request for this path may come in, and as whom: as nobody where nobody is asked.
    pub fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<&Arc<Member>>, Why> {
        if self.known.is_empty() || OPEN.contains(&path) || path.starts_with(WELL_KNOWN) {
            return Ok(None);
        }
        self.verify(headers).map(Some)
    }

    /// Whose key the headers show.
    pub fn verify(&self, headers: &HeaderMap) -> Result<&Arc<Member>, Why> {
        let shown = digest(bearer(headers)?);
        let mut place = u32::MAX;
        for (index, (known, _)) in (0_u32..).zip(&self.known) {
            place.conditional_assign(&index, shown.ct_eq(known));
        }
        let found = usize::try_from(place).ok().and_then(|place| self.known.get(place));
        found.map(|(_, member)| member).ok_or(Why::Unknown)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.known.len())
    }
}

/// Takes out what a client shows of itself: from here on nothing can log it, or send it on.
pub fn strip(headers: &mut HeaderMap) {
    for name in CREDENTIALS {
        headers.remove(name);
    }
}

fn digest(text: &[u8]) -> Digest {
    Sha256::digest(text).into()
}

/// The token of the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Why> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => return Err(Why::Missing),
        (Some(line), None) => line.as_bytes(),
        (Some(_), Some(_)) => return Err(Why::Malformed),
    };
    let space = line.iter().position(|byte| *byte == b' ').ok_or(Why::Malformed)?;
    let (scheme, token) = line.split_at(space);
    let token = token.trim_ascii();
    let fits = (1..=KEY_BYTES_MAX).contains(&token.len())
        && token.iter().all(u8::is_ascii_graphic)
        && scheme.eq_ignore_ascii_case(b"bearer");
    if fits { Ok(token) } else { Err(Why::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PrincipalName, Secret};
    use crate::front::spec::{KeySpec, ShareSpec};

    fn keys(all: &[(&str, &str)]) -> Keys {
        let key = |(name, key): &(&str, &str)| KeySpec {
            name: PrincipalName::new(name).unwrap(),
            key: Secret::new(key),
        };
        Keys::new(&AuthSpec { keys: all.iter().map(key).collect(), share: ShareSpec::default() })
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().unwrap());
        }
        headers
    }

    fn shown(lines: &[&str]) -> Result<String, Why> {
        let keys = keys(&[
            ("alice", "correct horse".replace(' ', "-").as_str()),
            ("bob", "battery-staple"),
            ("eve", "correct-horse-"),
        ]);
        keys.verify(&headers(lines)).map(|member| member.who().name().to_string())
    }

    #[test]
    fn whoever_shows_a_key_is_the_one_it_belongs_to() {
        let name = |line: &str| shown(&[line]).unwrap();
        assert_eq!(name("Bearer correct-horse"), "alice");
        assert_eq!(name("Bearer battery-staple"), "bob");
        assert_eq!(name("Bearer correct-horse-"), "eve");
        for scheme in ["bearer", "BEARER", "bEaReR"] {
            assert_eq!(name(&format!("{scheme} battery-staple")), "bob");
        }
        assert_eq!(name("Bearer   battery-staple"), "bob");
    }

    #[test]
    fn anything_else_is_not_let_in() {
        assert_eq!(shown(&[]), Err(Why::Missing));
        for line in
            ["Bearer correct-hors", "Bearer Correct-horse", "Bearer x", "Bearer battery-stapl\\"]
        {
            assert_eq!(shown(&[line]), Err(Why::Unknown), "{line}");
        }
        let long = format!("Bearer {}", "x".repeat(KEY_BYTES_MAX + 1));
        for line in [
            "",
            "Bearer",
            "Bearer ",
            "battery-staple",
            "Bearerbattery-staple",
            "Bearer\tbattery-staple",
            "Bearer battery staple",
            "Bearer battery-staple, Bearer battery-staple",
            "Basic battery-staple",
            "Token battery-staple",
            " Bearer battery-staple",
            &long,
        ] {
            assert_eq!(shown(&[line]), Err(Why::Malformed), "{line}");
        }
        let good = "Bearer battery-staple";
        assert_eq!(shown(&[good, good]), Err(Why::Malformed));
        assert_eq!(shown(&[good, "Basic x"]), Err(Why::Malformed));
    }

    #[test]
    fn a_new_key_counts_an_old_one_does_not_and_who_stays_keeps_what_it_has_in_hand() {
        let old = keys(&[("alice", "correct-horse"), ("bob", "battery-staple")]);
        let new = AuthSpec {
            keys: vec![KeySpec {
                name: PrincipalName::new("alice").unwrap(),
                key: Secret::new("another-horse"),
            }],
            share: ShareSpec::default(),
        };
        let renewed = old.renewed(&new);
        let of = |keys: &Keys, key: &str| keys.verify(&headers(&[key])).cloned();
        let alice = of(&renewed, "Bearer another-horse").unwrap();
        assert!(Arc::ptr_eq(&alice, &of(&old, "Bearer correct-horse").unwrap()));
        for gone in ["Bearer correct-horse", "Bearer battery-staple"] {
            assert_eq!(of(&renewed, gone).unwrap_err(), Why::Unknown);
        }
        let share = ShareSpec { inflight_max: 1, ..ShareSpec::default() };
        let bounded = old.renewed(&AuthSpec { share, ..new });
        assert!(!Arc::ptr_eq(&alice, &of(&bounded, "Bearer another-horse").unwrap()));
    }

    #[test]
    fn with_keys_every_route_but_health_needs_one() {
        let (none, some) = (keys(&[]), keys(&[("alice", "correct-horse")]));
        let nothing = HeaderMap::new();
        for path in
            ["/health", "/health/live", "/health/ready", "/.well-known/oauth-protected-resource"]
        {
            assert!(some.admit(path, &nothing).unwrap().is_none(), "{path}");
        }
        for path in [
            "/mcp",
            "/mcp/view",
            "/",
            "/metrics",
            "/api/v1/tools",
            "/health/",
            "/healthy",
            "/%68ealth",
            "/nothing",
        ] {
            assert_eq!(some.admit(path, &nothing).unwrap_err(), Why::Missing, "{path}");
            let headers = headers(&["Bearer correct-horse"]);
            assert!(some.admit(path, &headers).unwrap().is_some(), "{path}");
            assert!(none.admit(path, &nothing).unwrap().is_none(), "{path}");
        }
    }

    #[test]
    fn what_was_shown_is_taken_out() {
        let mut headers = headers(&["Bearer a", "Bearer b"]);
        headers.append(COOKIE, "c=d".parse().unwrap());
        headers.append(PROXY_AUTHORIZATION, "Basic e".parse().unwrap());
        headers.append("accept", "*/*".parse().unwrap());
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = keys(&[("alice", "correct-horse")]);
        assert_eq!(format!("{keys:?}"), "Keys(1)");
    }
}
