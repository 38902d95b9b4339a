//! What each upstream offered last, kept on disk: after a restart the front answers with them
//! at once, while the upstreams come up.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use bytes::Bytes;

use crate::catalog::Part;
use crate::proto::{Era, Extensions, Offers};
use crate::store::Files;
use crate::upstream::spec::{Program, ReplicaKind};

use super::spec::UpstreamSpec;

/// The layout of the files; others are not read.
const LAYOUT: u32 = 2;

/// The memory of a gateway; without files it remembers nothing.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Option<Files>,
}

/// What is remembered of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// What it offered.
    pub part: Part,
    /// It told when a single resource changed.
    pub subscribe: bool,
    /// It ran calls of tools as tasks.
    pub tasks: bool,
    /// What it could do beyond the core.
    pub extensions: Extensions,
}

impl Remembered {
    /// What it is taken to offer until it is heard.
    pub fn offers(&self) -> Offers {
        let Self { subscribe, tasks, .. } = *self;
        Offers { subscribe, tasks, extensions: self.extensions.clone(), ..Offers::default() }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    layout: u32,
    modern: bool,
    /// Not in files of before.
    #[serde(default)]
    subscribe: bool,
    #[serde(default)]
    tasks: bool,
    /// A `capabilities` object with its extensions.
    #[serde(default)]
    capabilities: Value,
    tools: Vec<Box<RawValue>>,
    prompts: Vec<Box<RawValue>>,
    resources: Vec<Box<RawValue>>,
    templates: Vec<Box<RawValue>>,
}

impl Memory {
    /// A memory in these files.
    pub fn new(files: Option<Files>) -> Self {
        Self { files }
    }

    /// Whether it remembers anything.
    pub fn keeps(&self) -> bool {
        self.files.is_some()
    }

    /// What an upstream offered when it was last seen.
    pub fn recall(&self, spec: &UpstreamSpec) -> Option<Remembered> {
        let content = match self.files.as_ref()?.get(&key(spec)) {
            Ok(content) => content?,
            Err(error) => {
                tracing::warn!(upstream = %spec.name, %error, "cannot read the last known catalog");
                return None;
            }
        };
        let kept: Kept = serde_json::from_slice(&content).ok()?;
        let era = if kept.modern { Era::Modern } else { Era::Legacy };
        let bytes = |items: &[Box<RawValue>]| {
            items.iter().map(|item| Bytes::copy_from_slice(item.get().as_bytes())).collect()
        };
        let part = || Part {
            era,
            tools: bytes(&kept.tools),
            prompts: bytes(&kept.prompts),
            resources: bytes(&kept.resources),
            templates: bytes(&kept.templates),
        };
        (kept.layout == LAYOUT).then(|| Remembered {
            part: part(),
            subscribe: kept.subscribe,
            tasks: kept.tasks,
            extensions: Extensions::read(&kept.capabilities),
        })
    }

    /// Remembers what an upstream offers. Blocks on the disk.
    pub fn remember(&self, spec: &UpstreamSpec, remembered: &Remembered) {
        let Some(files) = &self.files else { return };
        let Remembered { part, subscribe, tasks, extensions } = remembered;
        let mut capabilities = json!({});
        extensions.put_into(&mut capabilities);
        let raw = |item: &Bytes| serde_json::from_slice::<Box<RawValue>>(item).ok();
        let all = |items: &[Bytes]| items.iter().filter_map(raw).collect();
        let kept = Kept {
            layout: LAYOUT,
            modern: part.era == Era::Modern,
            subscribe: *subscribe,
            tasks: *tasks,
            capabilities,
            tools: all(&part.tools),
            prompts: all(&part.prompts),
            resources: all(&part.resources),
            templates: all(&part.templates),
        };
        let written = serde_json::to_vec(&kept).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|content| files.put(&key(spec), &content)) {
            tracing::warn!(upstream = %spec.name, %error, "cannot keep the catalog on disk");
        }
    }
}

/// A key that changes when the upstream is made from something else. Values may be secret, so only
/// their hash is in it.
fn key(spec: &UpstreamSpec) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    };
    // A name stands for whatever addresses it has: what it offers is the same.
    let fixed = spec.pool.replicas.iter().filter(|replica| !replica.has_address());
    for replica in fixed.chain(spec.names.iter().map(|name| &name.replica)) {
        match &replica.kind {
            ReplicaKind::Http(http) => add(&http.url.to_string()),
            ReplicaKind::Child(child) => {
                match &child.program {
                    Program::Waypost => add(env!("CARGO_PKG_VERSION")),
                    Program::Named(name) => add(name),
                }
                child.args.iter().for_each(|arg| add(arg.expose()));
                child.env.iter().for_each(|(name, value)| {
                    add(name);
                    add(value.expose());
                });
            }
        }
    }
    let digest = hash.finalize();
    let short = digest.iter().take(8).fold(0_u64, |short, byte| short << 8 | u64::from(*byte));
    format!("{}-{short:016x}", spec.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ReplicaName, Secret, UpstreamName};
    use crate::catalog::spec::OfferSpec;
    use crate::fleet::spec::PoolSpec;
    use crate::upstream::spec::{EraPolicy, LaunchSpec, ReplicaSpec, START_TIMEOUT};

    fn upstream(arg: &str) -> UpstreamSpec {
        let kind = ReplicaKind::Child(LaunchSpec {
            program: Program::Waypost,
            args: vec![Secret::new(arg)],
            env: std::collections::BTreeMap::new(),
            cwd: None,
            start_timeout: START_TIMEOUT,
        });
        let replica = ReplicaSpec {
            name: ReplicaName::new("0").unwrap(),
            kind,
            era: EraPolicy::Auto,
            weight: 1,
            tier: 0,
            labels: std::collections::BTreeMap::new(),
        };
        UpstreamSpec {
            name: UpstreamName::new("u").unwrap(),
            required: false,
            trust_annotations: false,
            effects: std::collections::BTreeMap::new(),
            fallbacks: std::collections::BTreeMap::new(),
            offer: OfferSpec::all("u"),
            bridge: crate::gateway::spec::Bridge::Park,
            start: crate::gateway::spec::Start::Eager,
            pool: PoolSpec::new(vec![replica]),
            names: Vec::new(),
            off: None,
        }
    }

    #[test]
    fn lists_are_remembered_byte_for_byte_and_only_for_the_same_upstream() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(Some(Files::new(folder.path())));
        let item = |name: &str| {
            vec![Bytes::from(format!(r#"{{"name":"{name}","x":12345678901234567890123,"y":1e2}}"#))]
        };
        let part = Part {
            era: Era::Modern,
            tools: item("t"),
            prompts: item("p"),
            resources: item("r"),
            templates: item("u"),
        };
        for subscribe in [true, false] {
            let extensions = Extensions::read(&json!({ "extensions": { "x/y": {"a": 1} } }));
            let all = Remembered { part: part.clone(), subscribe, tasks: !subscribe, extensions };
            memory.remember(&upstream("one"), &all);
            assert_eq!(memory.recall(&upstream("one")).unwrap(), all);
        }
        assert!(memory.recall(&upstream("two")).is_none());
        assert!(Memory::default().recall(&upstream("one")).is_none());
    }

    #[test]
    fn a_torn_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        files.put(&key(&upstream("one")), br#"{"layout":2,"mod"#).unwrap();
        assert!(Memory::new(Some(files)).recall(&upstream("one")).is_none());
    }
}
