//! What must hold in every world: the invariants over its books, and what must be left when all is
//! quiet.

use std::time::Duration;

use waypost::app::App;
use waypost::base::Tasks;
use waypost::upstream::nap::Phase;
use waypost::upstream::replica::Link;

use crate::host::Host;
use crate::ledger::{Class, Ledger, Outcome, Page};

/// What may be sent again: for a tenth of the calls, once a second, and what is there at first;
/// beside it the second requests of one slow call in twenty.
fn repetitions_allowed(calls: usize, span: Duration) -> f64 {
    let calls = f64::from(u32::try_from(calls).unwrap());
    calls * (0.1 + 0.05) + span.as_secs_f64() + 6.0
}

/// Holds the books against each other. `clear` = nothing can be on its way that no server has
/// seen whole.
pub(crate) fn books(ledger: &Ledger, upstreams: usize, span: Duration, clear: bool) {
    let pages = ledger.pages();
    for (op, page) in &pages {
        one(ledger, *op, page, clear);
    }
    for upstream in 0..upstreams {
        let own = || pages.values().filter(|page| page.upstream == upstream);
        let extra: u32 = own().map(|page| page.taken.saturating_sub(1)).sum();
        let allowed = repetitions_allowed(own().count(), span);
        if f64::from(extra) > allowed {
            let text = format!("I6: {extra} repetitions at upstream {upstream}, {allowed} allowed");
            ledger.breach(text);
        }
    }
}

fn one(ledger: &Ledger, op: u64, page: &Page, clear: bool) {
    let (runs, class) = (page.runs.len(), page.class);
    let Some((_, outcome, troubles)) = &page.ended else {
        return ledger.breach(format!("I3: op {op} never ended"));
    };
    if class == Class::Once && runs > 1 {
        ledger.breach(format!("I1: op {op} must run once and ran {runs} times: {:?}", page.runs));
    }
    if class == Class::Once && page.taken > 1 {
        ledger.breach(format!("I1: op {op} must run once and was sent {} times", page.taken));
    }
    if class == Class::Denied && page.reached > 0 {
        ledger.breach(format!("I8: op {op} is forbidden and reached a server"));
    }
    match outcome {
        Outcome::Result if runs == 0 => {
            ledger.breach(format!("I2: op {op} has a result and never ran"));
        }
        Outcome::Ours { delivery, .. } if delivery == "unknown" => {
            let quiet = *troubles == page.troubles_before;
            let nothing = clear && quiet && page.reached == 0;
            nothing.then(|| ledger.breach(format!("I5: op {op} may have run, and was not sent")));
        }
        Outcome::Ours { delivery, .. } if runs > 0 => {
            ledger.breach(format!("I5: op {op} ran, and its client was told {delivery}"));
        }
        _ => {}
    }
}

/// Where nothing goes wrong every call succeeds, whatever is loaded meanwhile.
pub(crate) fn peace(ledger: &Ledger) {
    let mut slow = false;
    for (op, page) in ledger.pages() {
        let Some((_, outcome, _)) = &page.ended else { continue };
        // Some tools take longer than a call may. A server whose tools often do is no well one: its
        // gate may shut.
        slow |= matches!(outcome, Outcome::Ours { code: -31_004, .. });
        let fine = matches!(outcome, Outcome::Result | Outcome::GivenUp)
            || matches!(outcome, Outcome::Ours { code: -31_004, .. })
            || (slow && matches!(outcome, Outcome::Ours { code: -31_002, .. }))
            || page.class == Class::Denied;
        if !fine {
            ledger.breach(format!("I2: op {op} failed in a world without faults: {outcome:?}"));
        }
    }
}

/// I9: what is left of calls when all of them have ended.
pub(crate) fn quiet(ledger: &Ledger, app: &App, tasks: &Tasks, hosts: &[&Host]) {
    let snapshot = app.gateway.snapshot();
    let (mut expected, mut asleep) = (0, Vec::new());
    for upstream in &snapshot.upstreams {
        let pool = &upstream.pool;
        let name = &pool.upstream;
        if pool.load() != (0, 0) {
            ledger.breach(format!("I9: {:?} calls run and wait at {name}", pool.load()));
        }
        for member in &pool.members {
            let (replica, limits) = (&member.replica, &pool.spec().limits);
            let most =
                if replica.is_child() { limits.inflight_child } else { limits.inflight_http };
            let busy = (member.vital.load.busy(), most - replica.permits.available_permits());
            let name = &replica.spec.name;
            if busy != (0, 0) {
                ledger.breach(format!("I9: {name} is busy with {busy:?} calls"));
            }
            if let Some(live) = replica.live()
                && let Link::Stdio(link) = &live.link
                && link.channel().waiting() > 2
            {
                let waiting = link.channel().waiting();
                ledger.breach(format!("I9: {waiting} wait for answers of {name}"));
            }
            // A keeper; the reader, the writer and the stderr of a child that is awake.
            expected += if replica.is_child() && replica.is_up() { 4 } else { 1 };
            asleep.extend((replica.phase() == Phase::Asleep).then(|| name.as_str().to_owned()));
        }
    }
    if tasks.len() != expected {
        let text = format!("I9: {} tasks of the keepers instead of {expected}", tasks.len());
        ledger.breach(text);
    }
    for host in hosts {
        let sleeps = asleep.iter().any(|name| name == host.name());
        let processes = usize::from(host.traits.child && !sleeps);
        if host.processes() != processes {
            let text = format!("I9: {} has {} processes", host.name(), host.processes());
            ledger.breach(text);
        }
        if host.active() != 0 {
            let text = format!("I9: {} still works on {} calls", host.name(), host.active());
            ledger.breach(text);
        }
    }
}

/// What is left when the gateway has stopped: nothing.
pub(crate) fn gone(ledger: &Ledger, tasks: &Tasks, hosts: &[&Host]) {
    if !tasks.is_empty() {
        ledger.breach(format!("I9: {} tasks outlive the gateway", tasks.len()));
    }
    for host in hosts.iter().filter(|host| host.processes() > 0) {
        ledger.breach(format!("I9: a process of {} outlives the gateway", host.name()));
    }
}
