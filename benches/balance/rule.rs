//! The rules that are compared: the gateway's own, and those of others.

use std::sync::Arc;

use waypost::fleet::pick::{Balancer, balancer};
use waypost::fleet::spec::Balance;

use crate::prequal::{Prequal, Truth};
use crate::rivals::{LeastOfTwo, PeakEwma};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    RoundRobin,
    LeastOfTwo,
    PeakEwma,
    P2cEwma,
    LeastBusy,
    Auto,
    Prequal,
}

/// A balancer at work, with what it must be told beside what the gateway tells it.
pub(crate) struct Working {
    pub(crate) balancer: Arc<dyn Balancer>,
    pub(crate) raw: Option<Arc<PeakEwma>>,
}

impl Rule {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastOfTwo => "(P2C least request)",
            Self::PeakEwma => "(P2C peak EWMA)",
            Self::P2cEwma => "p2c_ewma",
            Self::LeastBusy => "least_busy",
            Self::Auto => "auto",
            Self::Prequal => "(Prequal)",
        }
    }

    pub(crate) fn working(self, replicas: usize, truth: &Arc<Truth>) -> Working {
        let own = |rule: Balance| Working { balancer: balancer(&rule), raw: None };
        match self {
            Self::RoundRobin => own(Balance::RoundRobin),
            Self::P2cEwma => own(Balance::P2cEwma),
            Self::LeastBusy => own(Balance::LeastBusy),
            Self::Auto => own(Balance::Auto),
            Self::LeastOfTwo => Working { balancer: Arc::new(LeastOfTwo), raw: None },
            Self::PeakEwma => {
                let raw = Arc::new(PeakEwma::new(replicas));
                let balancer: Arc<dyn Balancer> = Arc::<PeakEwma>::clone(&raw);
                Working { balancer, raw: Some(raw) }
            }
            Self::Prequal => {
                let balancer = Arc::new(Prequal::new(Arc::clone(truth)));
                Working { balancer, raw: None }
            }
        }
    }
}
