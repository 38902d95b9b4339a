//! What must hold.

use crate::plan::Found;
use crate::rule::Rule;
use crate::stats::{Figures, median, worst};

/// A figure and its limit.
pub(crate) struct Gate {
    pub(crate) what: &'static str,
    pub(crate) figure: f64,
    pub(crate) limit: f64,
}

impl Gate {
    pub(crate) fn holds(&self) -> bool {
        self.figure <= self.limit
    }
}

type Of = fn(&Figures) -> f64;

const P99: Of = |f| f.p99;
const P999: Of = |f| f.p999;

/// A figure of each seed.
fn values(found: &[Found], (scenario, rule): (&str, Rule), of: Of) -> Option<Vec<f64>> {
    let one = found.iter().find(|one| one.scenario == scenario && one.rule == rule)?;
    Some(one.seeds.iter().map(|(_, figures)| of(figures)).collect())
}

/// Each seed's figure over that of another run of the same seed.
fn ratios(found: &[Found], own: (&str, Rule), base: (&str, Rule), of: Of) -> Option<Vec<f64>> {
    let (own, base) = (values(found, own, of)?, values(found, base, of)?);
    Some(own.iter().zip(&base).map(|(own, base)| own / base).collect())
}

pub(crate) fn judge(found: &[Found]) -> Vec<Gate> {
    use Rule::{Auto, LeastOfTwo, Prequal};
    let mut gates = Vec::new();
    let mut gate = |what, values: Option<Vec<f64>>, of: fn(Vec<f64>) -> f64, limit| {
        if let Some(values) = values {
            gates.push(Gate { what, figure: of(values), limit });
        }
    };
    let worst = |values: Vec<f64>| worst(&values);
    let beside =
        |scenario: &'static str, of| ratios(found, (scenario, Auto), (scenario, LeastOfTwo), of);
    gate("A at 70 %: p99 × P2C least request", beside("A 70 %", P99), median, 0.55);
    gate("A at 70 %: p99 × P2C least request, worst seed", beside("A 70 %", P99), worst, 0.60);
    gate("A at 70 %: p99.9 × P2C least request", beside("A 70 %", P999), median, 0.55);
    gate("A at 70 %: p99.9 × P2C least request, worst seed", beside("A 70 %", P999), worst, 0.60);
    gate("A at 85 %: p99 × P2C least request", beside("A 85 %", P99), median, 0.50);
    let oracle = |scenario| ratios(found, (scenario, Auto), (scenario, Prequal), P99);
    gate("A at 70 %: p99 × Prequal", oracle("A 70 %"), median, 1.10);
    gate("G with 32 gateways: p99 × Prequal", oracle("G 32 gateways"), median, 1.15);
    let fast: Of = |f| f.fast_p999;
    gate("B: p99.9 of the fast tool, ms", values(found, ("B mix", Auto), fast), worst, 500.0);
    gate("B: p99.9 of the fast tool × P2C least request", beside("B mix", fast), median, 1.10);
    let errors: Of = |f| f.errors * 100.0;
    gate(
        "C: calls into the black hole, %",
        values(found, ("C black hole", Auto), errors),
        worst,
        0.01,
    );
    let after: Of = |f| f64::from(f.found_after);
    gate(
        "C: failures before a gateway shuts its gate",
        values(found, ("C black hole", Auto), after),
        worst,
        5.0,
    );
    gate("D: calls into what hangs, %", values(found, ("D hang", Auto), errors), worst, 0.02);
    let hedged = ratios(found, ("H hedge", Auto), ("A 70 %", Auto), P99);
    gate("H: p99 × without hedging", hedged, median, 0.70);
    let attempts: Of = |f| f.attempts;
    gate("H: attempts for each call", values(found, ("H hedge", Auto), attempts), worst, 1.055);
    let beside_steady = |scenario| ratios(found, (scenario, Auto), ("A 70 %", Auto), P99);
    gate("E: p99 × without the roll", beside_steady("E roll"), median, 1.30);
    gate("F: p99 × without the flapping", beside_steady("F flap"), median, 1.30);
    gates
}

pub(crate) fn print(gates: &[Gate]) {
    println!("| gate | found | limit | verdict |");
    println!("|---|---|---|---|");
    for gate in gates {
        let verdict = if gate.holds() { "holds" } else { "FAILED" };
        println!("| {} | {:.3} | {} | {verdict} |", gate.what, gate.figure, gate.limit);
    }
    println!();
}
