//! Pure: which addresses a host name stands for, by what was known of it and what a lookup found.
//! What a lookup does not tell stays as it was: a name server that is down takes nobody away.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a lookup found, one kind of addresses at a time: none, if there surely are none; or why
/// nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// IPv4.
    pub v4: Result<Vec<IpAddr>, String>,
    /// IPv6.
    pub v6: Result<Vec<IpAddr>, String>,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The name stands for these.
    Found(Found),
    /// There is no address under the name: what was known stays.
    Nothing,
    /// Nobody knows, and why: what was known stays.
    Failed(String),
}

/// The addresses of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that become replicas, or are.
    pub addresses: BTreeSet<IpAddr>,
    /// Those of them that were not known.
    pub came: Vec<IpAddr>,
    /// Known ones that the name no longer stands for.
    pub went: Vec<IpAddr>,
    /// How many more there are than may become replicas.
    pub left_out: usize,
    /// Why one kind could not be looked up; what is known of that kind stays.
    pub half: Option<String>,
}

/// The addresses after an answer, `most` at most: those that are known go before new ones, so that
/// a name with too many does not change all the time.
pub fn decide(known: &BTreeSet<IpAddr>, answer: &Answer, most: usize) -> Verdict {
    let why = match (&answer.v4, &answer.v6) {
        (Err(why), Err(_)) => return Verdict::Failed(why.clone()),
        (Err(why), Ok(_)) | (Ok(_), Err(why)) => Some(why.clone()),
        (Ok(_), Ok(_)) => None,
    };
    let mut all: BTreeSet<IpAddr> = BTreeSet::new();
    for (half, is_v4) in [(&answer.v4, true), (&answer.v6, false)] {
        match half {
            Ok(found) => all.extend(found.iter().map(IpAddr::to_canonical).filter(is_usable)),
            Err(_) => all.extend(known.iter().filter(|address| address.is_ipv4() == is_v4)),
        }
    }
    if all.is_empty() {
        return why.map_or(Verdict::Nothing, Verdict::Failed);
    }
    let (stay, fresh): (Vec<_>, Vec<_>) = all.iter().partition(|address| known.contains(address));
    let left_out = all.len().saturating_sub(most);
    let addresses: BTreeSet<IpAddr> = stay.into_iter().chain(fresh).take(most).collect();
    let came = addresses.difference(known).copied().collect();
    let went = known.difference(&addresses).copied().collect();
    Verdict::Found(Found { addresses, came, went, left_out, half: why })
}

/// Whether a server can be reached at an address: some are none of a machine, and one within a
/// link needs to be told which.
fn is_usable(address: &IpAddr) -> bool {
    let odd = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(odd || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn answer(v4: &[&str], v6: &[&str]) -> Answer {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Answer { v4: Ok(all(v4)), v6: Ok(all(v6)) }
    }

    fn failed(half: &str) -> Result<Vec<IpAddr>, String> {
        Err(half.to_owned())
    }

    /// `(addresses, came, went, left out)`
    fn found(verdict: Verdict) -> (Vec<String>, Vec<String>, Vec<String>, usize) {
        let Verdict::Found(found) = verdict else { panic!("{verdict:?}") };
        let texts = |all: Vec<IpAddr>| all.iter().map(ToString::to_string).collect();
        let all = found.addresses.into_iter().collect();
        (texts(all), texts(found.came), texts(found.went), found.left_out)
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_come_and_go_as_the_answer_says() {
        let known = set(&["10.0.0.1", "10.0.0.2", "2001:db8::1"]);
        let verdict = decide(&known, &answer(&["10.0.0.3", "10.0.0.2"], &["2001:db8::1"]), 32);
        let expected = (
            owned(&["10.0.0.2", "10.0.0.3", "2001:db8::1"]),
            owned(&["10.0.0.3"]),
            owned(&["10.0.0.1"]),
            0,
        );
        assert_eq!(found(verdict), expected);
        let turned = answer(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], &["2001:db8::1"]);
        let (all, came, went, _) = found(decide(&known, &turned, 32));
        assert_eq!((all.len(), came, went), (3, vec![], vec![]), "another order is no change");
    }

    #[test]
    fn what_nobody_knows_stays_as_it_was() {
        let known = set(&["10.0.0.1", "2001:db8::1"]);
        let both = Answer { v4: failed("down"), v6: failed("down too") };
        assert_eq!(decide(&known, &both, 32), Verdict::Failed("down".to_owned()));
        assert_eq!(decide(&known, &answer(&[], &[]), 32), Verdict::Nothing);
        let half = Answer { v4: failed("down"), ..answer(&[], &["2001:db8::2"]) };
        let Verdict::Found(verdict) = decide(&known, &half, 32) else { panic!() };
        assert_eq!(verdict.addresses, set(&["10.0.0.1", "2001:db8::2"]), "one kind is known");
        assert_eq!((verdict.came.len(), verdict.went.len()), (1, 1));
        assert_eq!(verdict.half.as_deref(), Some("down"));
        // Nothing of one kind, and nobody knows of the other.
        let nothing = Answer { v6: failed("down"), ..answer(&[], &[]) };
        let verdict = decide(&set(&["10.0.0.1"]), &nothing, 32);
        assert_eq!(verdict, Verdict::Failed("down".to_owned()), "no fleet is emptied by half");
    }

    #[test]
    fn where_there_are_too_many_the_known_ones_stay() {
        let known = set(&["10.0.0.8", "10.0.0.9"]);
        let many = answer(&["10.0.0.1", "10.0.0.2", "10.0.0.8", "10.0.0.9"], &["2001:db8::1"]);
        let (all, came, went, left_out) = found(decide(&known, &many, 3));
        assert_eq!(all, ["10.0.0.1", "10.0.0.8", "10.0.0.9"]);
        assert_eq!((came, went, left_out), (owned(&["10.0.0.1"]), vec![], 2));
    }

    #[test]
    fn what_is_no_address_of_a_server_is_none() {
        let odd = answer(
            &["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1"],
            &["::", "ff02::1", "fe80::1", "::ffff:10.0.0.1"],
        );
        let (all, ..) = found(decide(&set(&[]), &odd, 32));
        assert_eq!(all, ["10.0.0.1", "127.0.0.1"]);
        assert_eq!(decide(&set(&[]), &answer(&["0.0.0.0"], &["::"]), 32), Verdict::Nothing);
    }

    fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
        proptest::collection::vec((0_u8..12).prop_map(|n| IpAddr::from([10, 0, 0, n])), 0..20)
    }

    proptest! {
        #[test]
        fn a_fleet_is_never_emptied_and_never_beyond_its_bound(
            known in addresses(), v4 in addresses(), fails in any::<bool>(), most in 1_usize..8,
        ) {
            let known: BTreeSet<IpAddr> = known.into_iter().take(most).collect();
            let v4 = if fails { Err("down".to_owned()) } else { Ok(v4) };
            let answer = Answer { v4, v6: Ok(Vec::new()) };
            if let Verdict::Found(found) = decide(&known, &answer, most) {
                prop_assert!((1..=most).contains(&found.addresses.len()));
                let mut after = known.clone();
                after.extend(&found.came);
                found.went.iter().for_each(|gone| assert!(after.remove(gone)));
                prop_assert_eq!(&after, &found.addresses);
                // Whoever is known and still there is not left out for a new one.
                let still = answer.v4.iter().flatten().filter(|there| known.contains(there));
                prop_assert!(still.clone().all(|there| found.addresses.contains(there)));
            }
        }
    }
}
