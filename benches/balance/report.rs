//! The table, and everything for programs.

use std::path::Path;

use serde_json::json;

use crate::gates::Gate;
use crate::plan::Found;
use crate::stats::{Figures, median};

/// Medians of the seeds, in Markdown.
pub(crate) fn table(found: &[Found]) {
    println!(
        "| scenario | rule | p50 ms | p99 ms | p99.9 ms | first tool, p99.9 ms | errors | attempts | fairness | most in flight |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for one in found {
        let middle =
            |of: fn(&Figures) -> f64| median(one.seeds.iter().map(|(_, f)| of(f)).collect());
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.4} % | {:.3} | {:.2} | {:.0} |",
            one.scenario,
            one.rule.name(),
            middle(|f| f.p50),
            middle(|f| f.p99),
            middle(|f| f.p999),
            middle(|f| f.fast_p999),
            middle(|f| f.errors * 100.0),
            middle(|f| f.attempts),
            middle(|f| f.fairness),
            middle(|f| f64::from(f.most)),
        );
    }
    println!();
}

pub(crate) fn write(path: &Path, found: &[Found], gates: &[Gate]) -> std::io::Result<()> {
    let runs: Vec<_> = found
        .iter()
        .flat_map(|one| {
            one.seeds.iter().map(|(seed, f)| {
            json!({
                "scenario": one.scenario, "rule": one.rule.name(), "seed": seed, "calls": f.calls,
                "p50_ms": f.p50, "p99_ms": f.p99, "p999_ms": f.p999, "fast_p999_ms": f.fast_p999,
                "errors": f.errors, "attempts": f.attempts, "fairness": f.fairness,
                "most_in_flight": f.most, "failures_before_shut": f.found_after,
            })
        })
        })
        .collect();
    let gates: Vec<_> = gates.iter().map(|gate| {
        json!({ "gate": gate.what, "figure": gate.figure, "limit": gate.limit, "holds": gate.holds() })
    }).collect();
    let text = serde_json::to_string_pretty(&json!({ "runs": runs, "gates": gates }))?;
    std::fs::write(path, text + "\n")
}
